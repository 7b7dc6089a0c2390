"""Policies as files: presets, an operator's own, and a sentence for all that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.backends.artifact import Lines
from service.errors import PolicyInvalid
from service.policy import PRESETS, Policy
from service.policy_files import load_policies
from service.taxonomy import CATEGORIES, Action

DATA = Path(__file__).resolve().parent.parent / "service" / "data" / "thresholds.toml"
SHARED = {"strict": Lines(0.3, 0.5, 0.7), "balanced": Lines(0.5, 0.7, 0.9), "permissive": Lines(0.7, 0.8, 0.95)}
LINES = {preset: dict.fromkeys(CATEGORIES, lines) for preset, lines in SHARED.items()}
MINIMAL = "[policies.default]\n"


def load(
    tmp_path: Path, text: str = MINIMAL, preset: str = "balanced", digest: str = "d", **own: str
) -> dict[str, Policy]:
    """The policies of a file with `text`, and of a folder with a file for each of `own`."""
    path, folder = tmp_path / "thresholds.toml", tmp_path / "own"
    path.write_text(text, encoding="utf-8")
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in own.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return dict(load_policies(path, folder if own else None, LINES, digest, preset).policies)


@pytest.mark.parametrize("preset", PRESETS)
def test_lines_come_from_the_preset(tmp_path: Path, preset: str) -> None:
    (made,) = load(tmp_path, preset=preset).values()
    assert made.preset == preset
    for lines in made.thresholds.values():
        assert Lines(lines.flag, lines.review, lines.block) == SHARED[preset]
        assert (lines.max_lowering, lines.most) == (0.0, Action.BLOCK)
    assert (made.on_degraded, made.on_language) == (Action.REVIEW, Action.ALLOW)


def test_a_policy_may_name_its_own_preset_and_lines(tmp_path: Path) -> None:
    text = """
        [policies.default]
        [policies.kids]
        preset = "strict"
        on_degraded = "block"
        on_language = "flag"
        on_unscanned_image = "block"
        [policies.kids.categories.sexual]
        flag = 0.1
        most = "review"
        [defaults]
        max_lowering = 0.3
        [defaults.categories.hate]
        max_lowering = 0.1
        most = "flag"
        [defaults.categories.sexual]
        max_lowering = 0
    """
    made = load(tmp_path, text)
    kids, default = made["kids"], made["default"]
    assert kids.on_unscanned_image == Action.BLOCK
    assert (kids.preset, kids.on_degraded, kids.on_language) == ("strict", Action.BLOCK, Action.FLAG)
    sexual = kids.thresholds["sexual"]
    assert (sexual.flag, sexual.review, sexual.most, sexual.max_lowering) == (0.1, 0.5, Action.REVIEW, 0.0)
    assert default.thresholds["sexual"].flag == 0.5
    assert kids.thresholds["violence"].max_lowering == 0.3
    assert (default.thresholds["hate"].max_lowering, default.thresholds["hate"].most) == (0.1, Action.FLAG)


def test_a_folder_adds_and_replaces(tmp_path: Path) -> None:
    made = load(tmp_path, "[policies.default]\non_degraded = 'block'\n", default="preset = 'strict'", mine="")
    assert set(made) == {"default", "mine"}
    assert (made["default"].preset, made["default"].on_degraded) == ("strict", Action.REVIEW)
    assert made["mine"].preset == "balanced"


WRONG = {
    "no policy called default": "[policies.mine]",
    "is not TOML": "[policies",
    "'policy' is not a key": "[policies.default]\n[policy.other]",
    "defaults: 'max_lowring' is not a key": "[policies.default]\n[defaults]\nmax_lowring = 0.1",
    "policy default: 'on_degrade' is not a key": "[policies.default]\non_degrade = 'block'",
    "policy default, hate: 'flags' is not a key": "[policies.default.categories.hate]\nflags = 0.1",
    "defaults: a table": "defaults = 3\n[policies.default]",
    "policies: a table": "policies = 3",
    "policy default: a table": "[policies]\ndefault = 3",
    "policy default, categories: a table": "[policies.default]\ncategories = 3",
    "policy default, hate: a table": "[policies.default.categories]\nhate = 0.1",
    "preset must be one of strict, balanced, permissive": "[policies.default]\npreset = 'lenient'",
    "'rudeness' is not in the taxonomy": "[policies.default.categories.rudeness]\nflag = 0.1",
    "'impudence' is not in the taxonomy": "[policies.default]\n[defaults.categories.impudence]\nmost = 'flag'",
    "an action is one of allow, flag, review, block": "[policies.default]\non_language = 'ask'",
    "policy default: an action": "[policies.default.categories.hate]\nmost = 3",
    "hate has a line that is not a number": "[policies.default.categories.hate]\nflag = '0.1'",
    "violence has a line that is not": "[policies.default.categories.violence]\nflag = true",
    "sexual has a line that is not": "[policies.default.categories.sexual]\nmax_lowering = []",
    "hate needs 0 < flag <= review": "[policies.default.categories.hate]\nflag = 0.8",
    "violence needs 0 < flag": "[policies.default.categories.violence]\nflag = nan",
    "sexual needs 0 < flag": "[policies.default.categories.sexual]\nblock = 1.01",
    "hate needs 0 <= max_lowering": "[policies.default.categories.hate]\nmax_lowering = 2",
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, sentence: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load(tmp_path, WRONG[sentence])
    assert sentence in caught.value.message and "\n" not in caught.value.message


def test_an_operators_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match="policy mine: 'flag' is not a key"):
        load(tmp_path, mine="flag = 0.1")
    with pytest.raises(PolicyInvalid, match=r"mine\.toml is not TOML"):
        load(tmp_path, mine="= 1")


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match=r"thresholds\.toml cannot be read"):
        load_policies(tmp_path / "thresholds.toml", None, LINES, "d", "balanced")
    with pytest.raises(PolicyInvalid, match="WEIR_POLICY_DIR is not a folder"):
        load_policies(DATA, tmp_path / "nowhere", LINES, "d", "balanced")


@pytest.mark.parametrize(
    "text",
    [
        "[policies.default.categories.hate]\nflag = 0.49",
        "[policies.default.categories.hate]\nreview = 0.71",
        "[policies.default.categories.hate]\nblock = 0.91",
        "[policies.default.categories.hate]\nmost = 'flag'",
        "[policies.default.categories.hate]\nmax_lowering = 0.1",
        "[policies.default]\n[defaults]\nmax_lowering = 0.1",
        "[policies.default]\npreset = 'strict'",
        "[policies.default]\non_degraded = 'block'",
        "[policies.default]\non_language = 'flag'",
    ],
)
def test_a_version_changes_with_its_numbers(tmp_path: Path, text: str) -> None:
    before, after = load(tmp_path)["default"].version, load(tmp_path, text)["default"].version
    assert before != after and before.startswith("default-")


def test_a_version_belongs_to_one_artefact(tmp_path: Path) -> None:
    assert load(tmp_path, digest="one")["default"].version != load(tmp_path, digest="two")["default"].version


@pytest.mark.parametrize(
    "text",
    [
        "# only a remark\n[policies.default]",
        "[policies.default]\npreset = 'balanced'\non_degraded = 'review'",
        "[policies.default.categories.hate]\nflag = 0.5\nmost = 'block'",
        "[policies.default]\n[policies.other]\npreset = 'strict'",
        "[policies.default]\n[defaults]\nmax_lowering = 0",
    ],
)
def test_a_version_stays_when_the_numbers_do(tmp_path: Path, text: str) -> None:
    assert load(tmp_path)["default"].version == load(tmp_path, text)["default"].version


def test_what_ships_is_valid() -> None:
    policies = load_policies(DATA, None, LINES, "d", "balanced").policies
    assert {"default", "strict", "permissive"} <= set(policies)
    default = policies["default"]
    assert default.thresholds["misinformation"].most == Action.FLAG
    assert default.thresholds["sexual/minors"].max_lowering == 0.0


def test_a_stream_table_says_how_growing_texts_are_treated(tmp_path: Path) -> None:
    made = load(tmp_path, strict='[stream]\nmode = "redact"\nhold_ms = 0\n')
    assert (made["strict"].stream.mode, made["strict"].stream.hold_ms) == ("redact", 0)
    assert made["default"].stream.mode == "stop"


@pytest.mark.parametrize(
    "table",
    [
        'mode = "mask"',
        "hold_ms = -1",
        "hold_ms = 1.5",
        "hold_ms = true",
        'judge_system = "yes"',
        "segment_chars = 5",
        "x = 1",
    ],
)
def test_a_wrong_stream_table_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(PolicyInvalid, match="policy other, stream"):
        load(tmp_path, other=f"[stream]\n{table}\n")


@pytest.mark.parametrize("given", ["allow", "review", "block"])
def test_what_becomes_of_images_that_nobody_saw_is_the_settings_where_no_policy_says(
    given: str, tmp_path: Path
) -> None:
    path = tmp_path / "thresholds.toml"
    path.write_text("[policies.default]\n[policies.own]\non_unscanned_image = 'flag'\n", encoding="utf-8")
    book = load_policies(path, None, LINES, "digest", "balanced", given)
    assert book.get("default").on_unscanned_image.wire == given
    assert book.get("own").on_unscanned_image == Action.FLAG
    plain = load_policies(path, None, LINES, "digest", "balanced")
    assert (book.get("default").version == plain.get("default").version) == (given == "allow")
