"""The tables that a vertical run leaves behind, and how it tells what leaked. Knows files; no party and no message."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import HostError
from p2pfl.vertical.data.leaks import LabelLeak
from p2pfl.vertical.data.table import PartyTable

COMMON, PREDICTIONS = "common.csv", "predictions.csv"


def write_predictions(path: Path, table: PartyTable, scores: NDArray[Any]) -> None:
    """id, score, in the order of the party's own table. Whole or not at all. Raises HostError."""
    order = np.argsort(np.asarray(table.lines))
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "score"])
            writer.writerows((table.ids[i], f"{scores[i]:.7f}") for i in order)
        part.replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from None


def write_common(path: Path, table: PartyTable) -> None:
    """id and line of every common row, in the common order. Whole or not at all. Raises HostError."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "line"])
            writer.writerows(zip(table.ids, table.lines, strict=True))
        part.replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from None


def leak_report(leaks: dict[str, LabelLeak | None]) -> dict[str, Any]:
    """Attacks on the labels, on the gradients as sent, by who got them."""
    return {
        name: None
        if leak is None
        else {"norm_auc": leak.norm, "direction_auc": leak.direction, "worst_auc": leak.worst, "batches": leak.batches}
        for name, leak in leaks.items()
    }
