"""The constitutions in force, one per policy, read from files and swapped whole.

Owns which file belongs to which policy, and the reload. Refuses to know how a text is held against them.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from pathlib import Path

from service.constitution.direct import DirectEvaluator, detector_means, read_all
from service.constitution.examples import Ground
from service.constitution.principles import DEFAULT_LINE, load_constitution
from service.constitution.reading import Reader
from service.errors import ConstitutionInvalid
from service.types import Content

FOLDER = "constitutions"  # inside WEIR_POLICY_DIR


class LiveConstitutions:
    """Whoever asks holds this; what changes is one reference."""

    def __init__(self, default: Path, policy_dir: Path | None, contrasts: Path, reader: Reader) -> None:
        self._default = default
        self._folder = None if policy_dir is None else policy_dir / FOLDER
        self._contrasts = contrasts
        self._reader = reader
        self._current: Mapping[str, DirectEvaluator] = {}

    async def reload(self) -> None:
        """Read every file and put all of them in force together, or raise ConstitutionInvalid and change nothing."""
        ground = await read_ground(self._contrasts, self._reader)
        files = {"": self._default}
        files |= await asyncio.to_thread(self._own_files)
        means = detector_means()
        self._current = {
            policy: await DirectEvaluator.open(load_constitution(file, means), ground, self._reader)
            for policy, file in files.items()
        }

    def _own_files(self) -> dict[str, Path]:
        """An operator's files by the policy that they are named after."""
        if self._folder is None or not self._folder.is_dir():
            return {}
        return {file.stem: file for file in sorted(self._folder.glob("*.toml"))}

    def get(self, policy: str) -> DirectEvaluator:
        """The policy's own constitution, or the one that all others share."""
        return self._current.get(policy) or self._current[""]

    def reads(self, content: Content) -> bool:
        """Whether the inner states of this content's text will be asked for."""
        return content.constitution != "off" and self.get(content.policy).needs_reading

    def line(self, policy: str, principle: str) -> float:
        """The score from which a text violates a principle."""
        found = self.get(policy).constitution.get(principle)
        return DEFAULT_LINE if found is None else found.line


async def read_ground(contrasts: Path, reader: Reader) -> Ground:
    """What does not depend on any principle, from data/contrasts.toml."""
    try:
        content = await asyncio.to_thread(contrasts.read_text, "utf-8")
        pairs = tomllib.loads(content)["contrasts"]
        return Ground.of(
            [(await read_all(reader, pair["violates"]), await read_all(reader, pair["complies"])) for pair in pairs]
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConstitutionInvalid(f"{contrasts.name} cannot be read") from error
