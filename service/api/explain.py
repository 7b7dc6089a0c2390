"""A verdict in words that a person understands.

Owns sentences. Refuses to quote: it is given a verdict, which holds no text, and never the content.
"""

from __future__ import annotations

from service.taxonomy import CATEGORIES, Action
from service.types import Judgement, Verdict

_OUTCOME = {
    Action.ALLOW: "Allowed",
    Action.FLAG: "Flagged",
    Action.REVIEW: "Held for review",
    Action.BLOCK: "Blocked",
}
NOTABLE = 0.005  # below it two digits show 0.00
_OF_IMAGES = {
    "visual:not_scanned": "Nothing here looks for nudity or gore in images; they were compared and read only.",
    "visual:partial": "The image classifier has not seen all there is.",
    "image:undecodable": "An image is damaged and could not be opened.",
    "image:unread": "There is writing in an image that could not be read.",
    "image:partial": "An animation has frames that were not looked at.",
}
MOST_OTHERS = 3  # further categories named in a sentence; all of them stand in `categories`


def explain(verdict: Verdict) -> str:
    """Two to four sentences: what was decided, why, and what limits the judgement."""
    top = verdict.top
    sentences = [_flagged(verdict, top) if top is not None else _unflagged(verdict)]
    if top is not None:
        sentences += _adjusted(verdict, top)
    sentences += _principles(verdict)
    sentences += _limits(verdict)
    return " ".join(sentences)


def _flagged(verdict: Verdict, top: Judgement) -> str:
    stages = sorted({f.stage for f in verdict.findings if f.category == top.category and not f.overrides})
    seen = f", seen by the {' and '.join(stages)} stage{'s' * (len(stages) > 1)}" if stages else ""
    about = max((f for f in verdict.findings if f.category == top.category), key=lambda f: f.score, default=None)
    subject = "text" if about is None or about.image is None else "image"
    sentence = (
        f"{_OUTCOME[verdict.action]}: the {subject} looks like {CATEGORIES[top.category].phrase} ({_line(top)}{seen})."
    )
    others = sorted((j for j in verdict.judgements if j.flagged and j is not top), key=lambda j: -j.score)
    if others:
        named = ", ".join(f"{j.category} {j.score:.2f}" for j in others[:MOST_OTHERS])
        more = f" and {len(others) - MOST_OTHERS} more" if len(others) > MOST_OTHERS else ""
        sentence += f" Also over the line: {named}{more}."
    return sentence


def _unflagged(verdict: Verdict) -> str:
    nearest = max(verdict.judgements, key=lambda j: j.score / j.threshold)
    detail = f"; the nearest is {_line(nearest)}" if nearest.score >= NOTABLE else ""
    return f"{_OUTCOME[verdict.action]}: no category reached its threshold{detail}."


def _adjusted(verdict: Verdict, top: Judgement) -> list[str]:
    detected = max((f.score for f in verdict.findings if f.category == top.category and not f.overrides), default=0.0)
    stages = sorted({f.stage for f in verdict.findings if f.category == top.category and f.overrides})
    if not stages or abs(detected - top.score) < NOTABLE:
        return []
    way = "raised" if top.score > detected else "lowered"
    return [f"The {' and '.join(stages)} stage {way} this score from {detected:.2f}."]


def _principles(verdict: Verdict) -> list[str]:
    """Which principles of the constitution call for an action, by their ids."""
    names = dict.fromkeys(
        f.reason.split(":")[1] for f in verdict.findings if f.calls_for > Action.ALLOW and not f.category
    )
    return [f"Against the constitution: {', '.join(names)}."] if names else []


def _limits(verdict: Verdict) -> list[str]:
    """What the verdict lacks, and that it is stricter for it."""
    stages = [entry for entry in verdict.degraded if ":" not in entry]
    sentences = []
    if any(entry.startswith("language:") for entry in verdict.degraded):
        sentences.append(
            f"The text seems to be in a language ({verdict.language}) that the model was not measured on, "
            "so its scores are less certain."
        )
    if stages:
        sentences.append(f"Without a result from: {', '.join(stages)} (failed or out of time).")
    sentences += [said for entry, said in _OF_IMAGES.items() if entry in verdict.degraded]
    asked = (*(j.action for j in verdict.judgements), *(f.calls_for for f in verdict.findings))
    called_for = max(asked, default=Action.ALLOW)
    if verdict.action > called_for:
        sentences.append(f"The policy raises the action to {verdict.action.wire} in such a case.")
    return sentences


def _line(judgement: Judgement) -> str:
    return f"{judgement.category} {judgement.score:.2f} against a threshold of {judgement.threshold:.2f}"
