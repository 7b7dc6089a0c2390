"""Lists of known images, and which of them an image is on. Pure: no store, no clock.

Owns the comparison: SHA-256 exactly, PDQ by the bits that differ, in all eight orientations. Refuses to know where
lists come from. A list is scanned, without an index: half of each hash rules out nearly all, so a million take some
milliseconds, and nothing has to be built anew when a hash comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.bank_records import Bank, Change, HashKind
from service.images.reading import Reading
from service.taxonomy import Action

MOST_DISTANCE = 31  # bits of 256 in which a picture may differ from a known one: PDQ's own recommendation
LEAST_QUALITY = 50  # of a picture: what is flatter looks like any other flat one
WORDS = 4  # of 64 bits in a hash
BLOCK = 4096  # hashes that are compared at once, so that what comes in between stays in the processor's cache

Words = NDArray[np.uint64]  # (WORDS, hashes)


@dataclass(frozen=True, slots=True)
class Match:
    """A bank that an image is on, and how near: bits that differ, 0 for the same file."""

    bank: str
    category: str
    action: Action
    kind: HashKind
    distance: int


def to_words(hashes: Sequence[bytes]) -> Words:
    """Hashes of 32 bytes as columns of words."""
    flat = np.array(bytearray().join(hashes), dtype=np.uint8).view(np.uint64)
    return np.ascontiguousarray(flat.reshape(-1, WORDS).T)


def nearest(words: Words, queries: Words) -> int:
    """The least distance of any query from any of the hashes, or MOST_DISTANCE + 1 where it is over MOST_DISTANCE."""
    best = MOST_DISTANCE + 1
    first, second = queries[0][:, None], queries[1][:, None]
    for start in range(0, words.shape[1], BLOCK):
        block = words[:, start : start + BLOCK]
        half = np.bitwise_count(block[0] ^ first)
        half += np.bitwise_count(block[1] ^ second)  # 128 at most: it fits into a byte
        query, place = np.nonzero(half < best)
        if len(place):
            rest = block[2:, place] ^ queries[2:, query]
            whole = half[query, place] + np.bitwise_count(rest).sum(axis=0)
            best = min(best, int(whole.min()))
    return best


@dataclass(frozen=True, slots=True)
class LoadedBank:
    """A bank with its hashes up to `revision`."""

    bank: Bank
    revision: int = 0
    sha256: Words = field(default_factory=lambda: to_words([]), repr=False)
    pdq: Words = field(default_factory=lambda: to_words([]), repr=False)

    def match(self, sha256: Words, pictures: Sequence[Words]) -> Match | None:
        """The nearest match: of the file's digest, then of each picture in its orientations."""
        if _holds(self.sha256, sha256):
            return self._found("sha256", 0)
        distance = min((nearest(self.pdq, picture) for picture in pictures), default=MOST_DISTANCE + 1)
        return self._found("pdq", distance) if distance <= MOST_DISTANCE else None

    def _found(self, kind: HashKind, distance: int) -> Match:
        return Match(self.bank.name, self.bank.category, self.bank.action, kind, distance)

    def changed(self, changes: Sequence[Change]) -> LoadedBank:
        """With later changes, in order of revision."""
        if not changes:
            return self
        return LoadedBank(
            self.bank,
            changes[-1].revision,
            _changed(self.sha256, changes, "sha256"),
            _changed(self.pdq, changes, "pdq"),
        )


@dataclass(frozen=True, slots=True)
class Banks:
    """All banks by name: one reference, swapped whole."""

    loaded: Mapping[str, LoadedBank] = field(default_factory=dict)

    @property
    def hashes(self) -> int:
        """How many hashes there are to compare with."""
        return sum(one.sha256.shape[1] + one.pdq.shape[1] for one in self.loaded.values())

    @property
    def version(self) -> str:
        """Another one after every change of a match that may be found."""
        parts = ((one.bank.token, one.revision, one.bank.category, one.bank.action) for one in self.loaded.values())
        return ";".join(f"{token} {revision} {category} {action}" for token, revision, category, action in parts)

    def match(self, reading: Reading) -> list[Match]:
        """The best match of each bank, the strictest action first."""
        frames = [f for f in reading.frames if f.hashes and f.quality >= LEAST_QUALITY]
        sha256, pictures = to_words([reading.sha256]), [to_words(frame.hashes) for frame in frames]
        found = [match for one in self.loaded.values() if (match := one.match(sha256, pictures)) is not None]
        return sorted(found, key=lambda match: (-match.action, match.distance, match.bank))


def _holds(words: Words, query: Words) -> bool:
    places = np.nonzero(words[0] == query[0])[0]
    return bool((words[:, places] == query).all(axis=0).any())


def _changed(words: Words, changes: Iterable[Change], kind: HashKind) -> Words:
    own = {change.known.value: change.removed for change in changes if change.known.kind == kind}
    if not own:
        return words
    there = np.nonzero(np.isin(words[0], to_words(list(own))[0]))[0]  # candidates, by a quarter of the hash
    stale = [place for place in there if words[:, place].tobytes() in own]
    kept = np.delete(words, stale, axis=1) if stale else words
    return np.concatenate([kept, to_words([value for value, removed in own.items() if not removed])], axis=1)
