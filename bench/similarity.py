"""Two tasks in one network: digits read by two tables of labels, 12 nodes, complete graph.

    python bench/similarity.py [--quick] [--json FILE]

Each node is judged on the test samples of its own task: with the rule `average`, with `similarity`, and with `average`
among the nodes of its task alone, which is what `similarity` can reach at most.
"""

from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from harness import bar, parse_args, table, write_json

from p2pfl.config import load_network
from p2pfl.runs.dense import DenseRun, build_dense, dense_summary, run_dense
from p2pfl.runs.simulate import simulated

DOCUMENT = Path(__file__).parent.parent / "examples" / "clusters" / "network.toml"
PARTS = 6


def main() -> None:
    torch.set_num_threads(1)
    args = parse_args(__doc__)
    seeds = range(1 if args.quick else 3)
    rows = [row_of(seed, unlike) for unlike in (0.0, 10.0, 4.0) for seed in seeds]
    table(rows)
    held = [row for row in rows if row["unlike"] != 4.0]
    gained = min(row["similarity"] - row["average"] for row in held)
    lost = fmean(row["per task"] - row["similarity"] for row in held)
    bar("similarity over average, own task, worst run", gained, 0.3)
    bar("similarity short of a network per task, mean", lost, 0.02, at_least=False)
    bar("least similarity within a task", min(row["within"] for row in held), 0.5)
    bar("greatest similarity across tasks", max(row["across"] for row in held), -0.5, at_least=False)
    write_json(args, rows)


def row_of(seed: int, unlike: float) -> dict[str, Any]:
    similarity, average = run_of(seed, unlike, "similarity"), run_of(seed, unlike, "average")
    apart = [run_of(seed, unlike, "average", only) for only in "ab"]
    report = dense_summary(similarity, None)["similarity"]
    task = dict(zip(similarity.cells, tasks_of(similarity), strict=True))
    pairs = [
        (task[a] == task[b], value)
        for a, values in zip(report["names"], report["matrix"], strict=True)
        for b, value in zip(report["names"], values, strict=True)
        if a != b
    ]
    return {
        "unlike": unlike,
        "seed": seed,
        "average": own_task(average),
        "similarity": own_task(similarity),
        "per task": fmean(own_task(run) for run in apart),
        "within": min(value for same, value in pairs if same),
        "across": max(value for same, value in pairs if not same),
    }


def run_of(seed: int, unlike: float, rule: str, only: str = "") -> DenseRun:
    data = f'data.args={{ parts = {PARTS}, unlike = {unlike}, only = "{only}" }}'
    changes = (f"seed={seed}", f"mix.rule={rule}", "pace.evaluate=0", "data.validation_fraction=0.0", data)
    run = build_dense(simulated(load_network(DOCUMENT, changes), PARTS if only else 2 * PARTS))
    run_dense(run)
    return run


def tasks_of(run: DenseRun) -> list[int]:
    groups = run.held.train.groups
    assert groups is not None
    return [int(groups[share][0]) // PARTS for share in run.shares]


def own_task(run: DenseRun) -> float:
    """Mean over the nodes of the accuracy on the test samples of their own task."""
    test, found = run.held.test, []
    assert test.groups is not None
    for x, task in zip(run.models().values(), tasks_of(run), strict=True):
        run.shared.model.load(x)
        with torch.no_grad():
            right = run.shared.model.module(test.x).argmax(1) == test.y
        found.append(float(right[test.groups // PARTS == task].double().mean()))
    return fmean(found)


if __name__ == "__main__":
    main()
