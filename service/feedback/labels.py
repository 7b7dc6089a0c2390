"""One reviewer's answer on one category of one verdict, as the statistics read it.

Owns the shape of a label. Refuses to know receipts' signatures, stores and HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.taxonomy import Action


@dataclass(frozen=True, slots=True)
class Label:
    """What one reviewer says of one category of one receipt, beside what the verdict had said.

    `score` is 0..1, `action` the category's action when the verdict was made (its stratum), `audited` whether the
    receipt was drawn at random whatever its verdict, `audit_share` the probability of that draw in (0, 1],
    `harmful` the reviewer's truth, `at` seconds since the epoch.
    """

    receipt: str
    category: str
    score: float
    action: Action
    audited: bool
    audit_share: float
    harmful: bool
    reviewer: str
    at: float
