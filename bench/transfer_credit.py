"""Federated transfer learning, classic: default of credit card clients, a source with labels, a target with few of its
people. Source: repayment status by month and the limit. Target: demographics, bills, payments; no label at all.

    alone       logistic regression on the target's columns with the labels of the common rows, which it does not have;
                its penalty chosen by five-fold cross-validation
    ceiling     the same on all 24,000 people not held out: what these columns can tell, whoever teaches
    joint       both networks trained together in every step, as in the paper, in one place
    taught      the product's job, level 0 without noise; `dp`: with noise on each lesson
    sealed      level 1: lessons under Paillier, only sums opened; `sealed dp`: noise on the sums

AUC over 6,000 people held out, mean of the seeds. The bars: taught beats alone, by how much of what there is to gain,
and sealed is what taught is. Alone with 10 and 20 % of the labels is 0.012 and 0.006 under the ceiling, so no teaching
can gain 0.02 there: what a lesson says of a label is told through these columns too.
`--plot FILE` draws both latent spaces before and after.
"""

import argparse
import csv
import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import add_data, bar, parse_args, table, write_json
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from torch import nn

from p2pfl.core.noise import Key
from p2pfl.crypto.paillier_keys import PrivateKey, generate
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.data.metrics import auc
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.job.agreement import Agreement, Encryption
from p2pfl.vertical.latent.lesson import features
from p2pfl.vertical.latent.rules import Rules, Transfer
from p2pfl.vertical.latent.source import Source, SourceTable
from p2pfl.vertical.latent.target import Target
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.messages import Move, Moved, Replied, Reply, pack_request
from p2pfl.wire.keyfile import Signer

FILE = "credit-default/uci_credit_card.csv.gz"
SOURCE = ("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6", "LIMIT_BAL")
LABEL = "default.payment.next.month"
HELD_OUT, SOURCE_ROWS = 6000, 12_000
WIDTH, ALIGNMENT = 8, 0.1
SHARES = (0.05, 0.1, 0.2)
SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(2)]
Floats = NDArray[np.float32]


def load(folder: Path) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Columns of source and target, amounts by logarithm, and labels."""
    with gzip.open(folder / FILE, "rt", newline="") as file:
        head, *rows = csv.reader(file)
    data = np.array(rows, np.float64)
    y = data[:, head.index(LABEL)].astype(np.int64)

    def columns(names: Sequence[str]) -> Floats:
        x = np.stack([data[:, head.index(name)] for name in names], axis=1)
        for at, name in enumerate(names):
            if name.startswith(("BILL", "PAY_AMT", "LIMIT")):
                x[:, at] = np.sign(x[:, at]) * np.log1p(np.abs(x[:, at]))
        return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)

    target = [name for name in head if name not in (*SOURCE, LABEL, "ID")]
    return columns(SOURCE), columns(target), y


class Setting:
    """One seed and share of common people: who is where."""

    def __init__(self, xa: Floats, xb: Floats, y: NDArray[np.int64], share: float, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(y))
        self.test, own = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + SOURCE_ROWS]
        self.rest = order[HELD_OUT:]
        self.common = own[: round(share * SOURCE_ROWS)]
        self.xa, self.xb, self.y, self.seed, self.own = xa, xb, y, seed, own

    def agreement(self, level: int, noise: float) -> Agreement:
        parties = tuple((name, s.node) for name, s in zip(("bank", "shop"), SIGNERS, strict=True))
        return Agreement(
            "credit", parties, Terms("credit", ("bank", "shop")), (WIDTH, WIDTH), RowGuard(8.0), RowGuard(0.1, noise),
            kind="transfer", level=level, encryption=Encryption(noise=noise), transfer=Transfer(alignment=ALIGNMENT),
            batch=256, epochs=15, test_fraction=0.01, seed=self.seed + 1,
        )  # fmt: skip

    def taught(self, level: int, noise: float, key: PrivateKey | None) -> tuple[float, "Lesson"]:
        """AUC of the target over people held out, after the job's own turns; and what was learned."""
        agreement = self.agreement(level, noise)
        rules = Rules(agreement.plan(len(self.common)), agreement.transfer, level == 1, noise)
        rings = [None, None] if key is None else [Keyring(2048, (0, key)), Keyring(2048, None)]
        whole = SourceTable(torch.from_numpy(self.xa[self.own]), self.y[self.own], np.arange(len(self.common)))
        source = Source(agreement.accord, rules, whole, rings[0])
        target = Target(agreement.accord, rules, self.xb[self.common], rings[1])
        (mine, requests), theirs, turn = source.start(), target.start(), 0
        while requests:
            key_of_turn = Key(os.urandom(32))
            replied = target.run(Reply(theirs, pack_request(requests[1]), key_of_turn))
            assert isinstance(replied, Replied), replied
            moved = source.run(Move(mine, {1: replied.answer}, key_of_turn))
            assert isinstance(moved, Moved), moved
            theirs, mine, requests, turn = replied.state, moved.state, moved.requests, turn + 1
        k = features(self.xb[self.test], 0, rules.key)
        lesson = Lesson(self, source, mine, theirs.w, target.direction(theirs).phi, k)
        return auc(self.y[self.test], k @ theirs.w @ lesson.phi), lesson

    def alone(self, people: NDArray[np.int64]) -> float:
        model = LogisticRegressionCV(
            Cs=10, cv=5, scoring="roc_auc", max_iter=2000, l1_ratios=(0.0,), use_legacy_attributes=False
        )
        model.fit(self.xb[people], self.y[people])
        return auc(self.y[self.test], model.decision_function(self.xb[self.test]))

    def joint(self) -> float:
        """Liu et al. 2018 in one place: both nets learn in every step; the source's learned alone before."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self._joint()

    def _joint(self) -> float:
        xa, xb, sign = torch.from_numpy(self.xa), torch.from_numpy(self.xb), torch.from_numpy(2.0 * self.y - 1).float()
        own, common = torch.from_numpy(self.own), torch.from_numpy(self.common)
        nets = [nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, WIDTH), nn.Tanh()) for x in (xa, xb)]
        head = nn.Linear(WIDTH, 1)
        alone = torch.optim.Adam([*nets[0].parameters(), *head.parameters()], 3e-3)
        for rows in (part for _ in range(15) for part in own[torch.randperm(len(own))].split(256)):
            loss = nn.functional.softplus(-sign[rows] * head(nets[0](xa[rows])).squeeze(1)).mean()
            alone.zero_grad()
            loss.backward()
            alone.step()
        both = torch.optim.AdamW([p for net in nets for p in net.parameters()], 3e-3, weight_decay=1e-2)
        centred = sign - sign[own].mean()
        for rows in (part for _ in range(40) for part in common[torch.randperm(len(common))].split(128)):
            a, u = nets[0](xa[rows]), nets[1](xb[rows])
            some = own[torch.randint(len(own), (1024,))]
            z = u @ (centred[some, None] * nets[0](xa[some])).mean(0)
            pull = 0.05 * torch.square(u - a).sum(1)
            loss = (-0.5 * sign[rows] * z + z * z / 8 + pull).mean()
            both.zero_grad()
            loss.backward()
            both.step()
        with torch.no_grad():
            phi = (centred[own, None] * nets[0](xa[own])).mean(0)
            return auc(self.y[self.test], (nets[1](xb[self.test]) @ phi).double().numpy())


class Lesson:
    """What a run left behind, for the picture."""

    def __init__(
        self, setting: Setting, source: Source, state: Any, w: NDArray[Any], phi: NDArray[Any], k: Any
    ) -> None:
        self.setting, self.source, self.state, self.w, self.phi, self.k = setting, source, state, w, phi, k


def draw(lesson: Lesson, path: Path) -> None:
    """Latent places of the common people, source above, target below, before and after; colours are labels."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    s, places = lesson.setting, np.arange(len(lesson.setting.common))
    fresh = lesson.source.net.start()
    before, after = (lesson.source.latent(part, places) for part in (fresh, lesson.state.part))
    k = features(s.xb[s.common], 0, lesson.source.rules.key)
    start = np.random.default_rng(0).standard_normal(lesson.w.shape) / np.sqrt(len(lesson.w))
    axes = np.linalg.svd(after - after.mean(axis=0), full_matrices=False)[2][:2]
    figure, grid = plt.subplots(2, 2, figsize=(8, 7), constrained_layout=True)
    names = (("source, before", "source, trained"), ("target, before", "target, taught"))
    for row, pair in enumerate(((before, after), (k @ start, k @ lesson.w))):
        for column, found in enumerate(pair):
            flat = (found - found.mean(axis=0)) @ axes.T
            ax = grid[row][column]
            for label, colour in ((0, "#4477aa"), (1, "#ee6677")):
                at = s.y[s.common] == label
                ax.scatter(*flat[at].T, s=4, alpha=0.5, c=colour, label=("pays", "defaults")[label], linewidths=0)
            ax.set_title(names[row][column], fontsize=10)
            ax.set_xticks([])
            ax.set_yticks([])
    grid[0][0].legend(markerscale=3, fontsize=8)
    figure.savefig(path, dpi=110)


def room(found: dict[str, float]) -> float:
    """What there is to gain over training alone, by whatever teaching."""
    return max(found["ceiling"] - found["alone"], 1e-9)


def options(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--plot", type=Path, help="draw the latent spaces into this PNG")


def main() -> None:
    args: argparse.Namespace = parse_args(__doc__, options)
    torch.set_num_threads(1)
    folder = args.data or Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    if not (folder / FILE).exists():
        print(f"skipped: {folder / FILE} is not there (--data DIR)")
        return
    xa, xb, y = load(folder)
    key = generate(2048, os.urandom)
    seeds = (0,) if args.quick else (0, 1, 2)
    ways = ("alone", "ceiling", "joint", "taught", "sealed", "dp 1", "dp 2", "sealed dp 1", "sealed dp 2")
    rows, found, ceiling = [], {}, {}
    for share in SHARES:
        runs: dict[str, list[float]] = {way: [] for way in ways}
        for seed in seeds:
            s = Setting(xa, xb, y, share, seed)
            runs["alone"].append(s.alone(s.common))
            runs["ceiling"].append(ceiling.setdefault(seed, s.alone(s.rest)))
            runs["joint"].append(s.joint())
            for way in ways[3:]:
                level, noise = int("sealed" in way), float(way.split()[-1]) if "dp" in way else 0.0
                value, lesson = s.taught(level, noise, key if level else None)
                runs[way].append(value)
                if args.plot and way == "taught" and share == SHARES[-1] and seed == seeds[0]:
                    draw(lesson, args.plot)
        found[share] = {way: float(np.mean(values)) for way, values in runs.items()}
        rows.append({"common people": f"{share:.0%} ({round(share * SOURCE_ROWS)})", **found[share]})
    table(rows)
    for share in SHARES:
        gain = found[share]["taught"] - found[share]["alone"]
        bar(f"{share:.0%} in common, taught minus alone, AUC", gain, 0.02)
        bar(f"{share:.0%} in common, part of the gap to the ceiling closed", gain / room(found[share]), 0.75)
    worst = max(abs(found[share]["taught"] - found[share]["sealed"]) for share in SHARES)
    bar("sealed and taught differ by, AUC", worst, 0.01, at_least=False)
    write_json(args, rows)


if __name__ == "__main__":
    main()
