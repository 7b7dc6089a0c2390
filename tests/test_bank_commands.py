"""`weir banks`: as processes over a real store, beside a service that has it open."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from service.backends.sqlite_store import SqliteStore
from service.images.live_banks import LiveBanks
from service.images.reading import Frame, Reading
from service.metrics import Metrics
from service.taxonomy import Action

ROOT = Path(__file__).resolve().parent.parent


def weir(data: Path, *arguments: str, text: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "banks", *arguments],
        input=text, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        env={"WEIR_DATA_DIR": str(data), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def digits(n: int) -> str:
    return hashlib.sha256(b"%d" % n).hexdigest()


async def test_a_file_is_imported_into_the_store_of_a_running_service(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "weir.db")
    live = LiveBanks(store.banks, Metrics())
    await live.refresh()
    assert "gore: violence/graphic, block, 0 hashes" in weir(
        tmp_path, "set", "gore", "--category", "violence/graphic", "--action", "block", "--description", "reported"
    )
    file = tmp_path / "hashes.csv"
    file.write_text("".join(f"{digits(n)},note {n}\n" for n in range(5_003)))
    assert weir(tmp_path, "import", "gore", str(file), "--kind", "pdq") == "gore: 5003 added, 0 there already\n"
    assert weir(tmp_path, "list") == "gore\tviolence/graphic\tblock\t5003\treported\n"
    await live.refresh()
    frame = Frame(hashes=(bytes.fromhex(digits(5_002)),), quality=100)
    (match,) = await live.match(Reading(b"\0" * 32, 9, 9, "PNG", (frame,)))
    assert (match.bank, match.action, match.distance) == ("gore", Action.BLOCK, 0)
    assert weir(tmp_path, "delete", "gore") == "gore: deleted\n"
    await live.refresh()
    assert live.current.hashes == 0
    await store.close()


def test_the_hashes_of_image_files_are_what_import_takes(tmp_path: Path) -> None:
    pytest.importorskip("pdqhash")
    from tests.images.pictures import card, plain

    (tmp_path / 'a "card".png').write_bytes(card("what everybody has seen"))
    (tmp_path / "flat.png").write_bytes(plain())
    files = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    table = weir(tmp_path, "hash", *files)
    assert table.startswith("pdq,quality,note\n") and "too flat" in table
    weir(tmp_path, "set", "cards", "--category", "hate", "--action", "flag")
    assert weir(tmp_path, "import", "cards", text=table) == "cards: 1 added, 0 there already\n"
    exact = weir(tmp_path, "hash", *files, "--kind", "sha256")
    assert weir(tmp_path, "import", "cards", text=exact) == "cards: 2 added, 0 there already\n"


@pytest.mark.parametrize(
    ("arguments", "text", "told"),
    [
        (("import", "none"), f"pdq:{digits(1)}\n", "There is no bank of that name."),
        (
            ("import", "gore"),
            f"pdq:{digits(1)}\n{digits(2)}\n",
            "Line 2: It is not said whether this is pdq or sha256.",
        ),
        (("import", "gore"), "pdq,colour\n", "columns are"),
        (("set", "gore", "--category", "kindness", "--action", "flag"), "", "category"),
        (("delete", "none"), "", "There is no bank of that name."),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], text: str, told: str) -> None:
    weir(tmp_path, "set", "gore", "--category", "hate", "--action", "flag")
    error = weir(tmp_path, *arguments, text=text, code=2)
    assert error.startswith("weir: ") and told in error and error.count("\n") == 1
