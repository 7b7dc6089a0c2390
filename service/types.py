"""The vocabulary that every part speaks: frozen values and one-method protocols.

Owns the shapes that cross a boundary inside the service. Refuses to know thresholds, models, HTTP and storage.
Offsets are code points of the text as it was sent; scores are calibrated probabilities, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.taxonomy import Action

Kind = Literal["post", "prompt", "response"]
Depth = Literal["off", "auto", "always"]  # whether a constitution is asked, and its judge: never, in doubt, always
Scores = Mapping[str, float]  # category name -> score; every name is in taxonomy.CATEGORIES

NOTES = ("language:", "visual:")  # of what a verdict lacks, what is a note: a policy may raise the action for it

ROLES = ("user", "assistant", "system", "developer", "tool")


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message. `role` is one of ROLES, or "" for a parent post or an article."""

    text: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What is judged. `context` is oldest first; `policy` names the policy that decides.

    `images` are files as they were sent, not looked at yet; with one of them the text may be empty.
    `explain` asks for spans, which cost a second look at flagged texts. `constitution` asks that the principles be held
    against the text too. `scope` names the caller, where callers are to be told nothing of each other's contents;
    without `store` nothing of the content enters a cache, nor is one read.
    """

    text: str = field(repr=False)
    context: tuple[Turn, ...] = field(default=(), repr=False)
    role: str = ""
    policy: str = "default"
    explain: bool = True
    scope: str = ""
    store: bool = True
    constitution: Depth = "off"
    images: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def cache_scope(self) -> str | None:
        """Whose kept scores may be used and added to; None where none may."""
        return self.scope if self.store else None

    @property
    def kind(self) -> Kind:
        """A user's text is a prompt, an assistant's a response, any other a post."""
        if self.role == "user":
            return "prompt"
        return "response" if self.role == "assistant" else "post"


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of code points in the ORIGINAL text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of an image: pixels of the image as it is seen (turned upright), origin at the top left."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What one stage saw. `reason` is an id (of a rule, a principle or a model), never text of the content.

    `overrides`: an adjudicator proposes this score instead of the detectors' maximum.
    `final`: nobody may lower it.
    `calls_for`: an action asked for whatever the lines say: by a principle of the constitution, whose category is "",
    or by a list of known images, whose category is taken to stand at the line of that action.
    `image`: the place of the image in `Content.images` that it is about, and `box` where in that image.
    `missing`: not harm, but something that could not be looked at; an entry of `Verdict.degraded`, with no category. It
    is `stage` where a part of the content made a stage fail, else `kind:what`, which is so each time.
    """

    category: str
    score: float
    stage: str
    reason: str
    span: Span | None = None
    overrides: bool = False
    final: bool = False
    calls_for: Action = Action.ALLOW
    image: int | None = None
    box: Box | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One category's outcome: its score, its flag line and the action that follows."""

    category: str
    score: float
    threshold: float
    action: Action

    @property
    def flagged(self) -> bool:
        """Whether the score has reached the flag line."""
        return self.action >= Action.FLAG


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one Content. `timings_ms` maps a stage (and `total`) to milliseconds.

    `receipt` is what feedback on this verdict is given with; `audit` asks for a review, whatever the verdict was.
    `degraded` names what it lacks: stages, and what could not be looked at.
    `cached`: no stage ran for it, since the same content had been judged before.
    """

    action: Action
    judgements: tuple[Judgement, ...]  # one per category, in taxonomy order
    findings: tuple[Finding, ...]
    policy: str
    policy_version: str
    model: str
    language: str
    degraded: tuple[str, ...] = ()
    suggested_revision: str | None = field(default=None, repr=False)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    receipt: str = field(default="", repr=False)
    audit: bool = False
    cached: bool = False

    @property
    def whole(self) -> bool:
        """Whether every stage had its say; what was not measured, or is not looked for here, is no missing stage."""
        return not self.degraded or all(entry.startswith(NOTES) for entry in self.degraded)

    @property
    def flagged(self) -> bool:
        """Whether the action is FLAG or stricter."""
        return self.action >= Action.FLAG

    @property
    def top(self) -> Judgement | None:
        """The judgement that explains the action best: strictest action, then furthest over its flag line."""
        if not self.flagged:  # as nearly every verdict is
            return None
        flagged = [j for j in self.judgements if j.flagged]
        return max(flagged, key=lambda j: (j.action, j.score - j.threshold), default=None)


class Stage(Protocol):
    """One step of the pipeline. Detectors add findings; adjudicators add findings that override."""

    @property
    def name(self) -> str:
        """The stage's name in findings, timings and metrics."""
        ...

    async def inspect(self, content: Content, so_far: Sequence[Finding]) -> list[Finding]:
        """Look at the content, and at what stages before have found."""
        ...


class Scorer(Protocol):
    """Scores of texts, each with the turn before it or ''. The order of the answers is that of the pairs."""

    @property
    def version(self) -> str:
        """The artefact's name and digest."""
        ...

    async def score(
        self, pairs: Sequence[tuple[str, str]], kind: Kind, scope: str | None = "", *, read_next: bool = False
    ) -> list[Scores]:
        """Score (text, context) pairs; each pair must fit the model's window.

        `scope` names the caller whose kept scores may be used; None where nothing may be kept. `read_next` says that
        inner states of these texts, which have no context, are asked for next, so that one inference gives both.
        Raises Overloaded when the queue is full, DeadlineExceeded when the time is up, ScorerFailed otherwise.
        """
        ...

    def windows(self, text: str, context: str = "") -> list[Span]:
        """Overlapping ranges of the text that each fit the model's window beside the context and together cover it."""
        ...
