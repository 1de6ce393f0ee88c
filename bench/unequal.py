"""Machines of speeds 1:2:4:8 beside a network of as much speed in equal parts: time to a target, and whose labels win.

    python bench/unequal.py [--quick] [--http] [--json FILE]

Digits, Dirichlet(0.1), three ways of work: the rule `pairwise` at each node's own pace; the same with a time budget for
local phases; the rule `average` with such a budget. In virtual time, 12 nodes on a torus, half a phase of latency; with
--http eight processes on a ring, throttled by a learner that waits (bench/peers/throttled.py), the pairwise ways only.

The bias is by how much more accurate the network is on the labels of its fastest nodes than the equal network is, less
the same over all labels. Time is until the mean accuracy on the test set reaches the target.
"""

import argparse
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from harness import bar, parse_args, table, write_json
from throttling import Throttled

from p2pfl.config import load_network
from p2pfl.hosts.faults import Faults
from p2pfl.learn.data import Held
from p2pfl.runs.curves import Curve
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

DOCUMENT = Path(__file__).parent.parent / "examples" / "tasks" / "digits_mlp.toml"
NODES = 12
SPEEDS = (1.0, 2.0, 4.0, 8.0)
MEAN = fmean(SPEEDS)
STEPS = 5
STEP_S = 0.01
PHASE_S = STEPS * STEP_S / MEAN
"""Of a machine of mean speed."""
BUDGET = (f"train.seconds={PHASE_S}",)
WAYS: dict[str, tuple[str, ...]] = {
    "own pace": ("pace.mode=async",),
    "budget": ("pace.mode=async", *BUDGET),
    "average, budget": ("mix.rule=average", "compress.codec=int8", "pace.mode=semi_sync", *BUDGET),
}


def extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--http", action="store_true", help="throttled processes instead of virtual time")


def main() -> None:
    torch.set_num_threads(1)
    args = parse_args(__doc__, extra)
    rounds, target = (50, 0.9) if args.quick else (110, 0.94)
    seeds = range(1 if args.quick else 3)
    if args.http:
        rows = [throttled_row(seed, way, args.quick) for way in ("own pace", "budget") for seed in seeds]
    else:
        rows = [row_of(seed, way, rounds, target) for way in WAYS for seed in seeds]
    table(rows)
    for way in dict.fromkeys(row["way"] for row in rows):
        of_way = [row for row in rows if row["way"] == way]
        ratio, bias = median(row["ratio"] for row in of_way), fmean(row["bias"] for row in of_way)
        bar(f"{way}: seconds to the target, unequal over equal, median", ratio, 1.2, at_least=False)
        bar(f"{way}: bias to the fast nodes' labels, mean", bias, 0.01, at_least=False)
    write_json(args, rows)


def row_of(seed: int, way: str, rounds: int, target: float) -> dict[str, Any]:
    unequal, equal = (run_of(seed, way, rounds, speeds) for speeds in (SPEEDS, (MEAN,)))
    return row(seed, way, target, unequal, equal)


def row(seed: int, way: str, target: float, unequal: "Found", equal: "Found") -> dict[str, Any]:
    begun, ended = unequal.curve.reached(target), equal.curve.reached(target)
    if begun is None or ended is None:
        raise SystemExit(f"{way}, seed {seed}: {target} was not reached: {unequal.curve.best}, {equal.curve.best}")
    return {
        "way": way,
        "seed": seed,
        "s unequal": begun.seconds,
        "s equal": ended.seconds,
        "ratio": begun.seconds / ended.seconds,
        "accuracy unequal": unequal.every,
        "accuracy equal": equal.every,
        "bias": (unequal.fast - equal.fast) - (unequal.every - equal.every),
    }


class Found:
    """A run's curve, and the mean accuracy of its models on all labels and as the fastest nodes' labels weigh them."""

    def __init__(self, curve: Curve, held: Held, shares: Any, model: Any, vectors: list[torch.Tensor]) -> None:
        self.curve = curve
        fast = [n for n in range(len(vectors)) if SPEEDS[n % len(SPEEDS)] == max(SPEEDS)]
        self.every, self.fast = judged(held, torch.cat([held.train.y[shares[n]] for n in fast]), model, vectors)


def run_of(seed: int, way: str, rounds: int, speeds: tuple[float, ...]) -> Found:
    changes = (*WAYS[way], f"seed={seed}", f"pace.rounds={rounds}", "pace.evaluate=2", f"train.steps={STEPS}")
    curve = Curve("run", NODES)
    world = World(step_s=STEP_S, wire_s=STEP_S / 10, speeds=speeds, faults=Faults(delay_s=PHASE_S / 2))
    config = simulated(load_network(DOCUMENT, changes), NODES)
    simulation = build_simulation(config, world, on_emit=curve.take)
    if run_simulation(simulation).outcome != "stopped":
        raise SystemExit("the simulation did not end")
    vectors = [node.job.local.x for node in simulation.nodes.values()]
    return Found(curve, simulation.held, simulation.shares, simulation.shared.model, vectors)


def throttled_row(seed: int, way: str, quick: bool) -> dict[str, Any]:
    network = Throttled(DOCUMENT, seed, 30 if quick else 60, way == "budget")
    found = []
    for speeds in (SPEEDS, (MEAN,)):
        with TemporaryDirectory() as home:
            found.append(Found(*network.run(Path(home), speeds)))
    return row(seed, way, 0.85 if quick else 0.93, *found)


def judged(held: Held, labels: torch.Tensor, model: Any, vectors: list[torch.Tensor]) -> tuple[float, float]:
    share = torch.bincount(labels, minlength=10).double() / len(labels)
    every, theirs = [], []
    for vector in vectors:
        model.load(vector)
        with torch.no_grad():
            right = (model.module(held.test.x).argmax(1) == held.test.y).double()
        every.append(float(right.mean()))
        theirs.append(sum(float(share[c] * right[held.test.y == c].mean()) for c in range(10)))
    return fmean(every), fmean(theirs)


if __name__ == "__main__":
    main()
