"""What image classifiers see in an image: every frame that was looked at, and the words that came with it.

Owns how the scores of frames and models become findings. Refuses to know graphs, files and thresholds. A classifier
sees pictures alone, or pictures and text together ("fused"): of it the words of the post and those read in the image
are asked about in one, since either half alone may be innocent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from service.images.reading import Reading
from service.types import Finding, Scores

STAGE = "visual"
PARTIAL = "visual:partial"  # not every frame was looked at, or not all of the text beside it
LEAST_SCORE = 0.001  # findings below say nothing


class PictureScorer(Protocol):
    """One model. Pictures are RGB bytes of a square of any side; the order of the answers is theirs."""

    @property
    def version(self) -> str:
        """The artefact's name and digest."""
        ...

    @property
    def side(self) -> int:
        """Pixels of a side that the model looks at."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it can take work."""
        ...

    async def score(self, pictures: Sequence[bytes], text: str = "") -> tuple[list[Scores], bool]:
        """Scores of each picture, and whether all of the text was looked at.

        Raises Overloaded when the queue is full, DeadlineExceeded when the time is up, ScorerFailed otherwise.
        """
        ...


class Classifier:
    """All image classifiers there are, one or more; per category the highest score of models and frames stands."""

    def __init__(self, scorers: Sequence[PictureScorer], categories: Iterable[str] = ()) -> None:
        """`categories`: all that the models look for."""
        if not scorers:
            raise ValueError("a classifier needs a model")
        self._scorers = tuple(scorers)
        self.categories = frozenset(categories)

    @property
    def side(self) -> int:
        """Pixels of a side of the squares that are wanted of an image (`Frame.pixels`), squeezed, not cropped."""
        return max(scorer.side for scorer in self._scorers)

    @property
    def versions(self) -> tuple[str, ...]:
        """Name and digest of each model: what is kept of findings hangs on them."""
        return tuple(scorer.version for scorer in self._scorers)

    @property
    def alive(self) -> bool:
        """Whether every model can take work."""
        return all(scorer.alive for scorer in self._scorers)

    async def see(self, reading: Reading, text: str, image: int) -> list[Finding]:
        """Look at the image at this place of its content, with the words of the post and of the image itself.

        A finding for each category: the highest score, of a model that the reason names; and one that says so where
        not every frame, or not all of the text, was looked at. Raises what a scorer raises.
        """
        pictures = [frame.pixels for frame in reading.frames if frame.pixels]
        best: dict[str, tuple[float, str]] = {}
        whole = len(pictures) == len(reading.frames)
        for scorer in self._scorers:
            scored, all_read = await scorer.score(pictures, text)
            whole = whole and all_read
            for scores in scored:
                for category, score in scores.items():
                    best[category] = max(best.get(category, (0.0, "")), (score, scorer.version))
        found = [
            Finding(category, score, STAGE, f"model:{version}", image=image)
            for category, (score, version) in best.items()
            if score >= LEAST_SCORE
        ]
        if not whole:
            found.append(Finding("", 0.0, STAGE, PARTIAL, image=image, missing=PARTIAL))
        return found
