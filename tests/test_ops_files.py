"""Dashboard, alerts and containers speak of series and labels that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from service.cli import main
from service.metrics import Metrics
from service.taxonomy import Action
from service.types import Verdict

ROOT = Path(__file__).resolve().parent.parent
OPS = ROOT / "ops"
CATALOGUE = {series.name: series for series in Metrics().catalogue}
OUTSIDE = {"instance", "job", "le"}  # labels that Prometheus adds
_SERIES = re.compile(r"\bweir_[a-z_]+")
_SELECTED = re.compile(r"\b(weir_[a-z_]+)\{([^}]*)\}")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")


def expressions(path: Path) -> list[str]:
    """Every query of a dashboard, or of a file of alerts."""
    text = path.read_text()
    if path.suffix == ".json":
        targets = [t["expr"] for panel in json.loads(text)["panels"] for t in panel.get("targets", ())]
        return [*targets, *(entry["query"]["query"] for entry in json.loads(text)["templating"]["list"])]
    return re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n +(?:for|labels):", text)


def base(name: str) -> str:
    """The series that a histogram's sample belongs to."""
    short = re.sub(r"_(bucket|sum|count)$", "", name)
    return short if short in CATALOGUE and CATALOGUE[short].kind == "histogram" else name


@pytest.mark.parametrize(
    "path", [OPS / "alerts.yml", OPS / "grafana" / "dashboards" / "weir.json"], ids=lambda p: p.name
)
def test_every_series_and_label_exists(path: Path) -> None:
    queries = expressions(path)
    assert len(queries) >= 10
    for query in queries:
        names = {base(name) for name in _SERIES.findall(query)}
        assert names <= set(CATALOGUE), query
        labels = {label for name in names for label in CATALOGUE[name].labels} | OUTSIDE
        for grouped in _GROUPED.findall(query):
            assert {label.strip() for label in grouped.split(",")} <= labels, query
        for name, selector in _SELECTED.findall(query):
            used = {re.split("[=!]", part)[0].strip() for part in selector.split(",")}
            assert used <= set(CATALOGUE[base(name)].labels) | OUTSIDE, query


def test_an_image_that_is_not_scanned_is_no_stage_that_fails() -> None:
    metrics = Metrics()
    noted = ("language:fr", "visual:not_scanned", "visual:partial", "visual", "image:unread")
    metrics.count_verdict(Verdict(Action.ALLOW, (), (), "default", "", "", "", degraded=noted))
    counted = set(re.findall(r'weir_degraded_total{stage="([^"]*)"}', metrics.render().decode()))
    (alert,) = (query for query in expressions(OPS / "alerts.yml") if "weir_degraded_total" in query)
    (left_out,) = re.findall(r'stage!~"([^"]*)"', alert)
    assert {stage for stage in counted if not re.fullmatch(left_out, stage)} == {"visual", "image"}


def test_what_may_go_wrong_has_an_alert() -> None:
    told = set(_SERIES.findall(" ".join(expressions(OPS / "alerts.yml"))))
    needed = {"score_drift", "store_up", "worker_restarts_total", "degraded_total", "rejections_total"}
    needed |= {"queue_wait_seconds_bucket", "cache_breaker_open"}
    assert {f"weir_{name}" for name in needed} <= told


def test_the_dashboard_leaves_out_nothing_but_details() -> None:
    shown = {
        base(name) for q in expressions(OPS / "grafana" / "dashboards" / "weir.json") for name in _SERIES.findall(q)
    }
    details = {
        *("weir_batch_tokens", "weir_cache_evictions_total", "weir_thresholds_number", "weir_rate_limit_breaker_open"),
        *("weir_draft_verdicts_total", "weir_would_block_total", "weir_shadow_passed_over_total"),
    }
    later = {name for name in CATALOGUE if name.startswith("weir_screen")}
    assert set(CATALOGUE) - shown <= details | later


def test_the_list_is_what_is_scraped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    listed = {line.split("\t")[0]: line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()}
    scraped = dict(re.findall(r"^# TYPE (weir_\S+) (\S+)$", Metrics().render().decode(), re.MULTILINE))
    scraped = {name: kind for name, kind in scraped.items() if not name.endswith("_created")}
    assert {name: kind for name, (kind, *_) in listed.items()} == scraped
    assert listed["weir_requests_total"] == ["counter", "route,status", "Requests answered."]


def test_containers_mount_what_is_there() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    mounted = re.findall(r"- (\./ops/\S+?):", compose)
    assert len(mounted) == 4 and all((ROOT / path).exists() for path in mounted)
    assert "--appendonly" in compose and "noeviction" in compose
    assert "alerts.yml" in (OPS / "prometheus.yml").read_text()
