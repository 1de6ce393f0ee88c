"""Encrypted regression over Peers in virtual time: every step is the plain one, with a third party and without; faults
and crashes change no bit; what a party sends wrong ends the job for all and names it."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.core.noise import Key
from p2pfl.crypto.paillier_keys import PrivateKey, generate
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.runs.coordinated import Coordinated, simulate
from p2pfl.vertical.data.metrics import auc
from p2pfl.vertical.hetero.feature import FeatureHolder
from p2pfl.vertical.hetero.label import LabelHolder
from p2pfl.vertical.hetero.linear import Regression, plain_step
from p2pfl.vertical.hetero.rules import Rules
from p2pfl.vertical.hetero.sums import PaillierSums
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.messages import Accord, Reply
from p2pfl.vertical.turns.opener import KeyHolder
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEYS = [PrivateKey(int(k["p"], 16), int(k["q"], 16)) for k in VECTORS["keys"]]
SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(6)]
N = 200
DRAW = np.random.default_rng(3)
X = [DRAW.normal(size=(N, f)) for f in (2, 3, 3)]
Y = (sum(x[:, 0] for x in X) + DRAW.normal(size=N) > 0).astype(np.int64)


class Job:
    """One job's parties; `plain` takes the same steps with all columns in one place."""

    def __init__(
        self, k: int = 2, third: bool = False, kind: str = "logistic", x: Any = None, y: Any = None, **more: Any
    ):
        spec = Regression(kind, more.pop("rate", 0.2), more.pop("decay", 0.01))  # type: ignore[arg-type]
        self.x, self.y = (X[:k], Y) if x is None else (x, y)
        batch, epochs = more.pop("batch", 80), more.pop("epochs", 2)
        self.rules = Rules(spec, len(self.y), batch, epochs, exponent_bits=256, **more)
        names = [(f"party {i}", SIGNERS[i].node) for i in range(k + third)]
        self.accord = Accord("test", tuple(names), self.rules.digest, third)
        self.keys = [None if third else KEYS[i % 2] for i in range(k)] + ([KEYS[0]] if third else [])
        self.label = LabelHolder(self.accord, self.rules, self.x[0], self.y, self.sums(0))
        self.works: list[Any] = [
            FeatureHolder(self.accord, self.rules, i, self.x[i], self.sums(i)) for i in range(1, k)
        ]
        self.works += [KeyHolder(self.sums(k))] if third else []

    def sums(self, party: int) -> PaillierSums:
        key = self.keys[party]
        return PaillierSums(self.rules.product, Keyring(2048, None if key is None else (party, key), 256))

    def run(self, faults: Faults | None = None, seed: int = 0) -> Coordinated:
        return simulate(self.accord, SIGNERS[: len(self.accord.parties)], self.label, self.works, seed, faults)

    def columns(self) -> np.ndarray:
        return np.column_stack([self.label.x, *(w.x for w in self.works if isinstance(w, FeatureHolder))])

    def plain(self) -> tuple[np.ndarray, list[float]]:
        spec, batches, x = self.rules.spec, self.label.batches, self.columns()
        w, losses = np.zeros(x.shape[1]), []
        y = self.label.target + (0.5 if spec.kind == "logistic" else 0.0)
        for step in range(self.rules.num_steps):
            rows = batches.train[batches.places(step)]
            w, loss = plain_step(spec, w, x[rows], y[rows])
            losses.append(loss)
        return w, losses


def weights(result: Coordinated) -> np.ndarray:
    return np.concatenate([state.w for state in result.states if state is not None])


def codes(result: Coordinated) -> list[int]:
    return [stop.code for stop in result.stopped.values()]


def emitted(result: Coordinated, name: str) -> list[Any]:
    return [emit.fields for _, emit in result.emitted if emit.name == name]


@pytest.mark.parametrize("third", [False, True])
@pytest.mark.parametrize("kind", ["logistic", "linear"])
@pytest.mark.parametrize("k", [2, 3])
def test_it_ends_where_plain_training_ends(k: int, kind: str, third: bool) -> None:
    y = Y if kind == "logistic" else X[0][:, 0] * 30 + X[1][:, 1] * 20 + 500
    job = Job(k, third, kind, X[:k], y)
    result = job.run()
    assert set(codes(result)) == {0}
    w, losses = job.plain()
    assert np.abs(job.columns() @ (weights(result) - w)).max() < 1e-3  # every activation
    assert result.states[0].losses == pytest.approx(losses, abs=1e-3)
    assert len(result.states[0].losses) == job.rules.num_steps
    name, bound = ("auc", 0.7) if kind == "logistic" else ("rmse", -40.0)
    assert abs(result.metrics[name] or 0.0) > bound


def test_its_metrics_are_those_of_all_columns_in_one_place() -> None:
    job = Job(3)
    result = job.run()
    z = job.columns()[job.label.batches.test] @ weights(result)
    assert result.states[0].scores / 0.25 == pytest.approx(z, abs=1e-3)


@pytest.fixture(scope="module")
def calm() -> Coordinated:
    return Job(3, epochs=1).run()


def test_loss_and_duplicates_change_nothing(calm: Coordinated) -> None:
    result = Job(3, epochs=1).run(Faults(request_loss=0.1, reply_loss=0.1, duplicate=0.2), seed=2)
    assert set(codes(result)) == {0}
    assert weights(result) == pytest.approx(weights(calm), abs=1e-4)


@pytest.mark.parametrize("party", [0, 1])
def test_a_party_that_is_killed_goes_on(calm: Coordinated, party: int) -> None:
    crash = Crash(SIGNERS[party].node, at=4.0, restart_after=20.0)
    result = Job(3, epochs=1).run(Faults(crashes=(crash,)))
    assert set(codes(result)) == {0}
    assert emitted(result, "resumed")
    assert weights(result) == pytest.approx(weights(calm), abs=1e-4)


@pytest.mark.parametrize("lie", ["group", "size", "other"])
def test_who_sends_no_ciphertext_is_named_at_all_parties(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    honest = PaillierSums.cross

    def cross(self: PaillierSums, key: int, *rest: Any) -> bytes:
        blob = honest(self, key, *rest)
        if self.ring._mine != (2, KEYS[0]):
            return blob
        return {"group": bytes(len(blob)), "size": blob[:-1], "other": self.ring.public(key).n.to_bytes(512, "big")}[
            lie
        ]

    monkeypatch.setattr(PaillierSums, "cross", cross)
    result = Job(3, epochs=1).run()
    assert codes(result) == [2, 2, 2]
    assert all("party 2" in stop.reason or "this party" in stop.reason for stop in result.stopped.values())
    assert {fields["reason"].split(":")[0] for fields in emitted(result, "blamed")} == {
        "paillier-size" if lie == "size" else "paillier-group"
    }


def test_a_key_that_opens_nothing_of_it_fails_loudly() -> None:
    job = Job(2, third=True, epochs=1)
    opener: Any = job.works[-1].opener
    opener.open_masked = Keyring(2048, (2, KEYS[1])).open_masked
    result = job.run()
    assert codes(result) == [2, 2, 2]
    assert {fields["reason"].split(":")[0] for fields in emitted(result, "blamed")} <= {
        "packing-range",
        "paillier-group",
    }


def test_a_key_of_another_size_is_refused() -> None:
    job = Job()
    other = generate(3072, lambda size: bytes(DRAW.integers(0, 256, size, np.uint8)))
    with pytest.raises(ConfigError, match="expected a key of 2048 bits, got 3072"):
        Keyring(2048, (1, other))
    job.works[0].sums.own_key = lambda: other.public.to_bytes()
    result = job.run()
    assert codes(result) == [2, 2]
    assert "paillier-key" in emitted(result, "blamed")[0]["reason"]


def test_training_ends_early_where_the_loss_no_longer_falls() -> None:
    job = Job(2, epochs=9, tolerance=0.5)
    result = job.run()
    assert set(codes(result)) == {0}
    assert len(result.states[0].losses) < job.rules.num_steps
    assert result.metrics["auc"] is not None


def test_requests_out_of_turn_are_the_label_holders_fault() -> None:
    job = Job()
    holder = job.works[0]
    for raw in (b"", b"\1\3\0\0\0\0\0", b"\2\0\0\0\0\0\0", b"\1\x09\0\0\0\0\0", b"\1\0\0\0\0\0\1"):
        fault = holder.run(Reply(holder.start(), raw, Key(bytes(32))))
        assert (fault.party, fault.code[:5]) == (0, "turn-")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"batch": 63}, "64 to 1024"),
        ({"rows": 150}, "at least 64 rows"),
        ({"test_fraction": 1.0}, "held out"),
        ({"epochs": 0}, "epochs"),
        ({"tolerance": -1.0}, "tolerance"),
    ],
)
def test_rules_that_are_none_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(Job().rules, **{"rows": 200, **change})


def test_a_key_holder_must_not_have_data_and_tables_must_fit() -> None:
    job = Job()
    (_, a), (_, b) = job.accord.parties
    with pytest.raises(ConfigError, match="must not be one that has data"):
        Accord("test", (("l", a), ("p", b), ("k", b)), bytes(32), third=True)
    with pytest.raises(ConfigError, match="200 aligned rows, got 199"):
        FeatureHolder(job.accord, job.rules, 1, X[1][:-1], job.sums(1))
    with pytest.raises(ConfigError, match="labels 0 and 1"):
        LabelHolder(job.accord, job.rules, X[0], Y + 1, job.sums(0))
    with pytest.raises(ConfigError, match="at least 2 columns"):
        FeatureHolder(job.accord, job.rules, 1, X[1][:, :1], job.sums(1))


def test_other_rules_are_refused_at_the_door() -> None:
    assert Job().accord.digest != Job(rate=0.3).accord.digest
    assert Job().accord.digest != Job(third=True).accord.digest


def read(path: Path) -> np.ndarray:
    with gzip.open(path, "rt") as file:
        return np.array(list(csv.reader(file))[1:], float)


@pytest.mark.slow
@pytest.mark.parametrize("third", [False, True])
def test_fates_breast_cancer(data_dir: Path, third: bool) -> None:
    """AUC >= 0.99 over all rows, every activation that of plain training with the same approximation to 1e-3."""
    guest = read(data_dir / "fate-vfl" / "breast_hetero_guest.csv.gz")
    host = read(data_dir / "fate-vfl" / "breast_hetero_host.csv.gz")
    guest, host = guest[np.argsort(guest[:, 0])], host[np.argsort(host[:, 0])]
    job = Job(2, third, x=[guest[:, 2:], host[:, 1:]], y=guest[:, 1].astype(np.int64), batch=128, epochs=4, decay=0.0)
    result = job.run()
    w, _ = job.plain()
    z = job.columns() @ weights(result)
    assert np.abs(z - job.columns() @ w).max() < 1e-3
    assert (result.metrics["auc"] or 0) >= 0.99


@pytest.mark.soak
def test_default_of_credit_card_clients(data_dir: Path) -> None:
    """Three parties: label holder LIMIT_BAL to AGE, one bank PAY_*, one BILL_AMT* and PAY_AMT*. AUC within 0.005."""
    from sklearn.linear_model import LogisticRegression

    data = read(data_dir / "credit-default" / "uci_credit_card.csv.gz")
    x, y = data[:, 1:24], data[:, 24].astype(np.int64)
    job = Job(3, x=[x[:, :5], x[:, 5:11], x[:, 11:]], y=y, batch=256, rate=0.1, decay=0.0)
    result = job.run()
    train, test = job.label.batches.train, job.label.batches.test
    scaled = (x - x[train].mean(0)) / x[train].std(0)
    central = LogisticRegression(max_iter=1000).fit(scaled[train], y[train])
    wanted = auc(y[test], scaled[test] @ central.coef_[0])
    assert (result.metrics["auc"] or 0) >= wanted - 0.005
    w, _ = job.plain()
    assert np.abs(job.columns() @ (weights(result) - w)).max() < 1e-3
