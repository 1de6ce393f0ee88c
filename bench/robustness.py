"""Does the default ever diverge, and does it end where tuned D-PSGD does? Tasks by graphs by sizes by rates by seeds.

A cell is a task (examples/tasks), a graph and a number of nodes. In it the default runs at 0.32, 1 and 3.2 times the
rate of the task's document, a tenfold range, for 2.5 times its gradient steps; beside it full-precision D-PSGD, one
local step an exchange, for the document's own number of steps on the same graph, at the best of its rates. The figure
is the mean over the nodes of each node's accuracy on the common test set at the end, then the mean over the seeds.

A graph whose hub would meet one neighbour a round is run at the async pace, in the event engine (machines alike, a
message takes a twentieth of a step); all others in lockstep, in the dense engine. --pace says otherwise.

--share 0.2 runs a fifth of the rounds, of all methods alike.
The whole grid takes days of one core: name what you want.

    python bench/robustness.py [--quick] [--json FILE] [--tasks a+b] [--graphs ring+star] [--sizes 16,32]
        [--seeds 0,1,2] [--share 0.5] [--pace lockstep|async] [--set KEY=VALUE] [--data DIR]
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean
from time import perf_counter

import torch
from harness import Row, add_data, bar, data_at, parse_args, table, write_json

from p2pfl.config import NetworkConfig, load_network
from p2pfl.hosts.faults import Faults
from p2pfl.runs.compare import follow
from p2pfl.runs.simulate import World, simulated

TASKS = Path(__file__).resolve().parent.parent / "examples" / "tasks"
GRAPHS = {"ring": "lockstep", "torus": "lockstep", "line": "lockstep", "star": "async"}
FACTORS = (0.32, 1.0, 3.2)
MORE_STEPS = 2.5
POINTS = -0.5
WORLD = World(step_s=0.01, wire_s=0.0005, faults=Faults(delay_s=0.0005))
FULL = ("mix.rule=average", "compress.codec=fp32", "pace.mode=lockstep", "train.steps=1")

RATES = {
    "softmax": (2.0, 6.0),
    "digits_mlp": (1.0, 2.0),
    "adult_mlp": (0.1, 0.3),
    "mnist_mlp": (0.5, 1.0),
    "mnist_cnn": (0.2, 0.5),
    "shakespeare_gru": (2.0, 4.0),
    "cifar_cnn": (0.05, 0.15, 0.3),
}
"""What D-PSGD with plain SGD is tried at, the best of wider looks."""

EDUCATIONS = 16
"""adult_mlp gives each node a level of education; beyond these the rows are dealt by label."""
BY_LABEL = 'data.partition={by="dirichlet",alpha=0.1}'


@dataclass(frozen=True, slots=True)
class Cell:
    task: str
    graph: str
    size: int
    pace: str
    data: Path | None  # where the data sets lie, if not where the documents say

    def document(self, seed: int, *changes: str) -> NetworkConfig:
        plain = (f"seed={seed}", f"topology.family={self.graph}", f"pace.mode={self.pace}", "pace.evaluate=0")
        split = (BY_LABEL,) if self.task == "adult_mlp" and self.size > EDUCATIONS else ()
        path = TASKS / f"{self.task}.toml"
        return simulated(load_network(path, (*data_at(path, self.data), *split, *plain, *changes)), self.size)


@dataclass(frozen=True, slots=True)
class End:
    """One run's: the mean accuracy at the end, nan if a node could not go on."""

    accuracy: float
    failure: str | None


def run(cell: Cell, seed: int, changes: Sequence[str]) -> End:
    config = cell.document(seed, *changes)
    curve = follow("", config, WORLD if config.pace.mode == "async" else None)
    accuracy = curve.points[-1].accuracy if curve.points and curve.failure is None else float("nan")
    sound = isfinite(accuracy) and isfinite(curve.points[-1].loss)
    return End(
        accuracy if sound else float("nan"), curve.failure if sound or curve.failure else "the loss is not finite"
    )


def rounds_of(config: NetworkConfig, share: float) -> int:
    return max(1, round(share * config.pace.rounds))


def default(
    cell: Cell, seeds: Sequence[int], share: float, changes: Sequence[str]
) -> Iterator[tuple[float, list[End]]]:
    """(factor, one end per seed)."""
    plain = cell.document(0, *changes)
    rounds = round(MORE_STEPS * rounds_of(plain, share))
    for factor in FACTORS:
        rate = (f"train.lr={factor * plain.train.lr:.4g}", f"pace.rounds={rounds}")
        yield factor, [run(cell, seed, (*changes, *rate)) for seed in seeds]


def tuned_dpsgd(cell: Cell, seeds: Sequence[int], share: float) -> tuple[float, float]:
    """(rate, accuracy) of the best rate."""
    plain = cell.document(0)
    rounds = rounds_of(plain, share) * (plain.train.steps or 1)
    found = []
    for rate in RATES[cell.task]:
        changes = (*FULL, "train.optimizer=sgd", f"train.lr={rate}", f"pace.rounds={rounds}")
        ends = [run(cell, seed, changes).accuracy for seed in seeds]
        found.append((fmean(a if isfinite(a) else 0.0 for a in ends), rate))
    accuracy, rate = max(found)
    return rate, accuracy


def row(cell: Cell, seeds: Sequence[int], share: float, changes: Sequence[str]) -> Row:
    begun = perf_counter()
    rate, dpsgd = tuned_dpsgd(cell, seeds, share)
    ends = dict(default(cell, seeds, share, changes))
    failures = [end.failure for at in ends.values() for end in at if end.failure]
    means = {factor: fmean(end.accuracy for end in at) for factor, at in ends.items()}
    found: Row = {
        "task": cell.task,
        "graph": cell.graph,
        "nodes": cell.size,
        "pace": cell.pace,
        "D-PSGD": dpsgd,
        "its lr": rate,
        **{f"{factor:g}x": mean for factor, mean in means.items()},
        "points": 100 * (means[1.0] - dpsgd),
        "failed": len(failures),
    }
    said = " ".join(f"{key} {found[key]:.4g}" for key in ("D-PSGD", *(f"{f:g}x" for f in FACTORS), "points"))
    seconds = perf_counter() - begun
    print(f"  {cell.task} {cell.graph} {cell.size}: {said}, {seconds:.0f} s {' '.join(failures[:1])}", flush=True)
    return found


def _extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", default="+".join(RATES), metavar="A+B", help="documents in examples/tasks")
    parser.add_argument("--graphs", default="+".join(GRAPHS), metavar="A+B", help="families of graphs")
    parser.add_argument("--sizes", default="16,32", help="numbers of nodes")
    parser.add_argument("--seeds", default="0,1,2", help="as a list, like 0,1,2")
    parser.add_argument("--share", type=float, default=1.0, help="of the document's rounds, for all methods alike")
    parser.add_argument("--pace", choices=("lockstep", "async"), help="of the default, on every graph")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the default")
    add_data(parser)


def main() -> None:
    args = parse_args(__doc__, _extra)
    torch.set_num_threads(1)
    if args.quick:
        args.tasks, args.graphs, args.sizes, args.seeds, args.share = "softmax+digits_mlp", "ring+star", "8", "0", 0.1
    seeds = [int(seed) for seed in args.seeds.split(",")]
    cells = [
        Cell(task, graph, int(size), args.pace or GRAPHS[graph], args.data)
        for task in args.tasks.split("+")
        for size in args.sizes.split(",")
        for graph in args.graphs.split("+")
    ]
    rows = [row(cell, seeds, args.share, args.set) for cell in cells]
    print()
    table(rows)
    print()
    runs = len(cells) * len(FACTORS) * len(seeds)
    bar(
        f"runs of {runs} that ended with finite numbers, share",
        1 - sum(int(r["failed"] or 0) for r in rows) / runs,
        1.0,
    )
    if args.quick:
        print("too short to be compared with D-PSGD: that needs the rounds of the documents")
    else:
        worst = min(float(r["points"] or 0.0) for r in rows)
        bar(f"the default with {MORE_STEPS:g} times the steps less tuned D-PSGD, worst cell, points", worst, POINTS)
    write_json(args, rows)


if __name__ == "__main__":
    main()
