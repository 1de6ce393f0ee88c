"""Encrypted regression over split columns is the plain one with the same approximation; wrong bytes are refused."""

import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from p2pfl.crypto.paillier import HolderEncryptor, PublicEncryptor
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError, Reject
from p2pfl.vertical.linear import Regression, plain_step, prepared
from p2pfl.vertical.linear_parties import FeatureHolder, LabelHolder, Opener
from p2pfl.vertical.metrics import auc

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEY_A, KEY_B = (PrivateKey(int(k["p"], 16), int(k["q"], 16)) for k in VECTORS["keys"])
ENCRYPTORS = {
    (kind, key.public): make
    for key in (KEY_A, KEY_B)
    for kind, make in (
        ("holder", HolderEncryptor(key, os.urandom, 256)),
        ("public", PublicEncryptor(key.public, os.urandom, 256)),
    )
}


class Table:
    """All parties of one job, joined by hand; `third`: one holder of both keys, who has no data."""

    def __init__(self, spec: Regression, own: np.ndarray, y: np.ndarray, others: list[np.ndarray], third: bool) -> None:
        self.third = third
        a, b = (KEY_B, KEY_B) if third else (KEY_A, KEY_B)
        outside = {"a": ENCRYPTORS["public", a.public], "b": ENCRYPTORS["public", b.public]}
        at_label = outside if third else {**outside, "a": ENCRYPTORS["holder", a.public]}
        self.label = LabelHolder(spec, own, y, entropy=os.urandom, **at_label)
        self.features = [FeatureHolder(spec, x, entropy=os.urandom, **outside) for x in others]
        if not third:
            self.features[0].b = ENCRYPTORS["holder", b.public]
        self.opener_a, self.opener_b = Opener(spec, a), Opener(spec, b)

    def step(self, batch: np.ndarray) -> float:
        for party in (self.label, *self.features):
            party.begin(batch)
        chain = self.label.start()
        for party in self.features:
            chain = party.extend(chain)
        scores = [] if self.third else [party.score() for party in self.features]
        squares = []
        for party in self.features:
            answer = self.opener_a.answer(party.ask(chain), len(party.w))
            squares.append(party.learn(answer))
        asked = self.label.ask(chain, squares) if self.third else self.label.ask_from_scores(scores, squares)
        return self.label.learn(self.opener_b.answer(asked, len(self.label.w) + 1))

    def weights(self) -> np.ndarray:
        return np.concatenate([self.label.w, *(party.w for party in self.features)])

    def columns(self) -> np.ndarray:
        return np.column_stack([self.label.x, *(party.x for party in self.features)])


def made(seed: int, rows: int = 80) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 9))
    y = (x @ rng.normal(size=9) + rng.normal(size=rows) > 0).astype(float)
    return x[:, :2], [x[:, 2:5], x[:, 5:]], y


@pytest.mark.parametrize("third", [False, True])
@pytest.mark.parametrize("kind", ["logistic", "linear"])
@pytest.mark.parametrize("parties", [1, 2])
def test_every_step_is_the_plain_one(kind: str, third: bool, parties: int) -> None:
    spec = Regression(kind, 0.2, 0.01)  # type: ignore[arg-type]
    own, others, y = made(3)
    table = Table(spec, own, y, others[:parties], third)
    x, w = table.columns(), np.zeros(len(table.weights()))
    rng = np.random.default_rng(0)
    for _ in range(3):
        batch = rng.permutation(len(y))[:64]
        loss = table.step(batch)
        w, plain_loss = plain_step(spec, w, x[batch], y[batch])
        assert loss == pytest.approx(plain_loss, abs=1e-3)
        assert np.abs(x @ table.weights() - x @ w).max() < 1e-3


def test_the_plain_step_goes_down_the_taylor_loss() -> None:
    own, others, y = made(1)
    x, spec = prepared(np.column_stack([own, *others]), 3.0), Regression("logistic", 1e-6)
    w = np.full(9, 0.1)
    z, sign = x @ w, 2 * y - 1
    after, loss = plain_step(spec, w, x, y)
    assert loss == pytest.approx(float(np.mean(np.log(2) - sign * z / 2 + z * z / 8)))
    slope = x.T @ (z / 4 - sign / 2) / len(y)
    assert (w - after) / 1e-6 == pytest.approx(slope, rel=1e-4)


def test_an_answer_under_another_key_or_twice_is_refused() -> None:
    own, others, y = made(5)
    spec = Regression()
    table = Table(spec, own, y, others[:1], False)
    batch, party = np.arange(64), table.features[0]
    for one in (table.label, party):
        one.begin(batch)
    asked = party.ask(party.extend(table.label.start()))
    with pytest.raises(Reject, match=r"packing-range|paillier-group"):
        party.learn(Opener(spec, KEY_B).answer(asked, 3))
    party.learn(table.opener_a.answer(asked, 3))
    with pytest.raises(Reject, match="none were asked for"):
        party.learn(table.opener_a.answer(asked, 3))
    with pytest.raises(Reject, match="paillier-size"):
        party.extend(b"\1" * 512)


def test_what_cannot_be_trained_is_named() -> None:
    own, others, y = made(5)
    with pytest.raises(ConfigError, match="at least 2 columns"):
        Table(Regression(), own, y, [others[0][:, :1]], False)
    with pytest.raises(ConfigError, match="labels 0 and 1"):
        Table(Regression(), own, y + 1, others, False)
    with pytest.raises(ConfigError, match="64 to 1024 rows, got 63"):
        Table(Regression(), own, y, others, False).step(np.arange(63))
    with pytest.raises(ConfigError, match="rate"):
        Regression(rate=0.0)
    with pytest.raises(ConfigError, match="0 < clip <= 16"):
        Regression(clip=17.0)
    with pytest.raises(ConfigError, match=r"features within 16 of 0 .*, got nan"):
        Table(Regression(), own * np.nan, y, others, False)


def test_training_stops_where_the_loss_no_longer_falls() -> None:
    own, others, y = made(5)
    label = Table(Regression(), own, y, others, False).label
    label.tolerance = 1e-3
    label.losses = [0.7, 0.6, 0.5, 0.4]
    assert not label.converged(2)
    label.losses += [0.45, 0.35, 0.4, 0.4]
    assert label.converged(2)


def read(path: Path) -> tuple[list[str], np.ndarray]:
    with gzip.open(path, "rt") as file:
        rows = list(csv.reader(file))
    return rows[0], np.array(rows[1:], float)


@pytest.mark.slow
@pytest.mark.parametrize("third", [False, True])
def test_fates_breast_cancer(data_dir: Path, third: bool) -> None:
    """AUC >= 0.99, and every activation that of plain training with the same approximation to 1e-3."""
    _, guest = read(data_dir / "fate-vfl" / "breast_hetero_guest.csv.gz")
    _, host = read(data_dir / "fate-vfl" / "breast_hetero_host.csv.gz")
    guest, host = guest[np.argsort(guest[:, 0])], host[np.argsort(host[:, 0])]
    assert (guest[:, 0] == host[:, 0]).all()
    spec, y = Regression("logistic", 0.2), guest[:, 1]
    table = Table(spec, guest[:, 2:], y, [host[:, 1:]], third)
    x, w = table.columns(), np.zeros(31)
    rng = np.random.default_rng(0)
    for _ in range(4):
        order = rng.permutation(len(y))
        for at in range(0, len(y) - 64, 128):
            batch = order[at : at + 128]
            table.step(batch)
            w, _loss = plain_step(spec, w, x[batch], y[batch])
    z = x @ table.weights()
    print(f"AUC {auc(y.astype(int), z):.4f}")
    assert np.abs(z - x @ w).max() < 1e-3
    assert auc(y.astype(int), z) >= 0.99


@pytest.mark.soak
def test_default_of_credit_card_clients(data_dir: Path) -> None:
    """Three parties: label holder LIMIT_BAL to AGE, one bank PAY_*, one BILL_AMT* and PAY_AMT*. AUC within 0.005."""
    from sklearn.linear_model import LogisticRegression

    _, data = read(data_dir / "credit-default" / "uci_credit_card.csv.gz")
    x, y = data[:, 1:24], data[:, 24]
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:24000], order[24000:]
    x = (x - x[train].mean(0)) / x[train].std(0)
    central = LogisticRegression(max_iter=1000).fit(x[train], y[train])
    wanted = auc(y[test].astype(int), x[test] @ central.coef_[0])
    table = Table(Regression("logistic", 0.1), x[:, :5], y, [x[:, 5:11], x[:, 11:]], False)
    rng = np.random.default_rng(1)
    for _ in range(2):
        mixed = rng.permutation(train)
        for at in range(0, len(mixed) - 64, 256):
            table.step(mixed[at : at + 256])
    found = auc(y[test].astype(int), table.columns()[test] @ table.weights())
    print(f"AUC {found:.4f}, central {wanted:.4f}")
    assert found >= wanted - 0.005
