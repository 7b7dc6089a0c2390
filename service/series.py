"""How Prometheus series are made, listed and written out, in one process or added up over several.

Owns prometheus_client: its registry, and its files where processes share one. Refuses to know any series by name.

Processes that share a folder each keep their numbers in files of their own there, named after the worker's slot, so
that a worker that is started again goes on counting where the one before it ended. Any of them can add all of it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client looks, before the first series is made
HIDDEN = "weir_apart_"  # of series that belong to this process alone

Across = Literal["livesum", "livemax", "livemin", "livemostrecent"]


@dataclass(frozen=True, slots=True)
class Series:
    """What is promised of one series: `name` as Prometheus shows it, and the names of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


class SeriesBook:
    """Makes series in a registry of its own. `shared` is the folder of the processes whose numbers add up.

    `apart` series are never shown, not even where the others of this process are shared.
    """

    def __init__(self, shared: Path | None = None, *, apart: bool = False) -> None:
        self.registry = CollectorRegistry()
        self._shared = shared
        self._prefix = HIDDEN if apart else ""
        self.catalogue: list[Series] = []

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """A number that only rises; it is shown with `_total` behind its name."""
        self.catalogue.append(Series(f"{name}_total", "counter", labels, help_text))
        return Counter(self._prefix + name, help_text, labels, registry=self.registry)

    def gauge(self, name: str, help_text: str, *labels: str, across: Across) -> Gauge:
        """A number that goes up and down; `across` says what it is over several processes, of those that live."""
        self.catalogue.append(Series(name, "gauge", labels, help_text))
        return Gauge(self._prefix + name, help_text, labels, registry=self.registry, multiprocess_mode=across)

    def histogram(self, name: str, help_text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        """Counts by size. `buckets` are upper bounds."""
        self.catalogue.append(Series(name, "histogram", labels, help_text))
        return Histogram(self._prefix + name, help_text, labels, buckets=buckets, registry=self.registry)

    def forget(self, gauge: Gauge, *labels: str) -> None:
        """Take one of a gauge's series away; in shared files nothing can be taken away, so there it is 0."""
        gauge.labels(*labels).set(0)
        if self._shared is None:
            gauge.remove(*labels)

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        if self._shared is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        together.register(_Shown(str(self._shared)))
        return generate_latest(together)


class _Shown:
    """The sum over all processes, without what belongs to one."""

    def __init__(self, folder: str) -> None:
        self._all = MultiProcessCollector(None, folder)

    def collect(self) -> Iterator[Metric]:
        families: Iterable[Any] = self._all.collect()
        yield from (family for family in families if not family.name.startswith(HIDDEN))


def join_processes(slot: str) -> None:
    """Let every series that is made from now on write to the shared files of this slot.

    The folder stands in the environment, and no two living processes may have the same slot. prometheus_client knows
    one choice for a whole process, so this is for a process that serves, never for a test's.
    """
    values.ValueClass = values.MultiProcessValue(lambda: slot)


def leave_processes(slot: str, folder: Path) -> None:
    """Forget the gauges of a process that has ended. What it has counted stays."""
    mark_process_dead(slot, str(folder))
