"""Encrypted kinds of a job, aligned over Peers in virtual time, saved as files, and used again for prediction."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.vertical_keys import FILE, private_key
from p2pfl.runs.vertical_party import Member
from p2pfl.runs.vertical_saved import read_part, write_part
from p2pfl.runs.vertical_scoring import predictor
from p2pfl.runs.vertical_training import holds_key, key_holder, trainer
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.data.columns import TableSpec
from p2pfl.vertical.data.metrics import binary_metrics, number_metrics
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.data.table import load_table
from p2pfl.vertical.job.agreement import Agreement, Encryption
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEYS = [PrivateKey(int(k["p"], 16), int(k["q"], 16)) for k in VECTORS["keys"]]
SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(3)]
NAMES = ("shop", "bank")
PEOPLE = 120


def agreement_of(kind: str, third: bool, purpose: str = "train") -> Agreement:
    parties = tuple((name, signer.node) for name, signer in zip(NAMES, SIGNERS, strict=False))
    level, widths = (1, (4, 4)) if kind == "split" else (0, (1, 1))
    encryption = Encryption(("keys", SIGNERS[2].node) if third else None, rate=0.5)
    return Agreement(
        "test", parties, Terms("test", NAMES), widths, RowGuard(4.0), RowGuard(1.0), purpose=purpose,  # type: ignore[arg-type]
        kind=kind, level=level, encryption=encryption, batch=96, epochs=2, lr=0.02, hidden=6, top_hidden=3,  # type: ignore[arg-type]
        patience_s=3000.0, timeout_s=300.0,
    )  # fmt: skip


def write_tables(folder: Path, kind: str) -> list[Path]:
    draw = np.random.default_rng(2)
    x = draw.standard_normal((PEOPLE, 4))
    score = x[:, 0] + x[:, 2] - x[:, 3]
    y = [f"{v:.3f}" for v in 50 + 10 * score] if kind == "linear" else [str(int(v > 0)) for v in score]
    paths = [folder / f"{name}.csv" for name in NAMES]
    for party, path in enumerate(paths):
        lines = ["id,a,b" + (",y" if party == 0 else "")]
        for row in draw.permutation(PEOPLE):
            cells = [f"P-{row}", f"{x[row, 2 * party]:.4f}", f"{x[row, 2 * party + 1]:.4f}"]
            lines.append(",".join([*cells, *([y[row]] if party == 0 else [])]))
        path.write_text("\n".join(lines) + "\n")
    return paths


def together(members: list[Member], agreement: Agreement) -> None:
    host = SimHost(0)
    for member in members:
        host.add(member.signer.node, member.peer, member.work, MemoryStore)
    if agreement.encryption.third is not None and (agreement.purpose == "train" or agreement.level):
        peer, work, _ = key_holder(agreement, SIGNERS[2], KEYS[0])
        host.add(SIGNERS[2].node, lambda: peer, work, MemoryStore)
    stops = host.run(1e7).stopped
    assert {stop.code for stop in stops.values()} == {0}, [stop.reason for stop in stops.values()]


def key_of(agreement: Agreement, party: int) -> PrivateKey | None:
    return KEYS[party % 2] if holds_key(agreement, SIGNERS[party].node) else None


@pytest.mark.parametrize("third", [False, True])
@pytest.mark.parametrize("kind", ["split", "logistic", "linear"])
def test_what_was_trained_encrypted_is_saved_and_predicts(tmp_path: Path, kind: str, third: bool) -> None:
    paths = write_tables(tmp_path, kind)
    specs = [TableSpec(paths[0], label="y", regression=kind == "linear"), TableSpec(paths[1])]
    agreement = agreement_of(kind, third)
    members = [trainer(agreement, SIGNERS[i], load_table(spec), key_of(agreement, i)) for i, spec in enumerate(specs)]
    together(members, agreement)
    report: dict[str, Any] = {}
    for i, member in enumerate(members):
        running = member.running
        assert running is not None
        assert running.done()
        (tmp_path / NAMES[i]).mkdir()
        write_part(tmp_path / NAMES[i], agreement, i, running.table.encoder, running.table.x.shape[1], running.arrays())
        report = report or running.report()
    again = agreement_of(kind, third, "predict")
    new = []
    for i, spec in enumerate(specs):
        saved = read_part(tmp_path / NAMES[i], again, i)
        key = key_of(again, i) if again.level else None
        new.append(predictor(again, SIGNERS[i], load_table(spec, saved.encoder), saved, False, key))
    together(new, again)
    found, tested = new[0].running, held_out(members[0])
    assert found is not None
    assert found.table.y is not None
    scores = found.scores()
    assert scores is not None
    places = [place for place, text in enumerate(found.table.ids) if text in tested]
    metrics = number_metrics if kind == "linear" else binary_metrics
    for name, value in metrics(found.table.y[places], scores[places].astype(np.float64)).items():
        assert value == pytest.approx(report[name], rel=2e-3), name


def held_out(member: Member) -> set[str]:
    """Ids that the training scored and did not train on."""
    work: Any = member.work.next
    assert member.running is not None
    return {member.running.table.ids[row] for row in work.batches.test}


def test_a_part_of_another_party_or_kind_is_refused(tmp_path: Path) -> None:
    agreement = agreement_of("logistic", False)
    table = load_table(TableSpec(write_tables(tmp_path, "logistic")[1]))
    write_part(tmp_path, agreement, 1, table.encoder, 2, {})
    with pytest.raises(ConfigError, match="expected the part of shop, label holder"):
        read_part(tmp_path, agreement, 0)
    with pytest.raises(ConfigError, match=r"\(split, level 1\), got"):
        read_part(tmp_path, agreement_of("split", False), 1)
    again = agreement_of("logistic", False, "predict")
    saved = read_part(tmp_path, again, 1)
    with pytest.raises(ConfigError, match="expected a part with w of 2 numbers"):
        predictor(again, SIGNERS[1], table, saved, False)


def test_a_private_key_is_made_once_and_is_of_no_use_to_others(tmp_path: Path) -> None:
    key = private_key(tmp_path, SIGNERS[0], 2048)
    assert private_key(tmp_path, SIGNERS[0], 2048).p == key.p
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert int(key.p).to_bytes(128, "big") not in (tmp_path / FILE).read_bytes()
    with pytest.raises(ConfigError, match="wrong or the file damaged"):
        private_key(tmp_path, SIGNERS[1], 2048)
    with pytest.raises(ConfigError, match="expected a key of 3072 bits"):
        private_key(tmp_path, SIGNERS[0], 3072)
