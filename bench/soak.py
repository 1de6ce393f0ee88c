"""Does a node stay as it is? Twenty nodes for twenty minutes: memory, open files, tasks, database, and what they log.

Every node is a process that learns slowly; every few seconds each is asked for its /metrics. A figure has levelled off
if its middle in the last quarter of the time is not far above that in the second quarter. A database cannot stay as
it is: a feed is a record of what happened and only grows. So its growth is judged: bytes for each round, which must not
grow. `--plot FILE` draws all of it; `--nodes` and `--minutes` change the size.
"""

import json
import sys
import time
import urllib.request
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import harness

from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.runs.events import EVENTS, is_at_least
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.outcome import Outcome

TASK = Path(__file__).resolve().parents[1] / "tests" / "e2e" / "task.py"
READY_S = 600.0
FIGURES = {
    "resident MiB": ("process_resident_memory_bytes", 1 << 20),
    "open files": ("process_open_fds", 1),
    "tasks": ("p2pfl_tasks", 1),
    "database MiB": ("p2pfl_store_bytes", 1 << 20),
    "round": ("p2pfl_round", 1),
}
"""What is drawn: its metric, and the unit it is told in."""


@dataclass
class Soak:
    """What was seen: for each figure a row of values for every moment, a value for every node."""

    moments: list[float] = field(default_factory=list)
    rows: dict[str, list[list[float]]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    logged: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def middle(self, name: str, quarter: int) -> float:
        """Over that quarter of the time (0 to 3) and all nodes."""
        rows = self.rows[name]
        part = rows[len(rows) * quarter // 4 : len(rows) * (quarter + 1) // 4]
        return median([value for row in part for value in row])

    def ratio(self, name: str) -> float:
        return self.middle(name, 3) / max(self.middle(name, 1), 1e-9)

    def bytes_per_round(self, quarter: int) -> float:
        """How much all databases grew in that quarter, for each round of each node."""
        first, last = (len(self.moments) * at // 4 for at in (quarter, quarter + 1))
        last -= 1
        grown = sum(self.rows["database MiB"][last]) - sum(self.rows["database MiB"][first])
        rounds = sum(self.rows["round"][last]) - sum(self.rows["round"][first])
        return grown * (1 << 20) / max(rounds, 1.0)

    def unexplained(self) -> list[str]:
        """Warnings and errors that docs/operations.md does not explain, or that a library said."""
        return sorted(name for name, _ in self.logged if name not in EVENTS or name == "log")


def soak(folder: Path, num_nodes: int, seconds: float, every_s: float, step_s: float = 0.2) -> Soak:
    """Run that many nodes for that long."""
    ports = free_ports(num_nodes)
    changes = ("pace.rounds=1000000", f'model.name="{TASK}:slow"', f"model.args.step_s={step_s}", "pace.timeout_s=30.0")
    documents = write_trial(folder, ports, "small-world", SAMPLES["digits"], changes)
    processes = [
        Process(path, path.parent / "run", Outcome(path.parent.name, 0), ("--log", "json"), quiet=False)
        for path in documents
    ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    found = Soak()
    try:
        for process in processes:
            process.start()
        until_ready(urls)
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            look(found, now, urls)
            time.sleep(max(0.0, every_s - (time.monotonic() - begun - now)))
    finally:
        end_processes(processes, 60.0)
    for process in processes:
        count_lines(found, process)
    return found


def until_ready(urls: Sequence[str]) -> None:
    deadline = time.monotonic() + READY_S
    for url in urls:
        while not answers(url + "/readyz"):
            assert time.monotonic() < deadline, f"{url} is not ready after {READY_S:g} s"
            time.sleep(0.5)


def answers(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return str(reply.read().decode())
    except OSError:
        return ""


def look(found: Soak, now: float, urls: Sequence[str]) -> None:
    """Ask everybody; a node that does not answer in time keeps its last figures, and is counted."""
    texts = [answers(url + "/metrics") for url in urls]
    told = [dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] not in ("#", "")) for text in texts]
    found.failures += [url for url, values in zip(urls, told, strict=True) if not values]
    for name, (metric, unit) in FIGURES.items():
        before = found.rows[name][-1] if found.rows[name] else [0.0] * len(urls)
        row = [float(v[metric]) / unit if metric in v else old for v, old in zip(told, before, strict=True)]
        found.rows[name].append(row)
    found.moments.append(now)


def count_lines(found: Soak, process: Process) -> None:
    """Warnings and errors in its log, by name; and how it ended."""
    for line in process.document.with_name("log.txt").read_text().splitlines():
        event: dict[str, Any] = json.loads(line) if line.startswith('{"time') else {}
        if event and is_at_least(event["level"], "warning"):
            found.logged[event["event"], event["level"]] += 1
    if process.handle is not None and process.handle.returncode != 0:
        found.failures.append(f"{process.outcome.name} ended with {process.handle.returncode}")


def bars(found: Soak) -> bool:
    """The claims."""
    held = [
        harness.bar("resident memory, last quarter / second", found.ratio("resident MiB"), 1.1, at_least=False),
        harness.bar("open files, last quarter / second", found.ratio("open files"), 1.15, at_least=False),
        harness.bar("tasks, last quarter / second", found.ratio("tasks"), 1.25, at_least=False),
        harness.bar(
            "database bytes per round, second half / second quarter",
            (found.bytes_per_round(2) + found.bytes_per_round(3)) / 2 / max(found.bytes_per_round(1), 1.0),
            1.25,
            at_least=False,
        ),
        harness.bar("log lines that the documents do not explain", len(found.unexplained()), 0, at_least=False),
        harness.bar("nodes that did not answer or ended badly", len(found.failures), 0, at_least=False),
    ]
    return all(held)


def plot(found: Soak, path: Path) -> None:
    """A panel for each figure, a line for each node."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = [name for name in FIGURES if name != "round"]
    figure, panels = plt.subplots(1, len(names), figsize=(13, 3), layout="constrained")
    for panel, name in zip(panels, names, strict=True):
        panel.plot([m / 60 for m in found.moments], found.rows[name], color="tab:blue", alpha=0.35, linewidth=0.8)
        panel.plot([m / 60 for m in found.moments], [median(row) for row in found.rows[name]], color="black")
        panel.set(title=name, xlabel="minutes", ylim=(0, None))
    figure.savefig(path)
    plt.close(figure)


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw every node's figures over time")


def main() -> int:
    args = harness.parse_args(__doc__, arguments)
    nodes, minutes = (5, 0.5) if args.quick else (args.nodes, args.minutes)
    with TemporaryDirectory(prefix="p2pfl-soak-") as folder:
        found = soak(Path(folder) / "trial", nodes, minutes * 60, every_s=max(minutes * 60 / 240, 0.5))
    rows = [{"figure": name, **{f"quarter {q + 1}": found.middle(name, q) for q in range(4)}} for name in FIGURES]
    harness.table(rows)
    per_round = {f"quarter {q + 1}": found.bytes_per_round(q) for q in range(4)}
    harness.table([{"figure": "database bytes per round", **per_round}])
    for (name, level), count in sorted(found.logged.items()):
        print(f"logged: {count} x {name} ({level}): {EVENTS[name].says if name in EVENTS else 'not explained'}")
    for line in found.failures[:10]:
        print(f"failure: {line}")
    if args.plot is not None:
        plot(found, args.plot)
    held = bars(found)
    harness.write_json(args, rows)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
