"""What Perspective's clients send, checked: the two requests as frozen values.

Owns the fields of analyze and suggestscore, and the order and wording of what is refused in them. Refuses to know
verdicts, policies and answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Never

from service.api.google import Refused
from service.api.proto_json import Fields, read_fields
from service.attributes import Attributes
from service.sentences import from_html
from service.types import Turn
from service.view import View, original

MAX_TEXT_BYTES = 20_480  # of UTF-8, as in the original
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BOTH_CONTEXTS = "Context can have either entries or article_and_parent_comment, but both fields were populated."


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment as it was sent, and the plain text in it that is judged."""

    text: str = field(repr=False)
    view: View = field(repr=False)
    context: tuple[Turn, ...] = field(repr=False)
    languages: tuple[str, ...]
    community: str = field(repr=False)
    client_token: str | None = field(repr=False)
    store: bool  # without, nothing of it enters a cache


@dataclass(frozen=True, slots=True)
class Analyze:
    """A request for scores: per attribute the threshold under which its score is left out."""

    comment: Comment
    requested: Mapping[str, float]
    spans: bool
    drop_unsupported: bool


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A moderator's word: per attribute a value, 0 for approved and 1 for rejected."""

    comment: Comment
    values: Mapping[str, float]


def read_analyze(body: bytes, known: Attributes) -> Analyze:
    """The request in a body, or Refused."""
    fields = read_fields(body)
    comment = _comment(fields)
    wanted = fields.table("requested_attributes")
    if not wanted:
        raise Refused("NO_REQUESTED_ATTRIBUTES", "Missing requested_attributes")
    requested: dict[str, float] = {}
    for name, parameters in wanted.items():
        _check_name(name, known)
        _check_score_type(name, parameters.value("score_type"))
        requested[name] = parameters.number("score_threshold") or 0.0
    return Analyze(comment, requested, fields.flag("span_annotations"), fields.flag("drop_unsupported_attributes"))


def read_suggestion(body: bytes, known: Attributes) -> Suggestion:
    """The suggestion in a body, or Refused."""
    fields = read_fields(body)
    comment = _comment(fields)
    suggested = fields.table("attribute_scores")
    if not suggested:
        raise Refused("INVALID_REQUEST", "Missing attribute_scores")
    values: dict[str, float] = {}
    for name, scores in suggested.items():
        _check_name(name, known)
        summary = scores.message("summary_score")
        parts = [summary, *(span.message("score") for span in scores.messages("span_scores"))]
        given = [_value(name, part) for part in parts if not part.empty]
        if not given:
            raise Refused("INVALID_REQUEST", f"Missing score of attribute {name}")
        # Without a summary, a comment is as bad as its worst part.
        values[name] = given[0] if not summary.empty else max(given)
    return Suggestion(comment, values)


def refuse_languages(name: str, languages: tuple[str, ...], *, detected: bool) -> Never:
    """Raise the error that clients take apart: one attribute, and the languages that it does not have."""
    shown = [language if _NAME.fullmatch(language) else "?" for language in languages]
    told: dict[str, Any] = {"detectedLanguages": shown, "attribute": name}
    if not detected:
        told["requestedLanguages"] = shown
    raise Refused(
        "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
        f"Attribute {name} does not support request languages: {', '.join(shown)}",
        {"languageNotSupportedByAttributeError": told},
    )


def _comment(fields: Fields) -> Comment:
    entry = fields.message("comment")
    text = entry.text("text")
    if not text.strip():
        _refuse_empty()
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise Refused("COMMENT_TOO_LONG", "Comment text too long.")
    view = _view(entry)
    if not view.text.strip():
        _refuse_empty()
    token = fields.value("client_token")
    return Comment(
        text,
        view,
        _context(fields.message("context")),
        fields.texts("languages"),
        fields.text("community_id"),
        None if token is None else fields.text("client_token"),
        not fields.flag("do_not_store"),
    )


def _refuse_empty() -> Never:
    raise Refused("COMMENT_EMPTY", "Comment must be non-empty.")


def _view(entry: Fields) -> View:
    kind: Any = entry.value("type")
    if kind not in (None, "PLAIN_TEXT", "HTML", "TEXT_TYPE_UNSPECIFIED", 0, 1, 2):
        raise Refused("INVALID_REQUEST", "Unknown text type")
    text = entry.text("text")
    return from_html(text) if kind in ("HTML", 2) else original(text)


def _context(fields: Fields) -> tuple[Turn, ...]:
    """The texts before the comment, oldest first. Nobody vouches for them, so they have no role."""
    entries = fields.messages("entries")
    pair = fields.message("article_and_parent_comment")
    if entries and not pair.empty:
        raise Refused("INVALID_REQUEST", _BOTH_CONTEXTS)
    if not entries:
        entries = [pair.message("article"), pair.message("parent_comment")]
    return tuple(Turn(_view(entry).text) for entry in entries if entry.text("text").strip())


def _check_name(name: str, known: Attributes) -> None:
    if name not in known:
        shown = name if _NAME.fullmatch(name) else "?"
        raise Refused("INVALID_REQUEST", f"Unknown requested attribute: {shown}")


def _check_score_type(name: str, kind: object) -> None:
    if kind not in (None, "PROBABILITY", "SCORE_TYPE_UNSPECIFIED", 0, 1):
        shown = kind if isinstance(kind, str) and _NAME.fullmatch(kind) else "?"
        raise Refused("INVALID_REQUEST", f"Requested score type {shown} is not supported by attribute {name}")


def _value(name: str, score: Fields) -> float:
    _check_score_type(name, score.value("type"))
    value = score.number("value") or 0.0  # a client may leave out a zero
    if not 0.0 <= value <= 1.0:
        raise Refused("INVALID_REQUEST", f"The score of attribute {name} must be between 0 and 1")
    return value
