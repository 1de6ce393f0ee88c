"""Nodes' own copies of the shared model on unlike data: digits, 16 nodes on a torus, Dirichlet(0.1).

    python bench/personal.py [--quick] [--json FILE]

Accuracy on a node's own distribution of labels (the test set, each class weighed by its share of the node's labels):
alone, of the shared model, of the node's copy as the defaults of [personal] make it, and of plain fine-tuning.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from harness import bar, parse_args, table, write_json

from p2pfl.assemble.splits import splits_of
from p2pfl.config import PersonalConfig, load_network
from p2pfl.runs.dense import DenseRun, build_dense, run_dense
from p2pfl.runs.simulate import simulated
from p2pfl.transfer.personal import Copy

DOCUMENT = Path(__file__).parent.parent / "examples" / "tasks" / "digits_mlp.toml"
SETTINGS = ("personal.steps=100", "data.validation_fraction=0.1", "pace.evaluate=0")
NODES = 16


def main() -> None:
    torch.set_num_threads(1)
    args = parse_args(__doc__)
    rows = [row_of(seed, args) for seed in range(1 if args.quick else 3)]
    table(rows)
    worst = min(row["own copy"] for row in rows)
    bar("accuracy on own labels of the copies, mean of seeds", fmean(row["own copy"] for row in rows), 0.99)
    bar("the same, worst seed", worst, 0.99)
    bar("global accuracy of the shared model lost to it", max(row["shared lost"] for row in rows), 0.0, at_least=False)
    write_json(args, rows)


def row_of(seed: int, args: argparse.Namespace) -> dict[str, Any]:
    rounds = 60 if args.quick else 150
    config = simulated(load_network(DOCUMENT, (*SETTINGS, f"seed={seed}", f"pace.rounds={rounds}")), NODES)
    run = build_dense(config, engine="matmul")
    run_dense(run)
    made = list(run.copies.values())
    plain = [
        copy_of(run, number, PersonalConfig(steps=100, prior=False), run.models()[name]) for number, name in nodes(run)
    ]
    alone = [
        copy_of(run, number, PersonalConfig(steps=600, patience=600, prior=False), None) for number, _ in nodes(run)
    ]
    after = fmean(outcome.accuracy or 0.0 for outcome in run.outcomes.values())
    return {
        "seed": seed,
        "own alone": own(alone),
        "own shared": fmean(copy.shared.own or 0.0 for copy in made),
        "own fine-tuned": own(plain),
        "own copy": own(made),
        "all shared": after,
        "all copy": fmean(copy.personal.accuracy or 0.0 for copy in made),
        "steps": fmean(copy.steps for copy in made),
        "shared lost": abs(after - fmean(copy.shared.accuracy or 0.0 for copy in made)),
    }


def nodes(run: DenseRun) -> list[tuple[int, str]]:
    return list(enumerate(run.cells))


def copy_of(run: DenseRun, number: int, personal: PersonalConfig, x: torch.Tensor | None) -> Copy:
    """Another way to make a copy; from the start if x is not given, which is training alone."""
    config, cell = run.shared.config, list(run.cells.values())[number]
    splits = splits_of(run.held, run.shares[number], config.data, config.seed, number)
    train = config.train if x is not None else replace(config.train, lr=4 * config.train.lr)
    made = run.shared.personaliser(splits, train, personal)
    assert made is not None
    return made.copy(run.shared.model.start() if x is None else x, cell.train_key)


def own(copies: list[Copy]) -> float:
    return fmean(copy.personal.own or 0.0 for copy in copies)


if __name__ == "__main__":
    main()
