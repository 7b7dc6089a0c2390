"""What earlier calls found out about segments, so that a text that is sent again as it grows is judged once.

Owns the bound and the keys: a keyed hash of all that an outcome depends on, with a secret of this process. Refuses to
keep text, scores of what was not flagged, receipts, and outcomes for want of a stage, which may be better next time.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from service.types import Content, Verdict

MOST_OUTCOMES = 20_000  # about 400 bytes each where nothing was flagged


class SegmentMemo:
    """A bounded map, the outcome that was asked for longest ago leaving first."""

    def __init__(self, most: int = MOST_OUTCOMES) -> None:
        self._most = most
        self._secret = secrets.token_bytes(32)
        self._outcomes: OrderedDict[bytes, Verdict] = OrderedDict()

    def __len__(self) -> int:
        return len(self._outcomes)

    async def recall(
        self, content: Content, policy_version: str, judge: Callable[[Content], Awaitable[Verdict]]
    ) -> Verdict:
        """The verdict on this content under this version of its policy; `judge` is asked where it is not known.

        Nothing is remembered of images: lists of known ones change apart from policies.
        """
        if content.images:
            return await judge(content)
        key = self._key(content, policy_version)
        known = self._outcomes.get(key)
        if known is not None:
            self._outcomes.move_to_end(key)
            return known
        verdict = await judge(content)
        # The thresholds may have been replaced meanwhile.
        if verdict.whole and verdict.policy_version == policy_version:
            self._outcomes[key] = _bare(verdict)
            if len(self._outcomes) > self._most:
                self._outcomes.popitem(last=False)
        return verdict

    def _key(self, content: Content, policy_version: str) -> bytes:
        digest = hashlib.blake2b(digest_size=16, key=self._secret)
        said = [part for turn in content.context for part in (turn.role, turn.text)]
        for part in (policy_version, content.role, str(content.explain), content.text, *said):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(raw))  # so that no two lists of parts look alike
            digest.update(raw)
        return digest.digest()


def _bare(verdict: Verdict) -> Verdict:
    """Action, flags and their spans. A suggested revision is text, and a receipt belongs to one verdict."""
    flagged = tuple(judgement for judgement in verdict.judgements if judgement.flagged)
    names = {judgement.category for judgement in flagged}
    findings = tuple(finding for finding in verdict.findings if finding.category in names)
    return replace(
        verdict, judgements=flagged, findings=findings, suggested_revision=None, receipt="", timings_ms={}, audit=False
    )
