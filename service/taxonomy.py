"""Categories, their groups and severities, and actions. stdlib only; the one file that `models` may import too.

Owns every name that stands on the wire for a kind of harm. Refuses to know thresholds, models and texts.
Names are OpenAI's where OpenAI has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Action(IntEnum):
    """What is to be done with a text; a higher action is a stricter one."""

    ALLOW = 0
    FLAG = 1
    REVIEW = 2
    BLOCK = 3

    @property
    def wire(self) -> str:
        """The name on the wire: `allow`, `flag`, `review` or `block`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of harm. `phrase` completes 'The text looks like ...'; `severity` breaks ties, 1 to 5."""

    name: str
    harm_type: str
    severity: int
    phrase: str
    openai: bool = True

    @property
    def parent(self) -> str | None:
        """The category that this one implies: `hate` for `hate/threatening`."""
        return self.name.partition("/")[0] if "/" in self.name else None


_ALL = (
    Category("harassment", "hate_speech", 2, "an insult or harassment aimed at someone"),
    Category("harassment/threatening", "hate_speech", 4, "a threat against someone"),
    Category("hate", "hate_speech", 3, "hate against a group of people"),
    Category("hate/threatening", "hate_speech", 5, "a threat against a group of people"),
    Category("illicit", "illegal_activity", 3, "help with something illegal"),
    Category("illicit/violent", "illegal_activity", 5, "help with weapons or violent wrongdoing"),
    Category("self-harm", "self_harm", 4, "talk of self-harm or suicide"),
    Category("self-harm/intent", "self_harm", 5, "someone who means to harm themselves"),
    Category("self-harm/instructions", "self_harm", 5, "instructions for self-harm"),
    Category("sexual", "sexual_content", 2, "sexual content"),
    Category("sexual/minors", "sexual_content", 5, "sexual content about minors"),
    Category("violence", "violence", 3, "violence that is threatened, urged or revelled in"),
    Category("violence/graphic", "violence", 4, "graphic violence"),
    Category("toxicity", "hate_speech", 1, "rude or disrespectful language", openai=False),
    Category("privacy", "privacy_violation", 3, "personal identifiers or prying into private data", openai=False),
    Category("misinformation", "misinformation", 2, "a misleading claim", openai=False),
    Category("prompt-injection", "attack", 3, "an attempt to override a model's instructions", openai=False),
)

CATEGORIES: dict[str, Category] = {category.name: category for category in _ALL}
OPENAI_CATEGORIES: tuple[str, ...] = tuple(category.name for category in _ALL if category.openai)
