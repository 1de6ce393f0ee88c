"""What `GET /metrics` tells, in Prometheus' text format. Knows event names and the process; knows no HTTP.

Everything is counted from the events that a node emits anyway, and looked up when a scrape comes: a node that nobody
scrapes pays for a few additions. The families stand in `FAMILIES` with what they mean, and docs/operations.md has that
table; what is not in it cannot be exported. Labels take a bounded number of values.

With [privacy], figures that were judged on a node's own data are not exported: what a scrape tells leaves the node.
"""

import asyncio
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from p2pfl.core.party import Emit
from p2pfl.runs.events import EVENTS, level_of

CODES_MAX = 64
"""Different refusal codes that are told apart: a code may be a peer's word. The rest is "other"."""
ROUND_SECONDS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
Kind = Literal["counter", "gauge", "histogram"]
Values = Mapping[tuple[str, ...], float]
"""By the values of the labels."""


@dataclass(frozen=True, slots=True)
class Family:
    kind: Kind
    means: str
    labels: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "p2pfl_node": Family("gauge", "1; which node, of which network, in which version.", ("name", "network", "version")),
    "p2pfl_ready": Family("gauge", "1 if the node takes part, as /readyz says."),
    "p2pfl_round": Family("gauge", "Rounds that are over."),
    "p2pfl_rounds": Family("gauge", "Rounds that the run has."),
    "p2pfl_round_seconds": Family("histogram", "Time from the end of a round to the end of the next."),
    "p2pfl_loss": Family("gauge", "Training loss of the last round; not with [privacy]."),
    "p2pfl_evaluation_loss": Family("gauge", "Of the last evaluation; not with [privacy].", ("split",)),
    "p2pfl_evaluation_accuracy": Family("gauge", "Of the last evaluation; not with [privacy].", ("split",)),
    "p2pfl_neighbours": Family("gauge", "Neighbours that the node's graph gives it."),
    "p2pfl_neighbours_reachable": Family("gauge", "Neighbours that answered lately."),
    "p2pfl_members_alive": Family("gauge", "Members that count, of whom the graph is made."),
    "p2pfl_bytes_sent_total": Family("counter", "Bytes of learning sent, with headers, as of the last round."),
    "p2pfl_bytes_received_total": Family("counter", "Bytes of learning received, as of the last round."),
    "p2pfl_ledger_bytes_sent_total": Family("counter", "Bytes of the ledger sent, as of the last final height."),
    "p2pfl_ledger_bytes_received_total": Family("counter", "Bytes of the ledger received, likewise."),
    "p2pfl_ledger_height": Family("gauge", "The last final height."),
    "p2pfl_ledger_log_size": Family("gauge", "Leaves of the ledger's log."),
    "p2pfl_privacy_epsilon": Family(
        "gauge", "Epsilon spent at most, by the quick bound, if the network has [privacy]."
    ),
    "p2pfl_events_total": Family("counter", "Events by name and level; see the table of events.", ("event", "level")),
    "p2pfl_refused_total": Family("counter", "Refused messages by reason.", ("code",)),
    "p2pfl_requests_total": Family("counter", "Requests that the node's port answered.", ("path", "status")),
    "p2pfl_tasks": Family("gauge", "Tasks in the event loop."),
    "p2pfl_threads": Family("gauge", "Python threads."),
    "p2pfl_store_bytes": Family("gauge", "The store on disk, with its write-ahead log."),
    "p2pfl_disk_free_bytes": Family("gauge", "Free space where the run's folder is."),
}
"""Beside them, process_* of the Prometheus client: memory, CPU time, open and allowed files (Linux only)."""

_COUNTED = ("bytes_sent", "bytes_received", "ledger_bytes_sent", "ledger_bytes_received")


@dataclass(frozen=True, slots=True)
class Labels:
    """What does not change while a node runs."""

    name: str
    network: str
    version: str
    neighbours: int
    private: bool
    """Figures judged on the node's own data stay here."""


class Meter(Collector):
    """`take` every Emit, on the loop; `page` when somebody scrapes."""

    def __init__(
        self,
        labels: Labels,
        store: Path,
        is_ready: Callable[[], bool],
        requests: Callable[[], Mapping[tuple[str, int], int]],
    ) -> None:
        self._labels, self._store = labels, store
        self._is_ready, self._requests = is_ready, requests
        self._events: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._latest: dict[str, float] = {}
        self._judged: dict[tuple[str, str], float] = {}
        self._spans = [0] * (len(ROUND_SECONDS) + 1)
        self._seconds = 0.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def take(self, emit: Emit, round_s: float | None = None) -> None:
        """round_s: how long the round that this event ends has taken."""
        self._events[emit.name if emit.name in EVENTS else "other"] += 1
        f = emit.fields
        if emit.name in ("refused", "rejected", "refused_by"):
            code = str(f.get("code"))
            self._refused[code if code in self._refused or len(self._refused) < CODES_MAX else "other"] += 1
        if emit.name == "evaluation":
            for what in ("loss", "accuracy"):
                if isinstance(value := f.get(what), int | float):
                    self._judged[what, str(f.get("split"))] = float(value)
        for name in _OF_EVENT.get(emit.name, ()):
            if isinstance(value := f.get(name), int | float):
                self._latest[name if name != "log" else "log_size"] = float(value)
        if round_s is not None:
            self._seconds += round_s
            self._spans[sum(round_s > bound for bound in ROUND_SECONDS)] += 1

    def page(self) -> tuple[str, bytes]:
        """Content type and text."""
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._of_learning()
        yield from self._of_host()

    def _of_learning(self) -> Iterator[Metric]:
        labels, latest = self._labels, self._latest
        yield _family("p2pfl_node", {(labels.name, labels.network, labels.version): 1.0})
        yield _family("p2pfl_ready", {(): float(self._is_ready())})
        yield _family("p2pfl_neighbours", {(): float(labels.neighbours)})
        told = {"peers": "neighbours_reachable", "height": "ledger_height", "log_size": "ledger_log_size"}
        told |= {"alive": "members_alive", "epsilon_quick": "privacy_epsilon", "round": "round", "rounds": "rounds"}
        told |= {name: f"{name}_total" for name in _COUNTED} | ({} if labels.private else {"loss": "loss"})
        for field, name in told.items():
            if field in latest:
                yield _family(f"p2pfl_{name}", {(): latest[field]})
        if not labels.private:
            for what in ("loss", "accuracy"):
                values: Values = {(split,): value for (of, split), value in self._judged.items() if of == what}
                yield _family(f"p2pfl_evaluation_{what}", values)
        yield self._round_seconds()
        yield _family("p2pfl_events_total", {(name, level_of(name)): float(n) for name, n in self._events.items()})
        yield _family("p2pfl_refused_total", {(code,): float(n) for code, n in self._refused.items()})

    def _of_host(self) -> Iterator[Metric]:
        requests: Values = {(path, str(status)): float(n) for (path, status), n in self._requests().items()}
        yield _family("p2pfl_requests_total", requests)
        yield _family("p2pfl_tasks", {(): float(_tasks())})
        yield _family("p2pfl_threads", {(): float(threading.active_count())})
        yield _family("p2pfl_store_bytes", {(): float(store_bytes(self._store))})
        try:
            yield _family("p2pfl_disk_free_bytes", {(): float(shutil.disk_usage(self._store.parent).free)})
        except OSError:  # the folder is gone, and the node will say so itself
            return

    def _round_seconds(self) -> Metric:
        spec = FAMILIES["p2pfl_round_seconds"]
        found = HistogramMetricFamily("p2pfl_round_seconds", spec.means)
        buckets, count = [], 0
        for bound, number in zip((*map(str, ROUND_SECONDS), "+Inf"), self._spans, strict=True):
            count += number
            buckets.append((bound, float(count)))
        found.add_metric([], buckets, self._seconds)
        return found


_OF_EVENT: Mapping[str, tuple[str, ...]] = {
    "round": ("round", "rounds", "loss", "peers", *_COUNTED),
    "evaluation": _COUNTED,
    "finished": ("round", *_COUNTED),
    "resumed": ("round",),
    "ledger.final": ("height", "log", *_COUNTED),
    "ledger.left": _COUNTED,
    "privacy": ("epsilon_quick",),
    "view": ("alive",),
}
"""Which fields of which event are told as they last were."""


def store_bytes(store: Path) -> int:
    """The store and what lies beside it; 0 if there is none."""
    total = 0
    for suffix in ("", "-wal", "-shm"):
        path = store.with_name(store.name + suffix)
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # not on a loop
        return 0


def _family(name: str, values: Values) -> Metric:
    spec = FAMILIES[name]
    made = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    found = made(name, spec.means, labels=spec.labels)
    for labels, value in sorted(values.items()):
        found.add_metric(list(labels), value)
    return found
