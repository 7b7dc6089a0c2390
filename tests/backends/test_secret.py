"""The secret that receipts are signed with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.backends.secret import FILE, load_secrets
from service.errors import StartRefused


def test_a_given_one_needs_no_file_and_the_first_of_several_signs(tmp_path: Path) -> None:
    assert load_secrets("new, old,", tmp_path / "data") == [b"new", b"old"]
    assert not (tmp_path / "data").exists()
    with pytest.raises(StartRefused, match="WEIR_SECRET"):
        load_secrets(" , ", tmp_path)


def test_one_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    (made,) = load_secrets(None, folder)
    assert len(made) >= 32 and load_secrets(None, folder) == [made]
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert load_secrets(None, tmp_path / "other") != [made]


def test_workers_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: load_secrets(None, tmp_path / "data"), range(64)))
    assert len({secret for (secret,) in found}) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE]


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match="WEIR_DATA_DIR") as caught:
        load_secrets(None, tmp_path / "file")
    assert "\n" not in caught.value.message
    (tmp_path / FILE).write_text("\n")
    with pytest.raises(StartRefused, match="empty"):
        load_secrets(None, tmp_path)
