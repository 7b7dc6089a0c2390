"""What image classifiers see becomes findings, the highest score of frames and models; what was left out is said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.errors import ScorerFailed
from service.images.classifier import Classifier
from service.images.reading import Frame, Reading
from service.types import Scores


class FakeScorer:
    """Says of a picture what stands in it: its first byte as hundredths."""

    alive = True

    def __init__(self, name: str, side: int, category: str, *, reads: int = 1000) -> None:
        self.version, self.side, self.category, self.reads = name, side, category, reads
        self.texts: list[str] = []

    async def score(self, pictures: Sequence[bytes], text: str = "") -> tuple[list[Scores], bool]:
        self.texts.append(text)
        if any(picture[0] == 255 for picture in pictures):
            raise ScorerFailed("The image classifier could not be run.")
        return [{self.category: picture[0] / 100, "hate": 0.0} for picture in pictures], len(text) <= self.reads


def reading(*pixels: bytes) -> Reading:
    return Reading(b"", 10, 10, "GIF", tuple(Frame(pixels=one) for one in pixels))


async def test_the_highest_score_of_frames_and_models_stands() -> None:
    first, second = FakeScorer("a@1", 32, "violence"), FakeScorer("b@2", 64, "violence")
    classifier = Classifier([first, second])
    assert (classifier.side, classifier.versions, classifier.alive) == (64, ("a@1", "b@2"), True)
    found = await classifier.see(reading(b"\x14", b"\x50", b"\x0a"), "words", image=2)
    assert [(f.category, f.score, f.stage, f.image, f.box, f.span) for f in found] == [
        ("violence", 0.8, "visual", 2, None, None)
    ]
    assert found[0].reason == "model:b@2"
    assert first.texts == second.texts == ["words"]


async def test_what_was_not_looked_at_is_said() -> None:
    classifier = Classifier([FakeScorer("a@1", 32, "violence", reads=10)])
    for seen, text in ((reading(b"\x50", b""), ""), (reading(b"\x50"), "more than it reads")):
        found = await classifier.see(seen, text, image=0)
        assert [f.missing for f in found] == ["", "visual:partial"]
        assert (found[1].category, found[1].image) == ("", 0)
    assert [f.missing for f in await classifier.see(reading(b"", b""), "", image=0)] == ["visual:partial"]


async def test_a_model_that_fails_is_no_verdict() -> None:
    with pytest.raises(ScorerFailed):
        await Classifier([FakeScorer("a@1", 32, "violence")]).see(reading(b"\xff"), "", image=0)


def test_a_classifier_needs_a_model() -> None:
    with pytest.raises(ValueError, match="needs a model"):
        Classifier([])
