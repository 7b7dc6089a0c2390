"""Every Prometheus series of the service, in a registry of its own.

Owns the names, labels and buckets. Refuses to know content: each label takes its values from a closed set (route
templates, statuses, categories, stages, codes, configured policies), never a path, a key or a text.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service import __version__
from service.taxonomy import Action
from service.types import Verdict

# One text takes milliseconds, a long batch seconds: buckets in seconds, dense where texts are.
_LATENCY = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The series of one running service; two of them can live in one process."""

    def __init__(self) -> None:
        """Make the registry and every series in it."""
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("weir_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "weir_request_seconds", "Time to answer a request.", ["route"], buckets=_LATENCY, registry=registry
        )
        self.stage_seconds = Histogram(
            "weir_stage_seconds", "Time that a stage took.", ["stage"], buckets=_LATENCY, registry=registry
        )
        self.verdicts = Counter("weir_verdicts", "Verdicts by action.", ["action"], registry=registry)
        self.flags = Counter("weir_flags", "Categories that were flagged.", ["category"], registry=registry)
        self.degraded = Counter(
            "weir_degraded", "Verdicts that a stage was missing from.", ["stage"], registry=registry
        )
        self.rejections = Counter("weir_rejections", "Inputs refused, by error code.", ["code"], registry=registry)
        self.queue_depth = Gauge("weir_queue_depth", "Items waiting for the model.", registry=registry)
        self.queue_wait_seconds = Histogram(
            "weir_queue_wait_seconds", "Time an item waited for the model.", buckets=_LATENCY, registry=registry
        )
        self.batch_items = Histogram("weir_batch_items", "Items per batch.", buckets=_SIZES, registry=registry)
        self._build = Gauge("weir_build_info", "Version of Weir.", ["version"], registry=registry)
        self._model = Gauge("weir_model_info", "Model that is loaded.", ["model"], registry=registry)
        self._build.labels(__version__).set(1)

        self._add_feedback(registry)
        self._add_constitution(registry)

    def _add_constitution(self, registry: CollectorRegistry) -> None:
        """The series of the constitution, its judge and its revisions."""
        self.escalations = Counter(
            "weir_escalations",
            "Texts that the judge was asked about, by what the caller asked for.",
            ["asked"],
            registry=registry,
        )
        self.judge_seconds = Histogram(
            "weir_judge_seconds", "Time that a judge took.", ["judge"], buckets=_LATENCY, registry=registry
        )
        self.judge_errors = Counter(
            "weir_judge_errors", "Opinions that were not to be had, by reason.", ["reason"], registry=registry
        )
        self.judge_disagreements = Counter(
            "weir_judge_disagreements", "Opinions that differ from stage one.", registry=registry
        )
        self.overrulings = Counter(
            "weir_judge_overrulings",
            "Opinions that bring something over a line or below it.",
            ["to"],
            registry=registry,
        )
        self.revisions = Counter(
            "weir_revisions", "Flagged texts, by what was returned in their place.", ["made_by"], registry=registry
        )
        self.revision_rounds = Histogram(
            "weir_revision_rounds", "Attempts until a revision passed.", buckets=(1, 2, 3, 4, 6, 8), registry=registry
        )

    def _add_feedback(self, registry: CollectorRegistry) -> None:
        """The series of feedback and thresholds."""
        self.audits = Counter("weir_audits", "Verdicts that ask for review, drawn at random.", registry=registry)
        self.feedback = Counter("weir_feedback", "Feedback, by what became of it.", ["status"], registry=registry)
        self.beside = Counter(
            "weir_draft_verdicts",
            "Verdicts beside those of draft thresholds or of a draft model.",
            ["by", "policy", "live", "draft"],
            registry=registry,
        )
        self.would_block = Counter(
            "weir_would_block", "Verdicts that only a draft would have blocked.", ["by", "policy"], registry=registry
        )
        self.shadow_passed_over = Counter(
            "weir_shadow_passed_over", "Contents that a draft model had no time for, or failed on.", registry=registry
        )
        self.store_up = Gauge("weir_store_up", "1 while the store answers.", registry=registry)
        self.thresholds_number = Gauge(
            "weir_thresholds_number",
            "Number of the thresholds in force, 0 for a policy's own.",
            ["policy"],
            registry=registry,
        )
        self.adaptations = Counter(
            "weir_adaptations", "Scheduled adaptations, by outcome.", ["policy", "outcome"], registry=registry
        )
        self.score_drift = Gauge(
            "weir_score_drift",
            "Stability index of today's scores against the days before.",
            ["policy", "category"],
            registry=registry,
        )
        self.flag_rate = Gauge(
            "weir_flag_rate", "Share of verdicts that are flagged or stricter.", ["policy", "days"], registry=registry
        )

    def name_model(self, model: str) -> None:
        """State which model is loaded, in place of the one before."""
        self._model.clear()
        self._model.labels(model).set(1)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request. `route` is a template."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def count_verdict(self, verdict: Verdict) -> None:
        """Count one verdict: its action, the categories it flags and the stages it lacks."""
        self.verdicts.labels(verdict.action.wire).inc()
        for judgement in verdict.judgements:
            if judgement.flagged:
                self.flags.labels(judgement.category).inc()
        for entry in verdict.degraded:
            # `language:fr` counts as one stage, not as one series per language.
            self.degraded.labels(entry.partition(":")[0]).inc()

    def count_beside(self, by: str, policy: str, live: Action, draft: Action) -> None:
        """Count a verdict and what a draft would have done. `by` is draft or model, `policy` one that is configured."""
        self.beside.labels(by, policy, live.wire, draft.wire).inc()
        if draft is Action.BLOCK and live is not Action.BLOCK:
            self.would_block.labels(by, policy).inc()

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
