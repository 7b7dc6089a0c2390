"""What looks at images, as the settings ask for it.

Owns whether this deployment can look at images at all, and within which bounds. Refuses to know what is made of what
was seen; `wiring` owns its life. Nothing of the extra `images` is imported here: only the process that looks needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from service.bank_records import WholeStore
from service.config import Settings
from service.errors import StoreRefused, StoreUnavailable, Unsupported
from service.images.classifier import Classifier
from service.images.eyes import Eyes
from service.images.fetching import Fetcher
from service.images.limits import Limits
from service.images.live_banks import LiveBanks
from service.images.reading import Reading
from service.images.worker import Options
from service.metrics import Metrics
from service.stages.image import ImageStage, LanguageOf
from service.types import Stage

if TYPE_CHECKING:
    from service.backends.onnx_image import OnnxImageScorer

NEEDED = ("PIL", "pdqhash", "cv2", "rapidocr")  # what the extra `images` brings
FETCH_S = 5.0  # for one image from its address
READINGS_SHARE = 0.25  # of the room for what is kept, as much again as is kept of texts' scores


@dataclass(frozen=True, slots=True)
class Sight:
    """What looks at images: the process that decodes and reads them, a classifier and lists, where there are any."""

    eyes: Eyes | NoEyes
    classifier: Classifier | None = None
    known: LiveBanks | None = None

    @property
    def version(self) -> str:
        """What findings in images hang on, besides what a process is started with."""
        return "" if self.known is None else self.known.version

    def stage(
        self, readers: Sequence[Stage], language_of: LanguageOf, metrics: Metrics, *, most_images: int
    ) -> ImageStage:
        """The stage of images, over the detectors of texts."""
        return ImageStage(
            *(self.eyes.look, readers, language_of, metrics),
            most_images=most_images,
            known=self.known,
            classifier=self.classifier,
        )


class NoEyes:
    """In place of eyes, where the extra is not installed."""

    async def look(self, data: bytes, scope: str | None = "") -> Reading:
        """Raises Unsupported."""
        raise Unsupported("This deployment judges text only: it lacks the extra `images`.")


def can_see() -> bool:
    """Whether the extra `images` is installed."""
    return all(find_spec(name) is not None for name in NEEDED)


async def open_classifier(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> Classifier | None:
    """The image classifiers of the settings; None where there are none. Raises ArtifactInvalid."""
    scorers: list[OnnxImageScorer] = []
    categories: set[str] = set()
    for folder in settings.image_model_dir:
        # Here, so that who has none loads nothing for it.
        from service.backends.image_artifact import load_image_artifact
        from service.backends.onnx_image import OnnxImageScorer

        artifact = await asyncio.to_thread(load_image_artifact, folder)
        scorer = OnnxImageScorer(artifact, metrics, budget_s=settings.request_budget_s)
        stack.push_async_callback(scorer.close)
        scorers.append(scorer)
        categories |= artifact.columns.keys()
    return Classifier(scorers, categories) if scorers else None


async def open_sight(
    stack: AsyncExitStack, settings: Settings, secret: bytes, metrics: Metrics, store: WholeStore
) -> Sight:
    """All that looks at images. Raises ArtifactInvalid and StoreRefused."""
    classifier = await open_classifier(stack, settings, metrics)
    side = 0 if classifier is None else classifier.side
    banks = await open_banks(stack, store, metrics)
    return Sight(open_eyes(stack, settings, secret, metrics, side), classifier, banks)


async def open_banks(stack: AsyncExitStack, store: WholeStore, metrics: Metrics) -> LiveBanks:
    """The lists of known images, all taken up before the first image comes."""
    banks = LiveBanks(store.banks, metrics)
    try:
        await banks.refresh()
    except StoreUnavailable as error:
        raise StoreRefused("The store does not answer.") from error
    banks.start()
    stack.push_async_callback(banks.close)
    return banks


def open_fetcher(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> Fetcher | None:
    """What fetches images; None where no host is allowed."""
    if not settings.image_hosts:
        return None
    fetcher = Fetcher(settings.image_hosts, metrics, most_bytes=settings.image_max_bytes, within_s=FETCH_S)
    stack.push_async_callback(fetcher.close)
    return fetcher


def open_eyes(stack: AsyncExitStack, settings: Settings, secret: bytes, metrics: Metrics, side: int) -> Eyes | NoEyes:
    """What looks at images; its process starts with the first one. `side`: of the squares for a classifier, or 0."""
    if not can_see():
        return NoEyes()
    eyes = Eyes(
        Options(
            Limits(settings.image_max_bytes, settings.image_max_pixels),
            side,
            memory_bytes=settings.image_memory_mb << 20,
            cpu_s=settings.image_budget_s,
            wall_s=settings.image_budget_s,
        ),
        secret,
        scoped=settings.cache_scoped,
        most_bytes=int(settings.cache_bytes * READINGS_SHARE),
        most_waiting=settings.image_queue,
        metrics=metrics,
    )
    stack.push_async_callback(eyes.close)
    return eyes
