"""From what a reviewer said to a truth for each category. Pure.

Owns the rules for a single yes or no, and for categories that imply each other. Refuses to know receipts' form, stores
and HTTP.

A single `harmful: no` says no of every category. A single `yes` names no category, so it counts for the one that the
verdict rests on: the strictest that was flagged, or, where none was, the one nearest to its line; of the others it says
nothing. `hate/threatening` yes implies `hate` yes; `hate` no implies `hate/threatening` no.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import BadInput
from service.policy import Policy
from service.taxonomy import CATEGORIES, Action


def settle(
    harmful: bool | None,
    categories: Mapping[str, bool],
    scores: Mapping[str, float],
    actions: Mapping[str, Action],
    policy: Policy,
) -> dict[str, bool]:
    """A truth for each category that was spoken of; raises BadInput for answers that contradict each other."""
    if harmful is None and not categories:
        raise BadInput("Say harmful, or say it of categories.")
    unknown = set(categories) - set(CATEGORIES)
    if unknown:
        raise BadInput("There is a category that is not known here.", param="categories")
    truths = dict(categories)
    if harmful is False:
        if any(truths.values()):
            raise BadInput("A text that is not harmful is so in no category.", param="categories")
        return dict.fromkeys(CATEGORIES, False)
    if harmful is True and not categories:
        truths[_most_telling(scores, actions, policy)] = True
    return _imply(truths)


def _most_telling(scores: Mapping[str, float], actions: Mapping[str, Action], policy: Policy) -> str:
    lines = policy.thresholds
    return max(CATEGORIES, key=lambda name: (actions[name], scores[name] / lines[name].flag))


def _imply(given: Mapping[str, bool]) -> dict[str, bool]:
    truths = dict(given)
    for name, category in CATEGORIES.items():
        if category.parent is None:
            continue
        child, parent = given.get(name), given.get(category.parent)
        if child is True and parent is False:
            raise BadInput(f"{name} implies {category.parent}.", param="categories")
        if child is True:
            truths[category.parent] = True
        elif parent is False:
            truths[name] = False
    return truths
