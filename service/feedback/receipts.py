"""Receipts: what a verdict was, signed, small, and without its text.

Owns their form, their keys and when they are refused. Refuses to know stores and HTTP. Pure but for a clock that is
handed in. The form, big-endian, then base64url without padding:

    B format | 4s key id | I time made, s | B flags: 1 audited, 2 a shadow's scores follow,
    4 no stage was missing, kind << 4 | f audit share
    12s id | 16s HMAC of the content | B action | n x H scores / 65535 | actions, 2 bits each | [n x H shadow's scores]
    B length and bytes of: policy, policy version, artefact | 16s HMAC-SHA256 of all before, truncated (RFC 2104, 5)

Categories stand in taxonomy order; the format byte is bound to the taxonomy by the key derivation, so that a receipt
from before a change of categories is refused and never misread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.errors import ReceiptExpired, ReceiptInvalid
from service.taxonomy import CATEGORIES, Action
from service.types import Content, Kind, Verdict

FORMAT = 1
MAC_BYTES = 16
MOST_CHARS = 1024  # of a token; a genuine one has about 220
DAY_S = 86_400
_HEAD = struct.Struct(">B4sIBf12s16sB")
_SCORES = struct.Struct(f">{len(CATEGORIES)}H")
_FULL = 65_535  # a score of 1
_ACTIONS = (2 * len(CATEGORIES) + 7) // 8
_KINDS: tuple[Kind, ...] = ("post", "prompt", "response")
_AUDITED, _SHADOW, _WHOLE = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a genuine token says. `content` is a keyed hash of what was judged; `made` is in seconds since the epoch.

    `whole`: no stage was missing, so that the scores say what they usually say.
    """

    id: str
    made: float
    policy: str
    policy_version: str
    artifact: str
    kind: Kind
    action: Action
    scores: Mapping[str, float]
    actions: Mapping[str, Action]
    audited: bool
    audit_share: float
    content: bytes
    key: bytes
    whole: bool = True
    shadow: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class _Keys:
    """What one secret is turned into, a key for each use."""

    id: bytes
    sign: bytes = field(repr=False)
    content: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes) -> _Keys:
        """One-step derivation with HMAC as the function (NIST SP 800-56C, 4): the secret is the key."""
        taxonomy = "|".join(CATEGORIES).encode()
        sign = hmac.digest(secret, b"weir receipt signature %d " % FORMAT + taxonomy, "sha256")
        content = hmac.digest(secret, b"weir receipt content", "sha256")
        return cls(hashlib.sha256(b"weir key id" + sign).digest()[:4], sign, content)


class Receipts:
    """Issues and opens tokens. The first secret signs, every one verifies."""

    def __init__(self, secrets: Sequence[bytes], *, days: float) -> None:
        """`days` is how long a receipt is taken."""
        keys = [_Keys.derive(secret) for secret in secrets]
        self._first = keys[0]
        self._by_id = {key.id: key for key in reversed(keys)}
        self._lifetime_s = days * DAY_S

    def issue(
        self,
        content: Content,
        verdict: Verdict,
        *,
        made: float,
        identity: bytes,
        audited: bool,
        audit_share: float,
        shadow: Mapping[str, float] | None = None,
    ) -> str:
        """The token of a verdict. `identity` is 12 random bytes."""
        judgements = verdict.judgements
        actions = 0
        for judgement in judgements:
            actions = actions << 2 | judgement.action
        flags = audited * _AUDITED | (shadow is not None) * _SHADOW | verdict.whole * _WHOLE
        flags |= _KINDS.index(content.kind) << 4
        body = b"".join(
            (
                _HEAD.pack(
                    *(FORMAT, self._first.id, int(made), flags, audit_share, identity),
                    *(content_mac(self._first.content, content), verdict.action),
                ),
                _SCORES.pack(*[int(judgement.score * _FULL + 0.5) for judgement in judgements]),
                actions.to_bytes(_ACTIONS, "big"),
                b"" if shadow is None else _SCORES.pack(*[int(shadow[c] * _FULL + 0.5) for c in CATEGORIES]),
                *(_short(text) for text in (verdict.policy, verdict.policy_version, verdict.model)),
            )
        )
        signed = body + hmac.digest(self._first.sign, body, "sha256")[:MAC_BYTES]
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")

    def open(self, token: str, now: float) -> Receipt:
        """What a token says; raises ReceiptInvalid unless it is ours to the last bit, ReceiptExpired if too old."""
        raw = _decode(token)
        body, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        key = self._by_id.get(body[1:5]) if len(body) > _HEAD.size and body[0] == FORMAT else None
        if key is None or not hmac.compare_digest(hmac.digest(key.sign, body, "sha256")[:MAC_BYTES], mac):
            raise ReceiptInvalid("This is not a receipt of this service.", param="receipt")
        receipt = _parse(body)
        if now - receipt.made > self._lifetime_s:
            raise ReceiptExpired(f"The receipt is over {self._lifetime_s / DAY_S:g} days old.", param="receipt")
        return receipt

    def belongs(self, receipt: Receipt, content: Content) -> bool:
        """Whether the receipt was issued for exactly this content."""
        key = self._by_id[receipt.key]
        return hmac.compare_digest(receipt.content, content_mac(key.content, content))

    def name_content(self, policy: str, artifact: str, tie: bytes) -> str:
        """An id for feedback that came without a receipt: the same for the same policy, artefact and `tie`."""
        message = b"\0".join((policy.encode(), artifact.encode(), tie))
        return "content:" + hmac.digest(self._first.content, message, "sha256")[:12].hex()


def content_mac(key: bytes, content: Content) -> bytes:
    """A keyed hash, 16 bytes, of everything about a content that a verdict depends on besides the policy."""
    text = content.text.encode("utf-8", "surrogatepass")
    if content.context or content.role or content.images:
        parts = [content.role.encode(), text]
        for turn in content.context:
            parts += (turn.role.encode(), turn.text.encode("utf-8", "surrogatepass"))
        parts += [b"image:" + hashlib.sha256(image).digest() for image in content.images]
        text = b"".join(b"%d:" % len(part) + part for part in parts)
    return hmac.digest(key, text, "sha256")[:MAC_BYTES]


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded  # names are under 256 bytes: `policy_files` sees to it


def _decode(token: str) -> bytes:
    """The bytes of a token. Only the one spelling that `issue` writes is taken: base64 has spare bits at its end."""
    if len(token) > MOST_CHARS or not token.isascii():
        raise ReceiptInvalid("This is not a receipt of this service.", param="receipt")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ReceiptInvalid("This is not a receipt of this service.", param="receipt") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != token:
        raise ReceiptInvalid("This is not a receipt of this service.", param="receipt")
    return raw


def _parse(body: bytes) -> Receipt:
    """The parts of a body whose signature holds."""
    _, key, made, flags, share, identity, content, action = _HEAD.unpack_from(body)
    at = _HEAD.size
    scores = _SCORES.unpack_from(body, at)
    at += _SCORES.size
    packed = int.from_bytes(body[at : at + _ACTIONS], "big")
    at += _ACTIONS
    shadow = None
    if flags & _SHADOW:
        shadow = {c: n / _FULL for c, n in zip(CATEGORIES, _SCORES.unpack_from(body, at), strict=True)}
        at += _SCORES.size
    names = []
    for _ in range(3):
        names.append(body[at + 1 : at + 1 + body[at]].decode())
        at += 1 + body[at]
    last = len(CATEGORIES) - 1
    return Receipt(
        id=identity.hex(),
        made=float(made),
        policy=names[0],
        policy_version=names[1],
        artifact=names[2],
        kind=_KINDS[flags >> 4],
        action=Action(action),
        scores={c: n / _FULL for c, n in zip(CATEGORIES, scores, strict=True)},
        actions={c: Action(packed >> 2 * (last - n) & 3) for n, c in enumerate(CATEGORIES)},
        audited=bool(flags & _AUDITED),
        audit_share=round(share, 6),
        content=content,
        key=key,
        whole=bool(flags & _WHOLE),
        shadow=shadow,
    )
