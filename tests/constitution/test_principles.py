from __future__ import annotations

from pathlib import Path

import pytest

from service.constitution.direct import detector_means
from service.constitution.principles import Constitution, load_constitution
from service.errors import ConstitutionInvalid
from service.taxonomy import CATEGORIES, Action

DATA = Path(__file__).resolve().parents[2] / "service" / "data" / "constitution.toml"
GOOD = """
[[principles]]
id = "kind"
statement = "Be kind."
severity = 4
means = ["classifier"]
categories = ["harassment"]
"""


def load(folder: Path, text: str) -> Constitution:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return load_constitution(file, detector_means())


def test_our_own_speaks_of_every_category_and_theme() -> None:
    ours = load_constitution(DATA, detector_means())
    assert {c for p in ours.principles for c in p.categories} == set(CATEGORIES)
    assert {p.theme for p in ours.principles} == {
        "harm", "truthfulness", "fairness", "autonomy", "privacy", "limits", "dignity"
    }  # fmt: skip
    assert all(p.instead and p.critique and p.revision for p in ours.principles)


def test_the_action_follows_from_the_severity_unless_it_is_said(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).principles[0].action is Action.REVIEW
    assert load(tmp_path, GOOD + 'action = "block"\n').principles[0].action is Action.BLOCK


def test_the_digest_names_the_content_and_not_the_form(tmp_path: Path) -> None:
    first = load(tmp_path, GOOD).digest
    assert load(tmp_path, "# a note\n" + GOOD).digest == first
    assert load(tmp_path, GOOD.replace("kind.", "kinder.")).digest != first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("principles = 3", "list of"),
        ("[[principles]]\nid = 'A B'", "id of small letters"),
        (GOOD + "colour = 'red'", "'colour' is not a key"),
        (GOOD + GOOD, "two of that id"),
        (GOOD.replace("= 4", "= 9"), "severity"),
        (GOOD.replace("harassment", "rudeness"), "categories must be one of"),
        (GOOD.replace('"classifier"', '"examples"'), "at least 2 examples"),
        (GOOD.replace('"classifier"', '"rules"'), "means and detectors"),
        (GOOD.replace('["classifier"]', "[]"), "means must name"),
        (GOOD + "line = 0", "line must be"),
        (GOOD + 'detectors = ["nonsense"]', "detectors must be one of"),
        ("[[principles", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConstitutionInvalid, match=said):
        load(tmp_path, text)
