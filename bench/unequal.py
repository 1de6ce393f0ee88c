"""Machines of speeds 1:2:4:8 beside a network of as much speed in equal parts: time to a target, and whose labels win.

    python bench/unequal.py [--quick] [--json FILE]

Digits, 12 nodes on a torus, Dirichlet(0.1), in virtual time: rule `pairwise`, async, half a phase of latency. A node's
own labels are those of its share; the bias is by how much more accurate the network is on the labels of its three
fastest nodes than the equal network is, less the same over all labels.
"""

from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from harness import bar, parse_args, table, write_json

from p2pfl.config import load_network
from p2pfl.hosts.faults import Faults
from p2pfl.runs.curves import Curve
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

DOCUMENT = Path(__file__).parent.parent / "examples" / "tasks" / "digits_mlp.toml"
NODES = 12
SPEEDS = (1.0, 2.0, 4.0, 8.0)
STEP_S = 0.01
TARGET = 0.94


def main() -> None:
    torch.set_num_threads(1)
    args = parse_args(__doc__)
    rounds = 50 if args.quick else 110
    rows = [row_of(seed, rounds) for seed in range(1 if args.quick else 3)]
    table(rows)
    bar("seconds to the target, unequal over equal, median", median(row["ratio"] for row in rows), 1.2, at_least=False)
    bar("bias to the fast nodes' labels, mean", fmean(row["bias"] for row in rows), 0.01, at_least=False)
    write_json(args, rows)


def row_of(seed: int, rounds: int) -> dict[str, Any]:
    unequal, first = run_of(seed, rounds, SPEEDS)
    equal, second = run_of(seed, rounds, (fmean(SPEEDS),))
    fast = [number for number in range(NODES) if SPEEDS[number % len(SPEEDS)] == max(SPEEDS)]
    one, two = judged(unequal, fast), judged(equal, fast)
    begun, ended = first.reached(TARGET), second.reached(TARGET)
    if begun is None or ended is None:
        raise SystemExit(f"seed {seed}: {TARGET} was not reached: {first.best}, {second.best}")
    return {
        "seed": seed,
        "seconds unequal": begun.seconds,
        "seconds equal": ended.seconds,
        "ratio": begun.seconds / ended.seconds,
        "accuracy unequal": one[0],
        "accuracy equal": two[0],
        "bias": (one[1] - two[1]) - (one[0] - two[0]),
    }


def run_of(seed: int, rounds: int, speeds: tuple[float, ...]) -> tuple[Simulation, Curve]:
    changes = (f"seed={seed}", "pace.mode=async", f"pace.rounds={rounds}", "pace.evaluate=2")
    curve = Curve("run", NODES)
    world = World(
        step_s=STEP_S, wire_s=STEP_S / 10, speeds=speeds, faults=Faults(delay_s=STEP_S * 5 / fmean(SPEEDS) / 2)
    )
    config = simulated(load_network(DOCUMENT, changes), NODES)
    simulation = build_simulation(config, world, on_emit=curve.take)
    if run_simulation(simulation).outcome != "stopped":
        raise SystemExit("the simulation did not end")
    return simulation, curve


def judged(simulation: Simulation, nodes: list[int]) -> tuple[float, float]:
    """Mean over all models of the accuracy on the test set, and on it as these nodes' labels weigh it."""
    test, model = simulation.held.test, simulation.shared.model
    labels = torch.cat([simulation.held.train.y[simulation.shares[number]] for number in nodes])
    share = torch.bincount(labels, minlength=10).double() / len(labels)
    every, theirs = [], []
    for node in simulation.nodes.values():
        model.load(node.job.local.x)
        with torch.no_grad():
            right = (model.module(test.x).argmax(1) == test.y).double()
        every.append(float(right.mean()))
        theirs.append(sum(float(share[c] * right[test.y == c].mean()) for c in range(10)))
    return fmean(every), fmean(theirs)


if __name__ == "__main__":
    main()
