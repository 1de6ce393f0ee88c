"""A vertical job as real processes on this machine, and what it is compared with. Knows processes, tables and nets.

Only the demo has all tables at once: the parties' processes each read their own, and meet over HTTP on loopback.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.config.vertical import PartyConfig, load_party
from p2pfl.core.noise import derive, root
from p2pfl.core.party import Emit
from p2pfl.runs.folder import METRICS
from p2pfl.runs.local import Process
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.vertical_party import agreement_of, spec_of
from p2pfl.runs.vertical_results import COMMON
from p2pfl.vertical.data.metrics import auc
from p2pfl.vertical.data.table import PartyTable, load_table
from p2pfl.vertical.split.nets import Net, Top, learn_top
from p2pfl.vertical.split.plan import Batches, Plan

LIMIT_S = 600.0


@dataclass(eq=False)
class PartyProcess(Process):
    """One party's command, its folder, and who hears what its metrics tell."""

    command: str = "train"
    listener: Callable[[float, Emit], None] = lambda seconds, emit: None
    _place: int = field(default=0)

    def start(self) -> None:
        words = [sys.executable, "-m", "p2pfl", "vertical", self.command, str(self.document), "--quiet"]
        with self.log.open("wb") as log:
            self.handle = subprocess.Popen(
                [*words, *self.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def log(self) -> Path:
        return self.document.with_name(f"{self.command}.log")

    def follow(self) -> None:
        """Pass on the metrics that were written since."""
        try:
            with (self.out / METRICS).open("rb") as file:
                file.seek(self._place)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        for line in whole.splitlines():
            fields = json.loads(line)
            self.listener(fields.pop("seconds"), Emit(fields.pop("event"), fields))

    def why(self) -> str | None:
        """The last line of its log if it failed."""
        if self.handle is None or not self.handle.returncode:
            return None
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.handle.returncode}"


def party_process(document: Path, command: str, out: Path, *arguments: str) -> PartyProcess:
    return PartyProcess(document, out, Outcome(document.parent.name, 0), arguments, command=command)


@dataclass(frozen=True, slots=True)
class Compared:
    """AUC on the same held-out rows: each party's columns alone (with the labels), and all of them in one net."""

    alone: dict[str, float]
    central: float


def compare(documents: Sequence[Path]) -> Compared:
    """Train what the job is compared with, on its own rows: same order of batches, steps, optimiser and sizes."""
    configs = [load_party(document) for document in documents]
    tables = _common_tables(configs)
    agreement = agreement_of(configs[0].job)
    plan = agreement.plan(len(tables[0]))
    train, _ = plan.schedule.split()
    x = [table.scaled(train).x for table in tables]
    y = tables[0].y
    assert y is not None
    alone = {config.name: _train(plan, columns, y) for config, columns in zip(configs, x, strict=True)}
    return Compared(alone, _train(plan, np.concatenate(x, axis=1), y, len(x)))


def _common_tables(configs: Sequence[PartyConfig]) -> list[PartyTable]:
    """All tables' rows in the order that the parties agreed on."""
    rules = agreement_of(configs[0].job).terms.rules
    with (configs[0].out / COMMON).open(newline="", encoding="utf-8") as file:
        common = [rules.apply(row["id"]) for row in csv.DictReader(file)]
    tables = []
    for config in configs:
        table = load_table(spec_of(config.rows, config.job))
        place = {rules.apply(text): row for row, text in enumerate(table.ids)}
        tables.append(table.take([place[text] for text in common]))
    return tables


def _train(plan: Plan, columns: NDArray[np.float32], y: NDArray[np.int64], parties: int = 1) -> float:
    """One net over these columns on the job's own batches: its AUC on the rows held out."""
    batches, x, labels = Batches(plan.schedule), torch.from_numpy(columns), torch.from_numpy(y)
    width, key = plan.widths[0] * parties, derive(root(plan.schedule.seed), "vertical-compared")
    net = Net(lambda: Top(x.shape[1], plan.hidden, (width,), plan.top_hidden), key, plan.lr)
    part = net.start()
    for step in range(plan.schedule.num_learning):
        rows = batches.rows(step)
        part = learn_top(net, part, x[rows], [], labels[rows]).part
    with torch.no_grad():
        scores: Tensor = net.run(part.x, x[batches.test])
    return auc(y[batches.test], scores.double().numpy())


def summary_of(document: Path, folder: str) -> dict[str, Any]:
    """What a party's run came to; empty if it did not end well."""
    try:
        found = json.loads((document.parent / folder / "summary.json").read_text())
    except (OSError, ValueError):
        return {}
    assert isinstance(found, dict)
    return found
