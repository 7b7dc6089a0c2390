"""Critique, revision, judgement of the revision, and again: until one passes, or a refusal does.

Owns the rounds. Refuses to return a revision that the whole pipeline flags; masking grows from words over sentences to
a refusal. Nothing of a chain is kept: whoever asked for it gets it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from service.constitution.critique import breaches, compose
from service.constitution.doubt import log_odds
from service.constitution.live import LiveConstitutions
from service.constitution.masking import harmful_words
from service.constitution.opinion import Breach, Case, Judge, Opinion
from service.constitution.revision import mask, refusals, register, sentences_of
from service.errors import JudgeFailed, WeirError
from service.metrics import Metrics
from service.policy import LivePolicies, resolve
from service.taxonomy import Action
from service.types import Content, Scorer, Span, Verdict

MOST_ROUNDS = 8
DEFAULT_ROUNDS = 6
MOST_CHARS = 4_000  # code points; a longer text is revised by sentences at once
_TRIES_OF_WORDS = 3
# What a word less does not make harmless: instructions, and the sexualising of a minor.
METHODS = frozenset({"illicit", "illicit/violent", "sexual/minors"})
NAMED_FROM = 0.15  # a word of the lexicon that weighs this much is masked whatever the classifier makes of it


@dataclass(frozen=True, slots=True)
class Round:
    """One attempt: how it was made (judge, words, sentences or refusal), and what the pipeline said of it."""

    made_by: str
    text: str = field(repr=False)
    action: Action


@dataclass(frozen=True, slots=True)
class Chain:
    """What came of a verdict: which principles, the critique, every round, and the revision that passed."""

    breaches: tuple[Breach, ...]
    critique: str = field(repr=False)
    rounds: tuple[Round, ...] = ()
    revision: str | None = field(default=None, repr=False)
    refused: bool = False


class Reviser:
    """Revises what a verdict holds against a text; `moderate` judges a candidate without counting it."""

    def __init__(
        self,
        moderate: Callable[[Content], Awaitable[Verdict]],
        scorer: Scorer,
        judge: Judge | None,
        constitutions: LiveConstitutions,
        policies: LivePolicies,
        metrics: Metrics,
    ) -> None:
        self._moderate = moderate
        self._scorer = scorer
        self._judge = judge
        self._constitutions = constitutions
        self._policies = policies
        self._metrics = metrics

    async def revise(self, content: Content, verdict: Verdict) -> str | None:
        """A form of the text that the pipeline lets pass, or a refusal; None where not even that passes."""
        return (await self.chain(content, verdict)).revision

    def explain(self, content: Content, verdict: Verdict) -> Chain:
        """Breaches and critique alone."""
        constitution = self._constitutions.get(content.policy).constitution
        found = breaches(constitution, verdict, content.text)
        return Chain(found, compose(constitution, found, content.text))

    async def chain(self, content: Content, verdict: Verdict, rounds: int = DEFAULT_ROUNDS) -> Chain:
        """Critique and up to `rounds` revisions; then refusals, which are no round and always tried."""
        chain = self.explain(content, verdict)
        if not verdict.flagged:
            return chain
        opinion = await self._ask(content, verdict)
        critique = opinion.critique or chain.critique
        tried: list[Round] = []
        async for made_by, text in self._candidates(content, verdict, chain.breaches, opinion, rounds):
            action = await self._action(content, text)
            tried.append(Round(made_by, text, action))
            if action is Action.ALLOW:
                refused = made_by == "refusal"
                self._metrics.revisions.labels(made_by).inc()
                self._metrics.revision_rounds.observe(len(tried))
                return Chain(chain.breaches, critique, tuple(tried), text, refused)
        self._metrics.revisions.labels("none").inc()
        return Chain(chain.breaches, critique, tuple(tried))

    async def _ask(self, content: Content, verdict: Verdict) -> Opinion:
        """The judge's own critique and revision, where there is a judge that writes them."""
        if self._judge is None:
            return Opinion("embedded")
        constitution = self._constitutions.get(content.policy).constitution
        scores = resolve(verdict.findings, self._policies.get(content.policy))
        try:
            return await self._judge.judge(Case(content, constitution, scores, verdict.findings))
        except JudgeFailed as error:
            self._metrics.judge_errors.labels(error.reason).inc()
            return Opinion("embedded")

    async def _action(self, content: Content, text: str) -> Action:
        """What the whole pipeline says of a candidate; one that cannot be judged does not pass."""
        try:
            return (await self._moderate(replace(content, text=text, explain=False))).action
        except WeirError:
            return Action.REVIEW

    async def _candidates(
        self, content: Content, verdict: Verdict, found: Sequence[Breach], opinion: Opinion, rounds: int
    ) -> AsyncIterator[tuple[str, str]]:
        constitution = self._constitutions.get(content.policy).constitution
        left = rounds
        for made_by, text in [("judge", opinion.revision)] if opinion.revision.strip() else []:
            left -= 1
            yield made_by, text
        evidence = [breach.span for breach in found if breach.span is not None]
        tone = register(constitution, found)
        if tone == "caring":
            left = 0  # a wish to die with a word missing is no milder, and not what its writer needs
        methods = any(j.flagged and j.category in METHODS for j in verdict.judgements)
        if left > 0 and not methods and len(content.text) <= MOST_CHARS:
            for chosen in (await self._words(content, verdict, evidence))[: min(_TRIES_OF_WORDS, left)]:
                left -= 1
                yield "words", mask(content.text, chosen)
        for spans in _growing(content.text, evidence)[: max(0, left)]:
            yield "sentences", mask(content.text, spans)
        for text in refusals(constitution, found):
            yield "refusal", text

    @staticmethod
    def _named(verdict: Verdict) -> list[Span]:
        """The places of harmful words that a rule knows by themselves."""
        return [f.span for f in verdict.findings if f.stage == "keyword" and f.span and f.score >= NAMED_FROM]

    async def _words(self, content: Content, verdict: Verdict, evidence: Sequence[Span]) -> list[list[Span]]:
        lines = {j.category: log_odds(j.threshold) for j in verdict.judgements}

        async def margins(texts: Sequence[str]) -> list[float]:
            scored = await self._scorer.score([(text, "") for text in texts], content.kind)
            return [max(log_odds(score) - lines[name] for name, score in scores.items()) for scores in scored]

        try:
            return await harmful_words(content.text, evidence, margins, self._named(verdict))
        except WeirError:
            return []  # sentences and refusals are judged by the pipeline all the same


def _growing(text: str, evidence: Sequence[Span]) -> list[list[Span]]:
    """Lists of spans to take out: the evidence itself, then its sentences; none that leaves nothing of the text."""
    grown: list[list[Span]] = []
    for spans in (list(evidence), sentences_of(text, evidence)):
        left = mask(text, spans).replace("[removed]", "").strip(" .,;:!?\"'\n\t")
        if spans and left and spans not in grown:
            grown.append(spans)
    return grown
