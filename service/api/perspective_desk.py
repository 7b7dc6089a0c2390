"""One comment of Perspective's: what is asked of the pipeline for it, and what is answered.

Owns the meaning of analyze and suggestscore. Refuses to know how requests are spelt (`perspective_requests`), how they
arrive (`perspective`), what an attribute is made of (`attributes`) and what becomes of a suggestion (`feedback`).
Nothing of a comment is kept with doNotStore; without, scores may be cached, and never its text. Answers hold scores
only: no policy decides in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from service.api.auth import Caller
from service.api.google import Degraded, Refused
from service.api.perspective_requests import Comment, read_analyze, read_suggestion, refuse_languages
from service.attributes import Attributes, gather
from service.config import CONCURRENT_ITEMS
from service.errors import Forbidden, UnknownPolicy
from service.sentences import sentences, utf16_offsets
from service.types import Content, Span, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

MOST_SPANS = 100  # of one comment; sentences of a longer one share a span
LEAST_HARMFUL = 0.5  # of a suggested score, from which it says that the comment was rejected

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """What one HTTP request works with. `gate` bounds how many texts it has judged at once, its batch included."""

    runtime: Runtime
    attributes: Attributes
    gate: asyncio.Semaphore

    @classmethod
    def open(cls, runtime: Runtime, attributes: Attributes) -> Desk:
        """A desk for one request."""
        return cls(runtime, attributes, asyncio.Semaphore(CONCURRENT_ITEMS))

    async def analyze(self, body: bytes, caller: Caller, header_policy: str | None) -> tuple[Json, Verdict]:
        """Scores of one comment, and the verdict that they come from."""
        wanted = read_analyze(body, self.attributes)
        comment = wanted.comment
        if comment.languages:
            self._check(wanted.requested, comment.languages, self._supports(comment.languages), wanted.drop_unsupported)
        policy = self._policy(caller, header_policy, comment.community)
        content = _content(comment, policy, caller)
        async with self.gate:
            verdict = await self.runtime.moderate(content)
        _check_whole(verdict)
        detected, measured = self._language(verdict)
        languages = comment.languages or (detected,)
        supported = self._supports(languages) if comment.languages else measured or self._any_language
        if not comment.languages:
            if detected == "und":
                raise Refused("LANGUAGE_DETECTION_FAILED", "Unable to detect language")
            self._check(wanted.requested, languages, supported, wanted.drop_unsupported, detected=True)
        names = [name for name in wanted.requested if supported and name in self.attributes.scored]
        summary = self._score(verdict, content.text, names)
        pieces = await self._pieces(content, verdict) if wanted.spans else []
        parts = [(span, self._score(part, text, names)) for span, text, part in pieces]
        attribute_scores = {
            name: {"summaryScore": _as_score(summary[name]), "spanScores": _spans(comment, name, parts, summary)}
            for name in names
            if summary[name] >= wanted.requested[name]
        }
        answer = {"attributeScores": attribute_scores, "languages": list(languages), "detectedLanguages": [detected]}
        return _with_token(answer, comment), verdict

    async def suggest(self, body: bytes, caller: Caller, header_policy: str | None) -> Json:
        """Take a moderator's word on a comment as feedback."""
        suggestion = read_suggestion(body, self.attributes)
        comment = suggestion.comment
        truths: dict[str, bool] = {}
        for name, value in suggestion.values.items():
            attribute = self.attributes.scored.get(name)
            if attribute is not None and attribute.truth:
                # Several attributes may speak of one category: it was harmful if one of them says so.
                truths[attribute.truth] = truths.get(attribute.truth, False) or value >= LEAST_HARMFUL
        if truths:
            policy = self._policy(caller, header_policy, comment.community)
            content = _content(comment, policy, caller)
            # Of a key, not of a session: whoever has a key can open as many sessions as they like.
            reviewer = "/".join(part for part in (caller.name, "perspective") if part)
            async with self.gate:
                await self.runtime.feedback.suggest(
                    content,
                    truths,
                    reviewer=reviewer,
                    tie=comment.client_token or "",
                )
        answer = {"requestedLanguages": list(comment.languages), "detectedLanguages": []}
        return _with_token(answer, comment)

    async def _pieces(self, content: Content, verdict: Verdict) -> list[tuple[Span, str, Verdict]]:
        """Each sentence with a verdict of its own. A text of one sentence has it already."""
        spans = sentences(content.text, MOST_SPANS)
        if len(spans) == 1:
            return [(spans[0], content.text, verdict)]
        texts = [content.text[span.start : span.end] for span in spans]
        tasks = [asyncio.ensure_future(self._judge(content, text)) for text in texts]
        try:
            return list(zip(spans, texts, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()

    async def _judge(self, content: Content, text: str) -> Verdict:
        async with self.gate:
            verdict = await self.runtime.judge(replace(content, text=text))
        _check_whole(verdict)
        return verdict

    def _score(self, verdict: Verdict, text: str, names: Sequence[str]) -> dict[str, float]:
        evidence = gather(verdict, text)
        return {name: round(self.attributes.scored[name].score(evidence), 8) for name in names}

    def _policy(self, caller: Caller, header_policy: str | None, community: str) -> str:
        """A community that is a policy's name means that policy; any other means nothing, and refuses nobody."""
        if community and not header_policy:
            try:
                return self.runtime.policies.get(caller.choose_policy(community)).name
            except (Forbidden, UnknownPolicy):
                return caller.choose_policy(None)
        return caller.choose_policy(header_policy)

    @property
    def _any_language(self) -> bool:
        return self.runtime.settings.perspective_languages == "any"

    def _supports(self, languages: Sequence[str]) -> bool:
        """Whether one of these is a language that the model was measured on; regions make no difference."""
        bases = {language.replace("_", "-").partition("-")[0].lower() for language in languages}
        return self._any_language or not bases.isdisjoint(self.runtime.languages)

    def _language(self, verdict: Verdict) -> tuple[str, bool]:
        """What the text is in, and whether that was measured. A text without letters is in the model's own language."""
        measured = not verdict.degraded
        return (self.runtime.languages[0] if measured and verdict.language == "und" else verdict.language), measured

    def _check(
        self,
        names: Mapping[str, float],
        languages: tuple[str, ...],
        supported: bool,
        drop: bool,
        detected: bool = False,
    ) -> None:
        """Refuse the first attribute that there is not in these languages, unless such are to be left out."""
        for name in names:
            if not drop and not (supported and name in self.attributes.scored):
                refuse_languages(name, languages, detected=detected)


def _content(comment: Comment, policy: str, caller: Caller) -> Content:
    return Content(
        comment.view.text,
        comment.context,
        policy=policy,
        explain=False,
        scope=caller.name,
        store=comment.store,
    )


def _check_whole(verdict: Verdict) -> None:
    if not verdict.whole:
        raise Degraded("The comment could not be scored in full; try again.")


def _spans(
    comment: Comment, name: str, parts: Sequence[tuple[Span, Mapping[str, float]]], summary: Mapping[str, float]
) -> list[Json]:
    """One span per sentence, or one over the whole text; in UTF-16 code units of the text as it was sent."""
    if not parts:
        whole = utf16_offsets(comment.text, [len(comment.text)])[len(comment.text)]
        return [{"begin": 0, "end": whole, "score": _as_score(summary[name])}]
    places = [comment.view.original_span(span.start, span.end) for span, _ in parts]
    units = utf16_offsets(comment.text, [place for pair in places for place in pair])
    return [
        {"begin": units[begin], "end": units[end], "score": _as_score(scores[name])}
        for (begin, end), (_, scores) in zip(places, parts, strict=True)
    ]


def _as_score(value: float) -> Json:
    return {"value": value, "type": "PROBABILITY"}


def _with_token(answer: Json, comment: Comment) -> Json:
    return answer if comment.client_token is None else {**answer, "clientToken": comment.client_token}
