"""What the three scripts share: their arguments, runs up to a target, and a table in Markdown. Knows no paper."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import p2pfl

DATA = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "data"

DIGITS: dict[str, Any] = {
    "model": {"name": "mlp", "args": {"hidden": [64]}, "input_shape": [1, 8, 8], "num_classes": 10},
    "mix": {"rule": "average"},
    "compress": {"codec": "fp32"},
    "pace": {"mode": "lockstep", "rounds": 100, "evaluate": 1},
    "train": {"lr": 0.2, "batch_size": 16, "steps": 1},
    "data": {
        "source": "digits",
        "args": {"test_seed": 1},
        "partition": {"by": "dirichlet", "alpha": 0.5},
        "validation_fraction": 0.0,
    },
}
"""Handwritten digits, which need no download, and plain averaging: no codec, no correction, nothing tuned."""


def parse_args(doc: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of everything, to see that it runs")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each setting; the mean is shown (default 3)")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="where data sets lie (../shared/data)")
    args = parser.parse_args()
    args.seeds = 1 if args.quick else args.seeds
    return args


def learn(nodes: int, seed: int, **changes: Any) -> list[dict[str, float]]:
    """One run by the dense engine: a record per evaluation. `changes`: sections, as `p2pfl.simulate` takes them."""
    return p2pfl.simulate({**DIGITS, "seed": seed}, engine="dense", nodes=nodes, **changes).rounds


def rounds_until(records: Sequence[Mapping[str, float]], accuracy: float) -> int | None:
    """The first evaluation at which the nodes' mean test accuracy is that high; None if never."""
    return next((int(r["round"]) for r in records if r["accuracy"] >= accuracy), None)


def mean(values: Sequence[float | None]) -> float | None:
    """None if one of the runs never got there."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def show(rows: Sequence[Mapping[str, object]]) -> None:
    """A Markdown table; floats with three digits, None as a dash."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    print(flush=True)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)
