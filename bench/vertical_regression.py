"""Encrypted regression over split columns: what encryption costs, and what it is worth. Two or three simulated Peers.

    plain       the same job, parties, turns and signed messages, with numbers sent as they are
    encrypted   Paillier, 2048 bits, without a third party; `third`: with one that holds the keys; `short`: exponents of
                256 bits by explicit choice

Times are processor seconds of all parties together (they run in one thread). An epoch's is what one more epoch takes;
columns are sealed once, before the first, which is told apart. FATE 2.0 publishes 142 s against 19 s with its mock
cipher for an epoch of 100,000 x 330 (7.5 times, coordinated LR; 1,420 against 190 microseconds a row on 16 cores). That
is a ratio of whole systems, so its bar is on parties over HTTP with a disk each, in wall time; in the simulator, where
the plain side has nothing but arithmetic, it says how much lighter that is, and microseconds a row stand beside it.
Accuracy: FATE's breast_hetero, and default of credit card clients in three parties against central regression.
"""

import argparse
import asyncio
import csv
import gzip
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
from harness import add_data, bar, parse_args, table, write_json
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from p2pfl.core.noise import Key
from p2pfl.core.party import Emit
from p2pfl.crypto.paillier_keys import PrivateKey, generate
from p2pfl.hosts.http import HttpHost
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.runs.coordinated import Coordinated, peer_of, simulate
from p2pfl.vertical.data.metrics import auc
from p2pfl.vertical.hetero.feature import FeatureHolder
from p2pfl.vertical.hetero.label import LabelHolder
from p2pfl.vertical.hetero.linear import Regression, plain_step
from p2pfl.vertical.hetero.rules import Rules
from p2pfl.vertical.hetero.sums import PaillierSums, Sums
from p2pfl.vertical.turns.answers import Answerer
from p2pfl.vertical.turns.coordinator import Coordinator
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.messages import Accord
from p2pfl.vertical.turns.opener import KeyHolder
from p2pfl.wire.keyfile import Signer

Floats = NDArray[np.float64]
Columns = list[Floats]
SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(6)]
SIDES = ("plain", "encrypted", "third", "short")
CREDIT = "credit-default/uci_credit_card.csv.gz"


class PlainSums:
    """Sums of numbers that are not sealed."""

    def __init__(self, party: int, holds: bool) -> None:
        self.key = bytes([party + 1]) if holds else b""

    def turn(self, key: Key) -> None: ...

    def own_key(self) -> bytes:
        return self.key

    def check_key(self, raw: bytes) -> None: ...

    def learn_keys(self, keys: Sequence[bytes]) -> None: ...

    def seal_columns(self, key: int, x: Floats) -> bytes:
        return x.tobytes()

    def hold(self, key: int, blob: bytes, shape: tuple[int, int]) -> Floats:
        return np.frombuffer(blob).reshape(shape)

    def cross(self, key: int, held: Floats, rows: Sequence[int], s: Floats) -> bytes:
        found: bytes = (held[rows].T @ s).tobytes()
        return found

    def seal_sums(self, key: int, values: Floats) -> bytes:
        return values.tobytes()

    def seal_mask(self, key: int, num: int, seed: Key) -> bytes:
        return np.zeros(num).tobytes()

    def add(self, key: int, blobs: Sequence[bytes], num: int) -> bytes:
        found: bytes = np.sum([np.frombuffer(blob) for blob in blobs], axis=0).tobytes()
        return found

    def open_own(self, blob: bytes, num: int) -> Floats:
        return np.frombuffer(blob)

    def open_masked(self, blob: bytes) -> bytes:
        return blob

    def unmask(self, blob: bytes, num: int, seed: Key) -> Floats:
        return np.frombuffer(blob)


class Job:
    """All parties of one regression."""

    def __init__(
        self, x: Columns, y: NDArray[np.int64], rules: Rules, keys: Sequence[PrivateKey], side: str, third: bool
    ) -> None:
        k = len(x)
        self.rules = rules
        names = tuple((f"party {i}", SIGNERS[i].node) for i in range(k + third))
        self.accord = Accord("bench", names, rules.digest, third)

        def sums(party: int) -> Sums:
            holds = party == k if third else True
            if side == "plain":
                return PlainSums(party, holds)  # type: ignore[return-value]
            ring = Keyring(2048, (party, keys[party % len(keys)]) if holds else None, rules.exponent_bits)
            return PaillierSums(rules.product, ring)  # type: ignore[return-value]

        self.label = LabelHolder(self.accord, rules, x[0], y, sums(0))
        self.features = [FeatureHolder(self.accord, rules, i, x[i], sums(i)) for i in range(1, k)]
        self.opener = [KeyHolder(sums(k))] if third else []

    def run(self) -> Coordinated:
        works = [*self.features, *self.opener]
        result = simulate(self.accord, SIGNERS[: len(self.accord.parties)], self.label, works)
        assert all(stop.code == 0 for stop in result.stopped.values()), result.stopped
        return result

    def columns(self) -> Floats:
        return np.column_stack([self.label.x, *(party.x for party in self.features)])

    def error(self, result: Coordinated) -> float:
        """The largest difference of an activation from plain training with all columns in one place."""
        x, w = self.columns(), np.zeros(self.columns().shape[1])
        batches, y = self.label.batches, self.label.target + 0.5
        for step in range(self.rules.num_steps):
            rows = batches.train[batches.places(step)]
            w, _ = plain_step(self.rules.spec, w, x[rows], y[rows])
        ours = np.concatenate([state.w for state in result.states if state is not None])
        return float(np.abs(x @ (ours - w)).max())


def timed(x: Columns, y: NDArray[np.int64], keys: Sequence[PrivateKey], side: str, batch: int) -> dict[str, float]:
    """Seconds of one more epoch, of what comes before the first, and bytes of one more epoch."""
    spent, sent = [], []
    for epochs in (1, 11):
        rules = Rules(Regression(), len(y), batch, epochs, 0.05, exponent_bits=256 if side == "short" else None)
        job = Job(x, y, rules, keys, side, side == "third")
        start = process_time()
        result = job.run()
        spent.append(process_time() - start)
        sent.append(float(result.bytes_sent))
    epoch = (spent[1] - spent[0]) / 10
    return {"epoch s": epoch, "before s": max(spent[0] - epoch, 0.0), "epoch MB": (sent[1] - sent[0]) / 1e7}


def costs(
    name: str, x: Columns, y: NDArray[np.int64], keys: Sequence[PrivateKey], batch: int, sides: Sequence[str]
) -> list[dict[str, object]]:
    found = {side: timed(x, y, keys, side, batch) for side in sides}
    plain = found["plain"]["epoch s"]
    return [
        {
            "job": name,
            "side": side,
            **f,
            "us a row": f["epoch s"] / (0.95 * len(y)) * 1e6,
            "of plain": f["epoch s"] / plain,
        }
        for side, f in found.items()
    ]


async def hosts(job: Job, folder: Path) -> list[float]:
    """The parties over HTTP, each with its own port, threads and disk. Returns when each epoch ended."""
    ended: list[float] = []

    def on_emit(emit: Emit) -> None:
        if emit.name == "epoch":
            ended.append(perf_counter())

    jobs: list[Coordinator | Answerer] = [Coordinator(job.accord, job.label)]
    jobs += [Answerer(job.accord, i, work) for i, work in enumerate(job.features, start=1)]
    works: list[Any] = [job.label, *job.features]
    with ExitStack() as held:
        taken = [held.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in works]
        ports = [one.getsockname()[1] for one in taken]
    addresses = {SIGNERS[i].node: f"http://127.0.0.1:{port}" for i, port in enumerate(ports)}
    parties = [
        HttpHost(
            peer_of(job.accord, SIGNERS[i], jobs[i]),
            works[i],
            SqliteStore(folder / f"{i}.db"),
            addresses,
            ("127.0.0.1", ports[i]),
            os.urandom(32),
            on_emit,
        )
        for i in range(len(works))
    ]
    stops = await asyncio.gather(*(host.run() for host in parties))
    assert {stop.code for stop in stops} == {0}, stops
    return ended


def over_http(x: Columns, y: NDArray[np.int64], keys: Sequence[PrivateKey], repeats: int) -> dict[str, float]:
    """Seconds of wall time of one more epoch, by side: the median over all but the first; sides take turns."""
    found: dict[str, list[float]] = {side: [] for side in ("plain", "encrypted", "short")}
    for _ in range(repeats):
        for side, seconds in found.items():
            rules = Rules(Regression(), len(y), 256, 10, 0.05, exponent_bits=256 if side == "short" else None)
            job = Job(x, y, rules, keys, side, False)
            with TemporaryDirectory() as folder:
                ended = asyncio.run(hosts(job, Path(folder)))
            seconds += np.diff(ended[1:]).tolist()
    return {side: median(seconds) for side, seconds in found.items()}


def read(path: Path) -> Floats:
    with gzip.open(path, "rt") as file:
        return np.array(list(csv.reader(file))[1:], np.float64)


def breast(folder: Path) -> tuple[Columns, NDArray[np.int64]]:
    guest, host = (read(folder / "fate-vfl" / f"breast_hetero_{side}.csv.gz") for side in ("guest", "host"))
    guest, host = guest[np.argsort(guest[:, 0])], host[np.argsort(host[:, 0])]
    return [guest[:, 2:], host[:, 1:]], guest[:, 1].astype(np.int64)


def credit(folder: Path, rows: int | None) -> tuple[Columns, NDArray[np.int64]]:
    data = read(folder / CREDIT)[:rows]
    return [data[:, 1:6], data[:, 6:12], data[:, 12:24]], data[:, 24].astype(np.int64)


def wide(rows: int) -> tuple[Columns, NDArray[np.int64]]:
    """As wide as FATE's: 330 columns."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 330))
    return [x[:, :30], x[:, 30:]], (x[:, 0] + x[:, 40] > 0).astype(np.int64)


def accuracy(folder: Path, keys: Sequence[PrivateKey], quick: bool) -> None:
    x, y = breast(folder)
    for third in (False, True):
        rules = Rules(Regression(rate=0.2), len(y), 128, 6, exponent_bits=256)
        job = Job(x, y, rules, keys, "short", third)
        result = job.run()
        w = np.concatenate([state.w for state in result.states if state is not None])
        who = "with a third party" if third else "without"
        bar(f"breast_hetero, {who}, AUC over all rows", auc(y, job.columns() @ w), 0.99)
        bar(f"breast_hetero, {who}, AUC of rows held out", float(result.metrics["auc"] or 0.0), 0.99)
        bar(f"breast_hetero, {who}, largest difference of an activation", job.error(result), 1e-3, at_least=False)
    x, y = credit(folder, 6000 if quick else None)
    rules = Rules(Regression(rate=0.1), len(y), 256, 8 if quick else 2, exponent_bits=256)
    job = Job(x, y, rules, keys, "short", False)
    result = job.run()
    train, test, whole = job.label.batches.train, job.label.batches.test, np.concatenate(x, axis=1)
    whole = (whole - whole[train].mean(axis=0)) / whole[train].std(axis=0)
    central = LogisticRegression(max_iter=1000).fit(whole[train], y[train])
    wanted, found = auc(y[test], whole[test] @ central.coef_[0]), float(result.metrics["auc"] or 0.0)
    print(f"default of credit card clients, three parties: AUC {found:.4f}, central {wanted:.4f}")
    bar("default of credit card clients, central minus ours, AUC", wanted - found, 0.005, at_least=False)
    bar("the same, largest difference of an activation", job.error(result), 1e-3, at_least=False)


def main() -> None:
    args: argparse.Namespace = parse_args(__doc__, add_data)
    folder = args.data or Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    keys = [generate(2048, os.urandom) for _ in range(3)]
    two, y = credit(folder, 1078 if args.quick else 8623)  # whole batches of 1024
    rows = costs("credit 11 x 12", [np.column_stack(two[:2]), two[2]], y, keys, 1024, SIDES)
    sides = ("plain", "short") if args.quick else SIDES
    rows += costs("wide 30 x 300", *wide(270 if args.quick else 4311), keys, 256 if args.quick else 1024, sides)
    table(rows)  # type: ignore[arg-type]
    print()
    sealed = next(row for row in rows if row["job"] == "wide 30 x 300" and row["side"] == "short")
    bar("wide, short: microseconds a row and epoch", float(str(sealed["us a row"])), 1420, at_least=False)
    wall = over_http([np.column_stack(two[:2])[:1078], two[2][:1078]], y[:1078], keys, 2 if args.quick else 5)
    print(f"over HTTP, two parties, an epoch of 1,024 rows: {', '.join(f'{n} {s:.3f} s' for n, s in wall.items())}")
    for side in ("encrypted", "short"):
        bar(f"over HTTP, {side}: an epoch, of plain", wall[side] / wall["plain"], 7.5, at_least=False)
    accuracy(folder, keys, args.quick)
    write_json(args, rows)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
