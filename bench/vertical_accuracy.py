"""What a split network gains over the label holder alone: default of credit card clients, three parties, three seeds.

Label holder: LIMIT_BAL to AGE. Bank 1: PAY_*. Bank 2: BILL_AMT* and PAY_AMT*. All parties run as simulated Peers, with
every message signed. Reported beside the joint network (one dense net over all columns) and the label holder's own net:
same rows, epochs, learning rate and optimiser. Leak AUCs are measured on the gradients as sent.
"""

import argparse
import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness import add_data, bar, parse_args, table, write_json
from numpy.typing import NDArray

from p2pfl.runs.vertical import Simulated, privacy_of, simulate
from p2pfl.vertical.data.metrics import auc
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.split.nets import Net, Top, learn_top
from p2pfl.vertical.split.plan import Batches, Plan, Schedule
from p2pfl.wire.keyfile import Signer

FILE = "credit-default/uci_credit_card.csv.gz"
NAMES = ("label holder", "bank 1", "bank 2")
BATCH, LR, HIDDEN, WIDTH = 256, 3e-3, 32, 8
EPOCHS = 6
LOOSE = RowGuard(8.0)
PLAIN = RowGuard(1e3)
GUARDED = RowGuard(0.1, 2.2)

Columns = list[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Split:
    """Standardised columns by party, and labels."""

    columns: Columns
    y: NDArray[np.int64]


def load(folder: Path, rows: int | None) -> Split:
    with gzip.open(folder / FILE, "rt") as file:
        header, *lines = list(csv.reader(file))
    values = np.asarray(lines[:rows], np.float64)
    groups: list[list[int]] = [[], [], []]
    for place, name in enumerate(header[1:-1], start=1):
        bank = 2 if name.startswith(("BILL", "PAY_AMT")) else 1 if name.startswith("PAY_") else 0
        groups[bank].append(place)
    x = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    return Split([x[:, places].astype(np.float32) for places in groups], values[:, -1].astype(np.int64))


def plan_of(data: Split, seed: int, gradients: RowGuard) -> tuple[Plan, list[Signer]]:
    signers = [Signer(bytes([index + 1]) * 32) for index in range(3)]
    parties = tuple((name, signer.node) for name, signer in zip(NAMES, signers, strict=True))
    schedule = Schedule(len(data.y), BATCH, EPOCHS, 0.2, seed)
    return Plan("credit", parties, (WIDTH,) * 3, schedule, LOOSE, gradients, hidden=HIDDEN, lr=LR), signers


def split_network(data: Split, seed: int, gradients: RowGuard) -> tuple[Simulated, Plan]:
    plan, signers = plan_of(data, seed, gradients)
    return simulate(plan, signers, data.columns, data.y, seed), plan


def central(data: Split, columns: Sequence[NDArray[np.float32]], seed: int) -> float:
    """One net over these columns, on the same batches: its AUC on the rows held out."""
    plan, _ = plan_of(data, seed, PLAIN)
    batches, x = Batches(plan.schedule), torch.from_numpy(np.concatenate(columns, axis=1))
    key = bytes([seed]) * 32
    net = Net(lambda: Top(x.shape[1], HIDDEN, (WIDTH * len(columns),), plan.top_hidden), key, LR)  # type: ignore[arg-type]
    part, y = net.start(), torch.from_numpy(data.y)
    for step in range(plan.schedule.num_learning):
        rows = batches.rows(step)
        part = learn_top(net, part, x[rows], [], y[rows]).part
    with torch.no_grad():
        return auc(data.y[batches.test], net.run(part.x, x[batches.test]).double().numpy())


def worst_norm(run: Simulated) -> float:
    return max(leak.norm for leak in run.leaks.values() if leak is not None)


def worst_direction(run: Simulated) -> float:
    return max(leak.worst for leak in run.leaks.values() if leak is not None)


def one_seed(data: Split, seed: int) -> dict[str, float]:
    plain, _ = split_network(data, seed, PLAIN)
    guarded, plan = split_network(data, seed, GUARDED)
    aucs = [float(run.metrics["auc"] or 0.0) for run in (plain, guarded)]
    return {
        "alone": central(data, data.columns[:1], seed),
        "joint": central(data, data.columns, seed),
        "split": aucs[0],
        "guarded": aucs[1],
        "norm leak, plain": worst_norm(plain),
        "norm leak": worst_norm(guarded),
        "worst leak, plain": worst_direction(plain),
        "worst leak": worst_direction(guarded),
        "label epsilon": privacy_of(plan).label_epsilon,
    }


def main() -> None:
    args: argparse.Namespace = parse_args(__doc__, add_data)
    torch.set_num_threads(1)
    folder = args.data or Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    data = load(folder, 8000 if args.quick else None)
    seeds = (0,) if args.quick else (0, 1, 2)
    rows = [{"seed": seed, **one_seed(data, seed)} for seed in seeds]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "seed"}
    shown = [{k: round(v, 4) for k, v in row.items()} for row in [*rows]]
    table([*shown, {"seed": "mean", **{k: round(v, 4) for k, v in mean.items()}}])
    bar("joint network minus split, AUC", mean["joint"] - mean["split"], wanted=0.005, at_least=False)
    bar("split minus label holder alone, AUC", mean["split"] - mean["alone"], wanted=0.06)
    bar("guarded minus label holder alone, AUC", mean["guarded"] - mean["alone"], wanted=0.03)
    bar("norm attack on guarded gradients, AUC", mean["norm leak"], wanted=0.55, at_least=False)
    bar("worst of all attacks on guarded gradients, AUC", mean["worst leak"], wanted=0.55, at_least=False)
    bar("label epsilon at delta 1e-5", mean["label epsilon"], wanted=6.0, at_least=False)
    write_json(args, rows)


if __name__ == "__main__":
    main()
