"""Every Prometheus series of the service.

Owns the names, labels and buckets: a public interface, listed by `weir metrics`. Refuses to know content: each label
takes its values from a closed set (route templates, statuses, categories, stages, codes, configured policies, an
admin's lists of images), never a path, a key or a text.

There is no series of padding waste, since there is none: every text is computed alone, unpadded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client import Counter, Histogram

from service import __version__
from service.series import Series, SeriesBook
from service.taxonomy import Action
from service.types import Verdict

# One text takes milliseconds, a long batch seconds: buckets in seconds, dense where texts are.
_LATENCY = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (8, 16, 32, 64, 128, 192, 256, 512)
_CHARACTERS = (10, 20, 40, 80, 120, 160, 200, 240, 280, 320, 400)
_ROUNDS = (1, 2, 3, 4, 6, 8)
_REFUSALS = ("overloaded", "rate_limited", "draining")  # there from the start, so that the first ones make a rate


class Metrics:
    """The series of one running service; two of them can live in one process."""

    def __init__(self, shared: Path | None = None, *, apart: bool = False) -> None:
        """Make every series. `shared` and `apart` as in `SeriesBook`."""
        self._book = book = SeriesBook(shared, apart=apart)
        self.registry = book.registry
        self.shared = shared
        self._model_now = ""
        self._policies_now: dict[str, tuple[str, str]] = {}
        self._counters: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.requests = book.counter("weir_requests", "Requests answered.", "route", "status")
        self.request_seconds = book.histogram("weir_request_seconds", "Time to answer a request.", _LATENCY, "route")
        self.in_flight = book.gauge(
            "weir_requests_in_flight", "Requests for a verdict that are not answered yet.", across="livesum"
        )
        self.stage_seconds = book.histogram("weir_stage_seconds", "Time that a stage took.", _LATENCY, "stage")
        self.verdicts = book.counter("weir_verdicts", "Verdicts by action.", "action")
        self.flags = book.counter("weir_flags", "Categories that were flagged.", "category")
        self.degraded = book.counter("weir_degraded", "Verdicts that a stage was missing from.", "stage")
        self.rejections = book.counter("weir_rejections", "Inputs refused, by error code.", "code")
        self.queue_depth = book.gauge("weir_queue_depth", "Items waiting for the model.", across="livesum")
        self.queue_wait_seconds = book.histogram(
            "weir_queue_wait_seconds", "Time an item waited for the model.", _LATENCY
        )
        self.batch_items = book.histogram("weir_batch_items", "Items per batch.", _SIZES)
        for action in Action:
            self.verdicts.labels(action.wire)
        for code in _REFUSALS:
            self.rejections.labels(code)
        self._add_process(book)
        self._add_feedback(book)
        self._add_batches_and_caches(book)
        self._add_streams(book)
        self._add_constitution(book)
        self._add_images(book)

    def _add_process(self, book: SeriesBook) -> None:
        """What runs."""
        build = book.gauge("weir_build_info", "Version of Weir.", "version", across="livemax")
        build.labels(__version__).set(1)
        self._model = book.gauge("weir_model_info", "Model that is loaded.", "model", across="livemax")
        self._policy = book.gauge(
            "weir_policy_info", "Policies in force.", "policy", "version", "preset", across="livemax"
        )
        self.workers = book.gauge("weir_workers", "Processes that serve.", across="livesum")
        self.worker_restarts = count_restarts(book)
        self.reloads = book.counter("weir_reloads", "Reloads of model and policies, by outcome.", "outcome")
        self.limit_fallbacks = book.counter(
            "weir_rate_limit_fallbacks", "Requests limited by this host alone, because Redis was away."
        )
        self.limits_open = book.gauge(
            "weir_rate_limit_breaker_open", "1 while rate limits leave Redis alone after failures.", across="livemax"
        )

    def _add_feedback(self, book: SeriesBook) -> None:
        """The series of feedback and thresholds."""
        self.audits = book.counter("weir_audits", "Verdicts that ask for review, drawn at random.")
        self.feedback = book.counter("weir_feedback", "Feedback, by what became of it.", "status")
        self.beside = book.counter(
            "weir_draft_verdicts",
            "Verdicts beside those of draft thresholds or of a draft model.",
            "by",
            "policy",
            "live",
            "draft",
        )
        self.would_block = book.counter(
            "weir_would_block", "Verdicts that only a draft would have blocked.", "by", "policy"
        )
        self.shadow_passed_over = book.counter(
            "weir_shadow_passed_over", "Contents that a draft model had no time for, or failed on."
        )
        self.store_up = book.gauge("weir_store_up", "1 while the store answers.", across="livemin")
        self.thresholds_number = book.gauge(
            "weir_thresholds_number",
            "Number of the thresholds in force, 0 for a policy's own.",
            "policy",
            across="livemin",
        )
        self.adaptations = book.counter("weir_adaptations", "Scheduled adaptations, by outcome.", "policy", "outcome")
        self.score_drift = book.gauge(
            "weir_score_drift",
            "Stability index of today's scores against the days before.",
            "policy",
            "category",
            across="livemostrecent",
        )
        self.flag_rate = book.gauge(
            "weir_flag_rate",
            "Share of verdicts that are flagged or stricter.",
            "policy",
            "days",
            across="livemostrecent",
        )

    def _add_batches_and_caches(self, book: SeriesBook) -> None:
        """The series of what is computed together, and of what need not be computed at all."""
        self.batch_tokens = book.histogram("weir_batch_tokens", "Tokens that a worker took at once.", _TOKENS)
        self.uncomputed = book.counter("weir_uncomputed_items", "Items not computed: abandoned or expired.", "why")
        self.joins = book.counter(
            "weir_joins", "Equal work in flight that was joined, by level: evidence or scores.", "level"
        )
        # A tier is evidence, memory or redis.
        self.cache_hits = book.counter("weir_cache_hits", "Entries found.", "tier")
        self.cache_misses = book.counter("weir_cache_misses", "Entries not found.", "tier")
        self.cache_evictions = book.counter("weir_cache_evictions", "Entries given up for room.", "tier")
        self.cache_entries = book.gauge("weir_cache_entries", "Entries held in this process.", "tier", across="livesum")
        self.cache_bytes = book.gauge("weir_cache_bytes", "Size of the entries held, about.", "tier", across="livesum")
        self.cache_failures = book.counter(
            "weir_cache_failures", "Calls of the shared cache that failed, and lookups that came late.", "call"
        )
        self.cache_dropped = book.counter(
            "weir_cache_dropped_writes", "Entries that the shared cache had no room or no time for."
        )
        self.cache_open = book.gauge(
            "weir_cache_breaker_open",
            "1 while the shared cache is left alone after failures.",
            "call",
            across="livemax",
        )

    def _add_streams(self, book: SeriesBook) -> None:
        """The series of replies that are relayed. `end` is finished, stopped, failed or left (the reader went away)."""
        self.streams = book.counter("weir_streams", "Replies relayed.", "dialect", "end")
        self.streams_in_flight = book.gauge("weir_streams_in_flight", "Replies being relayed.", across="livesum")
        self.stream_first_text_seconds = book.histogram(
            "weir_stream_first_text_seconds",
            "Time from a request to the first text that was released.",
            _LATENCY,
            "dialect",
        )
        self.stream_hold_seconds = book.histogram(
            "weir_stream_hold_seconds", "Time that released text was held.", _LATENCY
        )
        self.stream_held_characters = book.histogram(
            "weir_stream_held_characters", "Characters held at a release.", _CHARACTERS
        )
        self.stream_stops = book.counter(
            "weir_stream_stops", "Prompts and replies stopped, by category.", "part", "category"
        )
        self.upstream_errors = book.counter(
            "weir_upstream_errors", "Upstreams that did not do their part.", "dialect", "kind"
        )
        self.stream_audits = book.counter(
            "weir_stream_audits", "Streams judged once more as a whole, by what came of it.", "end"
        )
        self.stream_leaked_characters = book.counter(
            "weir_stream_leaked_characters",
            "Released characters of audited streams that the judgement of the whole blocks.",
        )

    def _add_constitution(self, book: SeriesBook) -> None:
        """The series of the constitution, its judge and its revisions."""
        self.escalations = book.counter(
            "weir_escalations", "Texts that the judge was asked about, by what the caller asked for.", "asked"
        )
        self.judge_seconds = book.histogram("weir_judge_seconds", "Time that a judge took.", _LATENCY, "judge")
        self.judge_errors = book.counter("weir_judge_errors", "Opinions that were not to be had, by reason.", "reason")
        self.judge_open = book.gauge(
            "weir_judge_breaker_open", "1 while the LLM judge is left alone after failures.", across="livemax"
        )
        self.judge_disagreements = book.counter("weir_judge_disagreements", "Opinions that differ from stage one.")
        self.overrulings = book.counter(
            "weir_judge_overrulings", "Opinions that bring something over a line or below it.", "to"
        )
        self.revisions = book.counter(
            "weir_revisions", "Flagged texts, by what was returned in their place.", "made_by"
        )
        self.revision_rounds = book.histogram("weir_revision_rounds", "Attempts until a revision passed.", _ROUNDS)

    def _add_images(self, book: SeriesBook) -> None:
        """The series of images, and of the process that looks at them, which dies or hangs of one, or at its start."""
        self.visual_seconds = book.histogram(
            "weir_visual_seconds", "Time that an image classifier took for one picture.", _LATENCY, "model"
        )
        self.image_queue_depth = book.gauge(
            "weir_image_queue_depth", "Images waiting to be looked at.", across="livesum"
        )
        self.image_wait_seconds = book.histogram(
            "weir_image_wait_seconds", "Time an image waited to be looked at.", _LATENCY
        )
        self.image_seconds = book.histogram("weir_image_seconds", "Time that looking at an image took.", _LATENCY)
        self.image_starts = book.counter("weir_image_starts", "Starts of the process that looks at images.")
        self.image_failures = book.counter(
            "weir_image_failures", "Images that could not be looked at, by how: died, failed, hung or start.", "how"
        )
        self.images_refused = book.counter("weir_images_refused", "Images that were refused, by why.", "why")
        self.bank_hashes = book.gauge(
            "weir_bank_hashes", "Hashes of known images that are compared with, by bank.", "bank", across="livemin"
        )
        self.bank_matches = book.counter("weir_bank_matches", "Images found on a bank, by how.", "bank", "kind")
        self.images_looked_at = book.counter("weir_images", "Images judged, by format.", "format")
        self.image_fetches = book.counter(
            "weir_image_fetches", "Images asked for at an address, by what came of it.", "outcome"
        )

    def name_model(self, model: str) -> None:
        """State which model is loaded, in place of the one before."""
        if self._model_now not in ("", model):
            self._book.forget(self._model, self._model_now)
        self._model.labels(model).set(1)
        self._model_now = model

    def name_policies(self, now: Mapping[str, tuple[str, str]]) -> None:
        """State each policy's version and preset in force, in place of those before."""
        for name, before in self._policies_now.items():
            if now.get(name) != before:
                self._book.forget(self._policy, name, *before)
        for name, versioned in now.items():
            self._policy.labels(name, *versioned).set(1)
        self._policies_now = dict(now)

    def forget_bank(self, name: str) -> None:
        """Of a bank that is gone there are no hashes; what it has matched stays counted."""
        self._book.forget(self.bank_hashes, name)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request. `route` is a template."""
        counters = self._counters.get((route, status))
        if counters is None:  # a look-up by labels costs more than the counting
            counters = self.requests.labels(route, str(status)), self.request_seconds.labels(route)
            self._counters[route, status] = counters
        counters[0].inc()
        counters[1].observe(seconds)

    def count_verdict(self, verdict: Verdict) -> None:
        """Count one verdict: its action, the categories it flags and the stages it lacks."""
        self.verdicts.labels(verdict.action.wire).inc()
        for judgement in verdict.judgements if verdict.flagged else ():
            if judgement.flagged:
                self.flags.labels(judgement.category).inc()
        for entry in verdict.degraded:
            # `language:fr` counts as one stage, not as one series per language. `visual:not_scanned`, which is so of
            # every image where there is no classifier, must not look like a classifier that fails.
            self.degraded.labels(entry if entry.startswith("visual:") else entry.partition(":")[0]).inc()

    def count_beside(self, by: str, policy: str, live: Action, draft: Action) -> None:
        """Count a verdict and what a draft would have done. `by` is draft or model, `policy` one that is configured."""
        self.beside.labels(by, policy, live.wire, draft.wire).inc()
        if draft is Action.BLOCK and live is not Action.BLOCK:
            self.would_block.labels(by, policy).inc()

    def render(self) -> bytes:
        """The text that Prometheus scrapes: of all processes that share a folder."""
        return self._book.render()

    @property
    def catalogue(self) -> Sequence[Series]:
        """Every series there is."""
        return self._book.catalogue


def count_restarts(book: SeriesBook) -> Counter:
    """The one series that is not counted by who serves, but by who watches over them."""
    return book.counter("weir_worker_restarts", "Worker processes that had to be started again.")
