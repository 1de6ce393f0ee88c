"""Bytes on the wire to a target accuracy: the default beside what it replaces, each at its best settings of a grid.

16 nodes on a static 4 x 4 torus, label skew Dirichlet(0.1). A row is one setting that anybody may run again:
p2pfl sim examples/tasks/TASK_mlp.toml --nodes 16 --set ... Bytes are what a node sends until the mean over the nodes of
each node's accuracy on the common test set first meets the target, heads and HTTP headers counted; mean over the seeds.
Models are judged after the exchange of their round. A seed changes the shares, the starting model and the order of the
batches; the test set stays. Of a method with several settings (learning rate, momentum, local steps H) the cheapest
counts; they are thus picked on the test set, for all methods alike. Gradients are bounded alike, too: as the document
says. With --cut or --best a run ends at the last target, or when it has sent twice what its method's best needed.

The default trades gradient steps for bytes. So its accuracy is judged at twice the steps, against centralised training
with as many; equal steps stand beside it.

Lockstep settings run in the dense engine, which gives what the simulator gives; asynchronous ones in the simulator,
with machines of speeds 1, 2, 4, 8 and a latency of half a local phase, for twice the rounds.

    python bench/bytes_to_accuracy.py [--quick] [--task digits|mnist] [--iid] [--seeds 0,1,2] [--best] [--cut]
        [--only A+B] [--data DIR]
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from harness import add_data, bar, data_at, parse_args, table, write_json

from p2pfl.config import NetworkConfig, load_network
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Faults
from p2pfl.mixing import MIXERS
from p2pfl.runs.baselines import compute_baselines
from p2pfl.runs.curves import Curve
from p2pfl.runs.dense import build_dense
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

TASKS = Path(__file__).resolve().parent.parent / "examples" / "tasks"
NODES = 16
DEFAULT, ASYNC, DPSGD, EVERYBODY = "default", "default, async", "D-PSGD", "everybody to everybody"
LONGER = "default, twice the steps"
FULL = ("mix.rule=average", "compress.codec=fp32")
SLOW_WORLD = World(step_s=0.01, wire_s=0.0005, speeds=(1.0, 2.0, 4.0, 8.0), faults=Faults(delay_s=0.025))


MOMENTUM, SGD = "train.optimizer=momentum", "train.optimizer=sgd"
Rates = Sequence[float | tuple[str, ...]]
"""What one method is tried with: a learning rate, or what else changes with it."""
Grid = Sequence[tuple[int, Rates]]
"""Local steps between exchanges (H), and what is tried with so many; the best over three seeds that is known first."""


def heavy(*rates: float) -> Rates:
    """Momentum 0.9 at these rates."""
    return tuple((MOMENTUM, f"train.lr={rate}") for rate in rates)


@dataclass(frozen=True, slots=True)
class Task:
    """steps: gradient steps a node, in all; the same for every method."""

    name: str
    targets: tuple[float, float]
    steps: int
    ours: Grid
    dpsgd: Grid
    everybody: Grid
    data: Path | None = None  # where the data sets lie, if not where the document says

    def document(self, overrides: Sequence[str], nodes: int) -> NetworkConfig:
        path = TASKS / f"{self.name}_mlp.toml"
        return simulated(load_network(path, (*data_at(path, self.data), *overrides)), nodes)


TASK = {
    "digits": Task(
        "digits",
        (0.94, 0.97),
        500,
        ((5, heavy(0.1, 0.06)), (5, (0.5, 0.3)), (10, (0.5,))),
        (
            (1, (2.0, 1.0, 0.5)),
            (1, heavy(0.1, 0.03)),
            (2, (1.0, 0.5)),
            (5, (1.0, 0.5, 0.2)),
            (5, heavy(0.1, 0.06, 0.03)),
            (10, (1.0, 0.5)),
            (10, heavy(0.1)),
        ),
        ((5, heavy(0.1, 0.06)), (5, (0.6, 0.3, 1.0)), (10, (0.6, 0.3)), (1, (1.0,))),
    ),
    "mnist": Task(
        "mnist",
        (0.90, 0.95),
        750,
        ((5, heavy(0.1)), (5, (0.4,))),
        ((1, (1.0,)), (1, heavy(0.1)), (5, (0.6,)), (5, heavy(0.1))),
        ((5, (0.6,)), (5, heavy(0.1))),
    ),
}


@dataclass(frozen=True, slots=True)
class Setting:
    method: str
    overrides: tuple[str, ...]
    every: int  # rounds between two evaluations

    @property
    def is_async(self) -> bool:
        return "pace.mode=async" in self.overrides


@dataclass(frozen=True, slots=True)
class Run:
    """One seed's: bytes and rounds to each target (inf if never), and the accuracy at the end (nan if cut short)."""

    bytes_to: tuple[float, ...]
    rounds_to: tuple[float, ...]
    final: float


class Enough(Exception):
    """The last target is met and nothing else is asked."""


def settings(task: Task, quick: bool, best: bool) -> Iterator[Setting]:
    """All methods with their grids; with `best` only the first of each grid, which is the best that was found."""

    def of(method: str, rates: Rates, steps: int, *more: str, scale: int = 1) -> Iterator[Setting]:
        rounds = scale * task.steps // steps
        for rate in rates[:1] if best else rates:
            own = _own(rate if isinstance(rate, tuple) else (f"train.lr={rate}",), more)
            every = 5 if steps < 5 or quick else 2
            yield Setting(method, (*own, f"train.steps={steps}", f"pace.rounds={rounds}", *more), every)

    def all_of(method: str, grid: Grid, *more: str, scale: int = 1) -> Iterator[Setting]:
        for steps, rates in grid[:1] if best else grid:
            yield from of(method, rates, steps, *more, scale=scale)

    yield from all_of(DEFAULT, task.ours)
    yield from all_of(DPSGD, task.dpsgd, *FULL)
    yield from all_of(EVERYBODY, task.everybody, *FULL, "topology.family=complete")
    if quick:
        return
    yield from all_of(LONGER, [(steps, rates[:1]) for steps, rates in task.ours if steps == 5], scale=2)
    yield from all_of(ASYNC, task.ours, "pace.mode=async", scale=2)
    for codec in ("fp32", "int8", "int4", "sign", "topk"):
        yield from all_of(f"pairwise, {codec}", task.ours[:1], f"compress.codec={codec}")
    yield from all_of("pairwise, no drift correction", task.ours[:1], "mix.dual_gain=0")
    yield from of("D-PSGD, int8", (1.0,), 1, "mix.rule=average", "compress.codec=int8")
    for rule in MIXERS:
        if rule not in ("pairwise", "average", "fedavg"):
            codec = "deadzone" if rule == "choco" else "fp32"
            yield from of(rule, (1.0, 0.3), 1, f"mix.rule={rule}", f"compress.codec={codec}")


def _own(given: tuple[str, ...], more: Sequence[str] = ()) -> tuple[str, ...]:
    """Plain SGD where nothing else is said, whatever the document says."""
    return given if MOMENTUM in (*given, *more) else (*given, SGD)


def run(task: Task, setting: Setting, seed: int, iid: bool, cap: float | None) -> Run:
    """`cap`: end once the last target is met, or so many bytes are sent; None: go on to the end."""
    by = '{ by = "iid" }' if iid else '{ by = "dirichlet", alpha = 0.1 }'
    overrides = (f"seed={seed}", f"pace.evaluate={setting.every}", f"data.partition={by}", *setting.overrides)
    config = task.document(overrides, NODES)
    curve = Curve(setting.method, NODES)

    def heard(outcome: Outcome, emit: Emit) -> None:
        curve.take(outcome, emit)
        if cap is None or emit.name != "evaluation" or not curve.points:
            return
        if curve.reached(task.targets[-1]) or curve.points[-1].bytes_per_node > cap:
            raise Enough

    ended = True
    try:
        if setting.is_async:
            run_simulation(build_simulation(config, SLOW_WORLD, on_emit=heard))
        else:
            build_dense(config, on_emit=heard).host.run()
    except Enough:
        ended = False
    points = [curve.reached(target) for target in task.targets]
    return Run(
        tuple(p.bytes_per_node if p else inf for p in points),
        tuple(p.round if p else inf for p in points),
        curve.points[-1].accuracy if ended and curve.points else float("nan"),
    )


def centralised(task: Task, seed: int, scale: int) -> float:
    """One machine with all data and `scale` times as many gradient steps, at the best of the default's rates."""
    found = []
    for rate in (rate for _, rates in task.ours for rate in rates):
        own = _own(rate if isinstance(rate, tuple) else (f"train.lr={rate}",))
        overrides = (f"seed={seed}", *own, f"pace.rounds={scale * task.steps // 5}")
        built = build_dense(task.document(overrides, 1))
        everything = [torch.arange(len(built.held.train))]
        found.append(compute_baselines(built.shared, built.held, everything, built.shared.config.data, alone=False))
    return max(f.centralised for f in found if f.centralised is not None)


def row(task: Task, setting: Setting, runs: Sequence[Run]) -> dict[str, Any]:
    low, high = ("to " + f"{target:.2f}" for target in task.targets)
    means = [fmean(values) for values in zip(*(r.bytes_to for r in runs), strict=True)]
    rounds = [fmean(values) for values in zip(*(r.rounds_to for r in runs), strict=True)]
    finals = [r.final for r in runs]
    return {
        "method": setting.method,
        "settings": " ".join(o for o in setting.overrides if not o.startswith(("mix", "topology", "pace.mode"))),
        f"rounds {low}": _known(rounds[0], 1),
        f"MB {low}": _known(means[0], 1e6),
        f"rounds {high}": _known(rounds[1], 1),
        f"MB {high}": _known(means[1], 1e6),
        "final": _known(fmean(finals), 1),
        "seeds": " ".join("-" if b[-1] == inf else f"{b[-1] / 1e6:.3g}" for b in (r.bytes_to for r in runs)),
    }


def _known(value: float, unit: float) -> float | None:
    return value / unit if value < inf else None


def _extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=list(TASK), default="digits", help="what is learned")
    parser.add_argument("--iid", action="store_true", help="random shares instead of skewed ones")
    parser.add_argument("--seeds", default="0,1,2", help="as a list, like 0,1,2")
    parser.add_argument("--best", action="store_true", help="only the best settings known, ended at the last target")
    parser.add_argument("--cut", action="store_true", help="end a run at the last target; not the default's own")
    parser.add_argument("--only", default="", metavar="A+B", help="these methods only")
    add_data(parser)


def main() -> None:
    args = parse_args(__doc__, _extra)
    torch.set_num_threads(1)
    task = replace(TASK[args.task], data=args.data)
    seeds = [int(seed) for seed in args.seeds.split(",")][: 1 if args.quick else None]
    results: list[tuple[Setting, list[Run], dict[str, Any]]] = []
    best = args.quick or args.best
    for setting in settings(task, args.quick, best):
        if args.only and setting.method not in args.only.split("+"):
            continue
        begun = perf_counter()
        cut = args.quick or ((best or args.cut) and setting.method not in (DEFAULT, LONGER))
        known = [runs for other, runs, _ in results if other.method == setting.method]
        try:
            runs = [
                run(task, setting, seed, args.iid, _cap(known, place) if cut else None)
                for place, seed in enumerate(seeds)
            ]
        except ConfigError as error:
            print(f"{setting.method}: left out: {error}", flush=True)
            continue
        results.append((setting, runs, row(task, setting, runs)))
        what, seconds = " ".join(setting.overrides[:3]), perf_counter() - begun
        print(f"  {setting.method}, {what}: {_cost(runs) / 1e6:.3g} MB, {seconds:.0f} s", flush=True)
    rows = [found for _, _, found in results]
    print()
    table(rows)
    bars(task, results, seeds, args)
    write_json(args, rows)


def bars(task: Task, results: Sequence[tuple[Setting, list[Run], dict[str, Any]]], seeds: list[int], args: Any) -> None:
    print()
    best: dict[str, list[Run]] = {}
    for setting, runs, _ in results:
        if setting.method not in best or _cost(runs) < _cost(best[setting.method]):
            best[setting.method] = runs
    where = f"{task.name}, {task.targets[-1]:.2f}{', IID' if args.iid else ''}"
    for method, wanted in ((DPSGD, 120), (EVERYBODY, 50)):
        if DEFAULT in best and method in best and _cost(best[DEFAULT]) < inf:
            bar(
                f"bytes of best {method} over the default's ({where})",
                _cost(best[method]) / _cost(best[DEFAULT]),
                wanted,
            )
    for method, scale in ((DEFAULT, 1), (LONGER, 2)):
        if method not in best or args.quick:
            continue
        reached = max(fmean(r.final for r in runs) for s, runs, _ in results if s.method == method)
        alone = fmean(centralised(task, seed, scale) for seed in seeds)
        print(f"{method}: {reached:.4f} after {scale * task.steps} gradient steps a node, centralised {alone:.4f}")
        if scale > 1:
            bar(
                "accuracy of the default less centralised, both at twice the steps, points",
                100 * (reached - alone),
                -0.5,
            )


def _cap(known: Sequence[Sequence[Run]], place: int) -> float:
    """Twice what the method's best needed with this seed."""
    return 2 * min((runs[place].bytes_to[-1] for runs in known), default=inf)


def _cost(runs: Sequence[Run]) -> float:
    return fmean(r.bytes_to[-1] for r in runs)


if __name__ == "__main__":
    main()
