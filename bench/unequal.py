"""Machines of speeds 1:2:4:8 beside a network of as much speed in equal parts: time to a target, and whose labels win.

    python bench/unequal.py [--quick] [--http] [--nodes 12] [--family torus] [--json FILE]

Digits, Dirichlet(0.1), MLP 64-64-10, the rule `pairwise` at each node's own pace and with a time budget for local
phases, and `average` with such a budget; beside them both paces with batches of one size at every machine. In virtual
time, 12 nodes on a torus, half a phase of latency; with --http as many processes, throttled by a learner that waits
(bench/peers/throttled.py): two ways, as each takes minutes. A step of half the batch takes half as long in both.

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
from throttling import STEP_S as HTTP_STEP_S
from throttling import Throttled

from p2pfl.config import load_network
from p2pfl.hosts.faults import Faults
from p2pfl.learn.data import Held
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

DOCUMENT = Path(__file__).parent.parent / "examples" / "tasks" / "digits_mlp.toml"
SPEEDS = (1.0, 2.0, 4.0, 8.0)
MEAN = fmean(SPEEDS)
ROUNDS, TARGET = 120, 0.94
STEPS = 5
STEP_S = 0.01
PHASE_S = STEPS * STEP_S / MEAN
"""Of a machine of mean speed."""
LOOK = 2.0
"""Such phases between two looks."""
SMALL = ("model.args={hidden=[64]}", "pace.evaluate=0")
ASYNC, BUDGET, ONE_SIZE = "pace.mode=async", "train.seconds={phase_s}", "train.batch_min=32"
AVERAGE = ("mix.rule=average", "compress.codec=int8", "pace.mode=semi_sync")
WAYS: dict[str, tuple[str, ...]] = {
    "own pace": (ASYNC,),
    "budget": (ASYNC, BUDGET),
    "average, budget": (*AVERAGE, BUDGET),
    "own pace, one batch": (ASYNC, ONE_SIZE),
    "budget, one batch": (ASYNC, BUDGET, ONE_SIZE),
}
JUDGED = 3
"""The first ways are what is meant to be used; the others show what it is for."""


def extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--http", action="store_true", help="throttled processes instead of virtual time")
    parser.add_argument("--nodes", type=int, default=12, help="a multiple of 4 (12)")
    parser.add_argument("--family", default="torus", help="of the graph (torus)")


def main() -> None:
    torch.set_num_threads(1)
    args = parse_args(__doc__, extra)
    seeds, ways = range(1 if args.quick else 3), list(WAYS)[: 2 if args.quick or args.http else None]
    run = run_http if args.http else run_simulated
    rows = []
    for way in ways:
        for seed in seeds:
            changes = (*WAYS[way], *SMALL, f"seed={seed}", f"pace.rounds={ROUNDS}", f"train.steps={STEPS}")
            changes = (*changes, f"topology.family={args.family}")
            rows.append(row(seed, way, *(run(changes, args.nodes, speeds) for speeds in (SPEEDS, (MEAN,)))))
    table(rows)
    for way in ways[:JUDGED]:
        of_way = [row for row in rows if row["way"] == way]
        ratio, bias = median(row["ratio"] for row in of_way), fmean(row["bias"] for row in of_way)
        bar(f"{way}: seconds to the target, unequal over equal, median", ratio, 1.2, at_least=False)
        bar(f"{way}: bias to the fast nodes' labels, mean", bias, 0.01, at_least=False)
    write_json(args, rows)


def row(seed: int, way: str, unequal: "Found", equal: "Found") -> dict[str, Any]:
    begun, ended = unequal.reached(TARGET), equal.reached(TARGET)
    return {
        "way": way,
        "seed": seed,
        "s unequal": begun,
        "s equal": ended,
        "ratio": begun / ended,
        "accuracy unequal": unequal.every,
        "accuracy equal": equal.every,
        "bias": (unequal.fast - equal.fast) - (unequal.every - equal.every),
    }


class Found:
    """A run's (seconds, mean accuracy), and how good its models are on all labels and as the fastest nodes' labels
    weigh them."""

    def __init__(
        self, told: list[tuple[float, float]], held: Held, shares: Any, model: Any, vectors: list[torch.Tensor]
    ) -> None:
        self.told = told
        fast = [n for n in range(len(vectors)) if SPEEDS[n % len(SPEEDS)] == max(SPEEDS)]
        self.every, self.fast = judged(held, torch.cat([held.train.y[shares[n]] for n in fast]), model, vectors)

    def reached(self, target: float) -> float:
        """The moment between two looks by interpolation."""
        before = (0.0, 0.0)
        for now in self.told:
            if now[1] >= target:
                share = (target - before[1]) / (now[1] - before[1])
                return before[0] + share * (now[0] - before[0])
            before = now
        raise SystemExit(f"{target} was not reached: {max(accuracy for _, accuracy in self.told)}")


def run_simulated(changes: tuple[str, ...], num_nodes: int, speeds: tuple[float, ...]) -> Found:
    """Judged from outside, at moments of its own: evaluations in the run would cost slow machines most."""
    world = World(step_s=STEP_S, wire_s=STEP_S / 10, speeds=speeds, faults=Faults(delay_s=PHASE_S / 2))
    simulation = build_simulation(simulated(load_network(DOCUMENT, filled(changes, PHASE_S)), num_nodes), world)
    reached, ended, at = [], False, 0.0
    while not ended:
        at += LOOK * PHASE_S
        ended = run_simulation(simulation, until=at).outcome == "stopped"
        reached.append((at, judged(simulation.held, None, simulation.shared.model, vectors_of(simulation))[0]))
    return Found(reached, simulation.held, simulation.shares, simulation.shared.model, vectors_of(simulation))


def filled(changes: tuple[str, ...], phase_s: float) -> tuple[str, ...]:
    return tuple(change.replace("{phase_s}", str(phase_s)) for change in changes)


def vectors_of(simulation: Simulation) -> list[torch.Tensor]:
    return [node.job.local.x for node in simulation.nodes.values()]


def run_http(changes: tuple[str, ...], num_nodes: int, speeds: tuple[float, ...]) -> Found:
    phase_s = STEPS * HTTP_STEP_S / MEAN
    network = Throttled(DOCUMENT, filled(changes, phase_s), num_nodes, LOOK * phase_s)
    with TemporaryDirectory() as home:
        ran = network.run(Path(home), speeds)
    accuracies = [judged(ran.held, None, ran.model, models)[0] for models in ran.models]
    told = list(zip(ran.moments, accuracies, strict=True))
    return Found(told, ran.held, ran.shares, ran.model, ran.models[-1])


def judged(held: Held, labels: torch.Tensor | None, model: Any, vectors: list[torch.Tensor]) -> tuple[float, float]:
    """Mean over the models, on the test set and, if labels are given, with its classes weighed as they are."""
    labels = held.test.y if labels is None else labels
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
