"""Federated transfer learning: the arithmetic, both levels over Peers in virtual time, what hostile ends send."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.config.vertical import load_job
from p2pfl.core.noise import Key
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError, Reject
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.vertical_party import Member
from p2pfl.runs.vertical_saved import read_part, write_part
from p2pfl.runs.vertical_training import holds_key, trainer
from p2pfl.runs.vertical_transfer import score_alone
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.data.columns import TableSpec
from p2pfl.vertical.data.metrics import auc
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.data.table import load_table
from p2pfl.vertical.job.agreement import Agreement, Encryption
from p2pfl.vertical.latent import lesson
from p2pfl.vertical.latent.lesson import Direction
from p2pfl.vertical.latent.rules import Rules, Transfer
from p2pfl.vertical.latent.source import Source, SourceTable
from p2pfl.vertical.latent.target import Target
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.messages import Fault, Move, Replied, Reply, pack_answer, pack_request
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEY = PrivateKey(*(int(VECTORS["keys"][0][prime], 16) for prime in ("p", "q")))
SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(2)]
NAMES = ("bank", "shop")
PEOPLE, COMMON, WIDTH = 600, 160, 4


def agreement_of(level: int = 0, noise: float = 0.0, **transfer: Any) -> Agreement:
    parties = tuple((name, signer.node) for name, signer in zip(NAMES, SIGNERS, strict=True))
    return Agreement(
        "test", parties, Terms("test", NAMES), (WIDTH, WIDTH), RowGuard(8.0), RowGuard(0.1, noise), kind="transfer",
        level=level, encryption=Encryption(noise=noise), transfer=Transfer(**transfer), batch=64, epochs=12, lr=0.02,
        test_fraction=0.3, hidden=8, patience_s=3000.0, timeout_s=300.0,
    )  # fmt: skip


def people() -> tuple[np.ndarray, np.ndarray]:
    """x (n, 5): two columns of the source, three of the target, of which two say the same more noisily."""
    draw = np.random.default_rng(5)
    cause = draw.standard_normal((PEOPLE, 2))
    x = np.column_stack([cause, cause + draw.standard_normal((PEOPLE, 2)), draw.standard_normal(PEOPLE)])
    y = (cause.sum(axis=1) + 0.3 * draw.standard_normal(PEOPLE) > 0).astype(np.int64)
    return x.astype(np.float32), y


def halves(level: int = 0, noise: float = 0.0, **transfer: Any) -> tuple[Source, Target, Agreement]:
    """Source and target as works, over rows that are aligned already."""
    agreement = agreement_of(level, noise, **transfer)
    rules = Rules(agreement.plan(COMMON), agreement.transfer, level == 1, noise)
    x, y = people()
    rings = [Keyring(2048, (0, KEY)), Keyring(2048, None)] if level else [None, None]
    table = SourceTable(torch.from_numpy(x[:, :2].copy()), y, np.arange(COMMON))
    source = Source(agreement.accord, rules, table, rings[0])
    return source, Target(agreement.accord, rules, x[:COMMON, 2:], rings[1]), agreement


def play(source: Source, target: Target) -> tuple[Any, Any]:
    """All turns, states packed and unpacked after each; both ends' last states."""
    key = Key(bytes(range(32)))
    (mine, requests), theirs = source.start(), target.start()
    while requests:
        replied = target.run(Reply(theirs, pack_request(requests[1]), key))
        assert isinstance(replied, Replied), replied
        theirs = target.unpack(target.pack(replied.state), {})
        moved = source.run(Move(mine, {1: replied.answer}, key))
        assert not isinstance(moved, Fault), moved
        mine, requests = source.unpack(source.pack(moved.state), {}), moved.requests
    return mine, theirs


# ----------------------------------------------------------------------------------------------- arithmetic


@given(seed=st.integers(0, 1 << 32), alignment=st.floats(0.01, 2.0), ridge=st.floats(1e-4, 1.0))
@settings(max_examples=30, deadline=None)
def test_no_other_weights_have_a_smaller_loss(seed: int, alignment: float, ridge: float) -> None:
    draw = np.random.default_rng(seed)
    n, num, d = 40, 5, 3
    k, a, y = draw.standard_normal((n, num)), draw.uniform(-1, 1, (n, d)), draw.integers(0, 2, n)
    phi = draw.standard_normal(d)
    direction = Direction(phi / np.linalg.norm(phi), 10.0)
    sums = k.T @ lesson.lessons(direction, a, y, alignment)
    w = lesson.fitted(k, sums, direction, alignment, ridge)

    def total(w: np.ndarray) -> float:
        return lesson.loss(k @ w, a, y, direction.phi, alignment) + ridge / 2 * float(np.square(w).sum())

    least = total(w)
    for _ in range(8):
        assert total(w + 1e-2 * draw.standard_normal(w.shape)) > least


@given(seed=st.integers(0, 1 << 32), length=st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_no_lesson_and_no_row_is_longer_than_agreed(seed: int, length: float) -> None:
    draw = np.random.default_rng(seed)
    direction = Direction(np.array([1.0, 0.0]), 0.6)
    taught = lesson.lessons(direction, length * draw.standard_normal((20, 2)), draw.integers(0, 2, 20), 0.1)
    assert np.linalg.norm(taught, axis=1).max() <= 1 + 1e-9
    k = lesson.features((length * draw.standard_normal((20, 3))).astype(np.float32), 4, Key(bytes(32)))
    assert k.shape == (20, 8)
    assert np.linalg.norm(k, axis=1).max() <= lesson.longest_row(8) + 8 * 2.0**-10


# ------------------------------------------------------------------------------------------------ the exchange


def test_sealed_lessons_teach_what_open_ones_do() -> None:
    source, target, _ = halves()
    mine, theirs = play(source, target)
    sealed_source, sealed_target, _ = halves(level=1)
    sealed_mine, sealed_theirs = play(sealed_source, sealed_target)
    assert np.abs(theirs.w - sealed_theirs.w).max() < 1e-4
    assert np.abs(mine.scores - sealed_mine.scores).max() < 1e-4


def test_a_target_without_labels_learns_and_its_noise_is_as_agreed() -> None:
    source, target, _ = halves()
    mine, theirs = play(source, target)
    found = source.metrics(mine)
    assert found["auc"] is not None
    assert found["source_auc"] is not None
    assert found["auc"] > 0.85
    assert found["source_auc"] > 0.95
    noisy, pupil, _ = halves(noise=3.0)
    _, blurred = play(noisy, pupil)
    assert np.linalg.norm(blurred.w - theirs.w) > 0.2 * np.linalg.norm(theirs.w)
    leaks = [meter.report() for meter in (source.leak, noisy.leak)]
    assert leaks[0] is not None
    assert leaks[1] is not None
    assert leaks[0].worst > 0.95
    assert leaks[1].worst < leaks[0].worst


def test_noise_on_sealed_sums_is_of_the_agreed_size() -> None:
    _, exact = play(*halves(level=1)[:2])
    _, noised = play(*halves(level=1, noise=2.0)[:2])
    assert np.linalg.norm(noised.w - exact.w) > 0.05 * np.linalg.norm(exact.w)


@pytest.mark.parametrize("blob", [b"", bytes(8 * (WIDTH + 1)), np.full(WIDTH + 1, np.nan).tobytes()])
def test_a_false_direction_is_the_sources_fault(blob: bytes) -> None:
    source, target, _ = halves()
    (mine, requests), key = source.start(), Key(bytes(32))
    replied = target.run(Reply(target.start(), pack_request(requests[1]), key))
    moved = source.run(Move(mine, {1: replied.answer}, key))
    hold = moved.requests[1]
    for blobs in ((blob, *hold.blobs[1:]), hold.blobs[:2], (*hold.blobs[:2], hold.blobs[2][:-4])):
        fault = target.run(Reply(replied.state, pack_request(replace(hold, blobs=blobs)), key))
        assert isinstance(fault, Fault)
        assert fault.party == 0


@pytest.mark.parametrize("raw", [b"", b"\x01", pack_answer([]), pack_answer([b"\xff\xff\xff\xff"]), pack_answer([b""])])
def test_a_false_answer_is_the_targets_fault(raw: bytes) -> None:
    source, target, _ = halves()
    (mine, requests), key = source.start(), Key(bytes(32))
    fault = source.run(Move(mine, {1: raw}, key))
    assert isinstance(fault, Fault)
    assert fault.party == 1
    replied = target.run(Reply(target.start(), pack_request(requests[1]), key))
    taught = source.run(Move(mine, {1: replied.answer}, key))
    fault = source.run(Move(taught.state, {1: raw}, key))
    assert isinstance(fault, Fault)


def test_turns_in_another_order_are_refused() -> None:
    source, target, _ = halves()
    _, requests = source.start()
    first = target.run(Reply(target.start(), pack_request(requests[1]), Key(bytes(32))))
    again = target.run(Reply(first.state, pack_request(requests[1]), Key(bytes(32))))
    assert isinstance(again, Fault)
    with pytest.raises(Reject):
        target.direction(first.state)


# ------------------------------------------------------------------------------------------------ whole jobs


def write_tables(folder: Path) -> list[Path]:
    """The shop has a quarter of the bank's people, and some of its own."""
    x, y = people()
    paths = [folder / f"{name}.csv" for name in NAMES]
    draw = np.random.default_rng(3)
    for party, path in enumerate(paths):
        rows = np.arange(500) if party == 0 else np.arange(340, 600)
        columns = range(2) if party == 0 else range(2, 5)
        lines = [",".join(["id", *(f"c{c}" for c in columns), *(["y"] if party == 0 else [])])]
        for row in draw.permutation(rows):
            cells = [f"P-{row}", *(f"{x[row, c]:.4f}" for c in columns), *([str(y[row])] if party == 0 else [])]
            lines.append(",".join(cells))
        path.write_text("\n".join(lines) + "\n")
    return paths


@pytest.mark.parametrize("level", [0, 1])
def test_what_was_taught_is_saved_and_scores_people_whom_only_the_target_has(tmp_path: Path, level: int) -> None:
    paths = write_tables(tmp_path)
    agreement = agreement_of(level)
    members: list[Member] = []
    host = SimHost(0)
    for party, signer in enumerate(SIGNERS):
        table = load_table(TableSpec(paths[party], label=None if party else "y"))
        key = KEY if holds_key(agreement, signer.node) else None
        members.append(trainer(agreement, signer, table, key))
        host.add(signer.node, members[-1].peer, members[-1].work, MemoryStore)
    stops = host.run(1e7).stopped
    assert {stop.code for stop in stops.values()} == {0}, [stop.reason for stop in stops.values()]
    report = members[0].running.report() if members[0].running else {}
    assert report["auc"] > 0.6
    assert report["label_epsilon"] is None
    for party, member in enumerate(members):
        assert member.running is not None
        running, folder = member.running, tmp_path / NAMES[party]
        folder.mkdir()
        encoder, columns = running.table.encoder, running.table.x.shape[1]
        write_part(folder, agreement, party, encoder, columns, running.arrays())
        saved = read_part(folder, agreement, party)
        rows = load_table(TableSpec(paths[party], label=None if party else "y"), saved.encoder)
        scores = score_alone(agreement, party, saved, rows)
        y = people()[1][[int(text[2:]) for text in rows.ids]]
        assert auc(y, scores.astype(np.float64)) > 0.8
    other = replace(agreement, transfer=Transfer(random_features=3))
    saved = read_part(tmp_path / NAMES[1], agreement, 1)
    with pytest.raises(ConfigError, match="random_features"):
        score_alone(other, 1, saved, members[1].table)


def test_too_few_rows_are_said_at_once() -> None:
    agreement, (x, y) = agreement_of(), people()
    rules = Rules(agreement.plan(COMMON), agreement.transfer, False, 0.0)
    table = SourceTable(torch.from_numpy(x[:200, :2].copy()), y[:200], np.arange(COMMON))
    with pytest.raises(ConfigError, match="at least 100 rows that the source alone has, to learn from, got 40"):
        Source(agreement.accord, rules, table, None)
    with pytest.raises(ConfigError, match="expected 64 to 65536 common rows to train on, got 56"):
        Rules(agreement.plan(80), agreement.transfer, False, 0.0)


def test_a_transfer_takes_two_parties(tmp_path: Path) -> None:
    parties = "".join(
        f'[[parties]]\nname = "p{i}"\nkey = "{bytes([i + 1] * 32).hex()}"\nurl = "http://127.0.0.1:{9000 + i}"\n'
        for i in range(3)
    )
    path = tmp_path / "job.toml"
    path.write_text('format = 1\n[model]\nkind = "transfer"\n' + parties)
    with pytest.raises(ConfigError, match=r"a transfer takes two \[\[parties\]\] with data, got 3"):
        load_job(path)
