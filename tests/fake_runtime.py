"""A runtime without a model: the verdict hangs on a keyword in the text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.config import Settings
from service.errors import DeadlineExceeded, Overloaded, ScorerFailed
from service.images.errors import UnsupportedImage
from service.metrics import Metrics
from service.policy import Policy, PolicyBook, Thresholds, decide
from service.taxonomy import CATEGORIES
from service.types import Box, Content, Finding, Span, Verdict

KEYWORDS = {"insult": "harassment", "threat": "harassment/threatening", "bomb": "illicit/violent", "rude": "toxicity"}
LANGUAGES = {"bonjour": "fr", "สวัสดี": "th", "привет": "und"}
FAILURES = {"overload": Overloaded, "too slow": DeadlineExceeded, "broken": ScorerFailed, "surprise": ValueError}


def _in_images(content: Content) -> Iterator[Finding]:
    """Findings in images: files whose bytes are words."""
    for place, data in enumerate(content.images):
        if b"<svg" in data:
            raise UnsupportedImage("This is no JPEG, PNG, WEBP or GIF.", param=f"images.{place}")
        for word, category in KEYWORDS.items():
            if word.encode() in data:
                yield Finding(category, 0.9, "image", f"fake:{category}", image=place, box=Box(1, 2, 30, 40))


def _policy(name: str) -> Policy:
    lines = Thresholds(0.4, 0.6, 0.8)
    return Policy(name, f"{name}-1", "balanced", dict.fromkeys(CATEGORIES, lines))


@dataclass(frozen=True)
class Suggested:
    """One suggestion as it reached the feedback."""

    content: Content
    categories: Mapping[str, bool]
    reviewer: str
    tie: str


@dataclass
class FakeDesk:
    """Remembers what was suggested."""

    suggested: list[Suggested] = field(default_factory=list)

    async def suggest(self, content: Content, categories: Mapping[str, bool], *, reviewer: str, tie: str = "") -> None:
        """Take a suggestion."""
        self.suggested.append(Suggested(content, categories, reviewer, tie))


@dataclass
class FakeLoad:
    """A model that is as busy as the test says."""

    expected_wait_s: float = 0.0
    capacity: int = 1024


@dataclass
class FakeRuntime:
    """Judges by keyword, fails by keyword, and remembers what it was asked."""

    settings: Settings = field(default_factory=Settings)
    metrics: Metrics = field(default_factory=Metrics)
    model: str = "fake@00000000"
    languages: tuple[str, ...] = ("en",)
    ready: bool = True
    draining: bool = False
    policies: PolicyBook = field(default_factory=lambda: PolicyBook({n: _policy(n) for n in ("default", "kids")}))
    feedback: FakeDesk = field(default_factory=FakeDesk)
    limits: Any = None
    tracing: Any = None
    sees_images: bool = True
    visual_categories: frozenset[str] = frozenset()
    image_fetcher: Any = None
    scorer: FakeLoad = field(default_factory=FakeLoad)
    seen: list[Content] = field(default_factory=list)
    entered: list[Content] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    cancelled: int = 0

    async def moderate(self, content: Content) -> Verdict:
        """Judge one text, and count it."""
        verdict = await self.judge(content)
        self.metrics.count_verdict(verdict)
        return verdict

    def enter(self, content: Content, verdict: Verdict) -> Verdict:
        """Count a verdict that was given before."""
        self.metrics.count_verdict(verdict)
        self.entered.append(content)
        return verdict

    async def revise(self, content: Content, verdict: Verdict) -> str | None:
        """What the verdict suggests."""
        return verdict.suggested_revision

    async def judge(self, content: Content) -> Verdict:
        """Judge one text."""
        self.seen.append(content)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0.3 if "wait" in content.text else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        for word, failure in FAILURES.items():
            if word in content.text:
                raise failure(f"failed on {content.text}") if failure is ValueError else failure()
        return self._judge(content)

    def _judge(self, content: Content) -> Verdict:
        policy = self.policies.get(content.policy)
        findings = []
        for word, category in KEYWORDS.items():
            start = content.text.find(word)
            if start >= 0:
                span = Span(start, start + len(word)) if content.explain else None
                findings.append(Finding(category, 0.9, "keyword", f"fake:{category}", span))
        findings += list(_in_images(content))
        language = next((code for word, code in LANGUAGES.items() if word in content.text), "en")
        degraded = ("context",) if "half" in content.text else ()
        degraded += ("image:undecodable",) if any(b"damaged" in image for image in content.images) else ()
        action, judgements = decide(findings, policy, degraded=bool(degraded), unmeasured_language=language != "en")
        degraded += () if language == "en" else (f"language:{language}",)
        return Verdict(
            action,
            judgements,
            tuple(findings),
            policy.name,
            policy.version,
            self.model,
            language,
            degraded,
            "revised: \ud800" if "revise" in content.text else None,
            {"keyword": 0.12345, "total": 0.2},
            receipt="receipt",
        )
