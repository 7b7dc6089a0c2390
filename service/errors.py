"""Our exceptions, with each one's HTTP status and stable code.

Owns the one table of what can go wrong. Refuses to know HTTP frameworks and dialects, and never carries content:
`message` is written for the caller, from facts about the input, not from the input.

    WeirError                          500  internal_error
    ├── BadInput                       400  invalid_request
    │   ├── InvalidJson                400  invalid_json
    │   ├── EmptyInput                 400  empty_input
    │   ├── UnknownPolicy              404  unknown_policy
    │   ├── UnknownModel               404  unknown_model
    │   ├── UnknownUpstream            404  unknown_upstream
    │   ├── TextTooLong                413  text_too_long
    │   ├── BodyTooLarge               413  body_too_large
    │   ├── TooManyItems               413  too_many_items
    │   ├── Unsupported                400  unsupported_input
    │   ├── ReceiptInvalid             400  receipt_invalid
    │   ├── ReceiptExpired             400  receipt_expired
    │   ├── ReceiptMismatch            400  receipt_mismatch
    │   └── UnknownVersion             404  unknown_version
    ├── Unauthorized                   401  invalid_api_key
    ├── Forbidden                      403  policy_forbidden
    │   ├── AdminRequired              403  admin_required
    │   └── AdminDisabled              403  admin_disabled
    ├── VersionConflict                412  version_conflict
    ├── PreconditionRequired           428  precondition_required
    ├── ReloadRefused                  422  artifact_invalid, policy_invalid, constitution_invalid
    ├── Overloaded                     429  overloaded
    ├── RateLimited                    429  rate_limited
    ├── DeadlineExceeded               503  deadline_exceeded
    ├── ScorerFailed                   503  scorer_failed
    ├── StoreUnavailable               503  store_unavailable
    ├── JudgeFailed                    503  judge_failed
    │   └── JudgeBudgetSpent           503  judge_failed
    ├── Draining                       503  draining
    └── StartRefused                   (stops the start)
        ├── ArtifactInvalid
        ├── PolicyInvalid
        ├── ConstitutionInvalid
        └── StoreRefused
"""

from __future__ import annotations


class WeirError(Exception):
    """Base of everything that Weir raises on purpose."""

    status = 500
    code = "internal_error"
    retry_after_s: int | None = None

    def __init__(self, message: str = "Something went wrong inside Weir.", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class BadInput(WeirError):
    """The request cannot be judged as it is."""

    status = 400
    code = "invalid_request"


class InvalidJson(BadInput):
    """The body is not JSON, or nested too deeply."""

    code = "invalid_json"


class EmptyInput(BadInput):
    """There is no text to judge."""

    code = "empty_input"


class UnknownPolicy(BadInput):
    """No policy has that name."""

    status = 404
    code = "unknown_policy"


class UnknownModel(BadInput):
    """No model has that name."""

    status = 404
    code = "unknown_model"


class UnknownUpstream(BadInput):
    """No upstream of that name is configured for this dialect."""

    status = 404
    code = "unknown_upstream"


class TextTooLong(BadInput):
    """A text is over the limit in code points."""

    status = 413
    code = "text_too_long"


class BodyTooLarge(BadInput):
    """The body is over the limit in bytes."""

    status = 413
    code = "body_too_large"


class TooManyItems(BadInput):
    """A batch is over the limit in items."""

    status = 413
    code = "too_many_items"


class Unsupported(BadInput):
    """A kind of input that this deployment does not judge, such as an image."""

    code = "unsupported_input"


class ReceiptInvalid(BadInput):
    """A receipt that this service did not sign, or that was altered."""

    code = "receipt_invalid"


class ReceiptExpired(BadInput):
    """A receipt that is genuine and too old."""

    code = "receipt_expired"


class ReceiptMismatch(BadInput):
    """A receipt that belongs to another content than the one beside it."""

    code = "receipt_mismatch"


class UnknownVersion(BadInput):
    """No version of a policy's thresholds has that number."""

    status = 404
    code = "unknown_version"


class Unauthorized(WeirError):
    """The key is missing or wrong."""

    status = 401
    code = "invalid_api_key"


class Forbidden(WeirError):
    """The key may not use this policy."""

    status = 403
    code = "policy_forbidden"


class AdminRequired(Forbidden):
    """The key is good, but not an admin key."""

    code = "admin_required"


class AdminDisabled(Forbidden):
    """Nobody may do this here: no admin key is configured."""

    code = "admin_disabled"


class VersionConflict(WeirError):
    """Somebody else has changed the thresholds since they were read."""

    status = 412
    code = "version_conflict"


class PreconditionRequired(WeirError):
    """A write that does not say which version it replaces."""

    status = 428
    code = "precondition_required"


class Overloaded(WeirError):
    """The queue is full; later is better."""

    status = 429
    code = "overloaded"
    retry_after_s = 1


class RateLimited(WeirError):
    """The key's share of texts is used up; it fills again with time."""

    status = 429
    code = "rate_limited"
    retry_after_s = 1


class DeadlineExceeded(WeirError):
    """The work was not done within its budget."""

    status = 503
    code = "deadline_exceeded"
    retry_after_s = 1


class ScorerFailed(WeirError):
    """The model could not score."""

    status = 503
    code = "scorer_failed"
    retry_after_s = 5


class StoreUnavailable(WeirError):
    """The store of feedback and thresholds is away; verdicts go on without it."""

    status = 503
    code = "store_unavailable"
    retry_after_s = 2


class JudgeFailed(WeirError):
    """The judge of the constitution gave no opinion; `reason` is from a closed set."""

    status = 503
    code = "judge_failed"
    retry_after_s = 5

    def __init__(self, reason: str) -> None:
        super().__init__("The judge gave no opinion.")
        self.reason = reason


class JudgeBudgetSpent(JudgeFailed):
    """No more calls to the judge this minute."""


class Draining(WeirError):
    """The process is about to stop."""

    status = 503
    code = "draining"
    retry_after_s = 2


class StartRefused(WeirError):
    """The service cannot start as configured; the message says why in one sentence."""

    code = "start_refused"


class ArtifactInvalid(StartRefused):
    """A model artefact is incomplete, altered, or speaks of unknown categories."""

    code = "artifact_invalid"


class PolicyInvalid(StartRefused):
    """A policy file is wrong."""

    code = "policy_invalid"


class ReloadRefused(WeirError):
    """What lies on disk cannot be taken up, for what would also stop a start; what was in force stays."""

    status = 422

    def __init__(self, refused: StartRefused) -> None:
        super().__init__(f"{refused.message.rstrip('.')}. What was in force stays.")
        self.code = refused.code


class ConstitutionInvalid(StartRefused):
    """A constitution's file is wrong."""

    code = "constitution_invalid"


class StoreRefused(StartRefused):
    """The store cannot be opened, or could lose what it acknowledges."""
