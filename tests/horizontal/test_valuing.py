"""Work that is shown to evaluators: what binds it to the wire, what an evaluator finds out, and how it is shown."""

import dataclasses
from typing import Any

import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core import noise
from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.horizontal.model.work import body_digest, encode_sections
from p2pfl.horizontal.pairs.deeds import Deeds
from p2pfl.horizontal.records.edge import Edge, Saying, said_of
from p2pfl.horizontal.valuing.appraisal import Appraisal, Subject, appraise, look_at
from p2pfl.horizontal.valuing.making import expected_bytes, make_work
from p2pfl.horizontal.valuing.shown import ACCOUNT_BYTES, Shown, Work
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Trained
from p2pfl.ledger.feeds.kinds import COPIED, FAIR, STALE, UNFELT, UNOPENED, UNREVEALED, WIRE
from p2pfl.mixing.reference import difference, exponents_for, from_vector
from p2pfl.valuation import Account, Sketcher
from p2pfl.valuation.felt import BUCKETS
from p2pfl.wire.envelope import chunk_digests, seal
from p2pfl.wire.messages import Update

NETWORK = bytes(32)
X = torch.linspace(-1.0, 1.0, 48)


class Bench:
    """One subject (signer 0), its neighbour (signer 1), and what an evaluator computes with."""

    def __init__(self, kit: Any) -> None:
        self.me, self.other = kit.signers[:2]
        self.work = kit.nodes([(0, 1)])[0].work
        self.schema = kit.schema
        self.reference = from_vector(0.5 * X, exponents_for(X, self.schema), self.schema)

    def saying(self, x: torch.Tensor, number: int = 0, factor: float = 1.0) -> tuple[Saying, Any]:
        """What is said of x at (epoch 0, seq number); `factor` 1 is honest."""
        key = noise.root(number)
        coded = encode_sections(
            self.work.codec, factor * difference(x, self.reference, self.schema), self.schema, key, 1.0
        )
        message = Update(
            *(bytes(32), self.other.node, 0, number, (0.0, 1.0, 0.0, 0), self.reference.digest(), False, bytes(32)),
            *(coded.norm, 1.0, 0.0, 1.0, 1.0, 1.0, coded.sections),
        )
        return Saying(message, coded.body, coded.chunks, said_of(message, coded.q)), key

    def head(self, seq: int) -> bytes:
        """The neighbour's signed half of that exchange."""
        fields = self.saying(X, seq)[0].message.to_fields()
        return bytes(seal(self.other, NETWORK, "update", fields)[0])

    def deeds(self, x: torch.Tensor, factor: float = 1.0) -> Deeds:
        """Two exchanges: the first message can be drawn once the neighbour has said the second."""
        deeds = Deeds(X)
        edge = Edge(NodeId(self.other.node), self.reference, self.reference.digest())
        deeds.trained(X, None, Trained(x, OptState(1, {}), 0.1, (1.0,), 1.0, 1, None))
        for seq in range(2):
            edge.seq = seq
            saying, key = self.saying(x, seq, factor)
            edge.pending = saying
            deeds.said(edge, x, key, saying)
            deeds.landed(edge, bytes([seq]) * 32, self.head(seq))
        deeds.turn(3)
        return deeds

    def made(self, update: torch.Tensor, factor: float = 1.0) -> Work:
        deed = self.deeds(X + update, factor).look()
        assert deed is not None
        return make_work(deed, deed.update, self.me.node, bytes(32), b"o" * 32, self.work)

    def subject(self, work: Work | None, audited: bool = False, order: int = 0, **changes: Any) -> Subject:
        if work is None:
            return Subject(self.me.node, bytes(32), order, None, b"", audited)
        shown, body = work.show(bytes(32), self.other.node, 4, audited)
        read = Shown.from_fields(shown.to_fields())
        assert read == shown
        raw = b"".join(bytes(part) for part in body)
        assert len(raw) == shown.body_len(48)
        return dataclasses.replace(
            Subject(work.opening.author, work.opening.commitment, order, read, raw, audited),  # type: ignore[arg-type]
            **changes,
        )

    def receipts(self, work: Work) -> dict[tuple[bytes, bytes, int, int], bytes]:
        opening = work.opening
        digest = body_digest(chunk_digests((work.said,)))
        return {(opening.to, opening.author, opening.epoch, opening.seq): digest}


@pytest.fixture
def bench(kit: Any) -> Bench:
    return Bench(kit)


# ------------------------------------------------------------------------------------------------ deeds


def test_local_work_adds_up_without_the_drift_correction() -> None:
    deeds, shift = Deeds(X), torch.full((48,), 2.0)
    for _ in range(3):
        after = X + 1.0 - 0.5 * shift  # a step of 1, and the correction at a work of 0.5
        deeds.trained(X, shift, Trained(after, OptState(1, {}), 0.5, (1.0,), 1.0, 1, None))
    assert torch.allclose(deeds.total, torch.full((48,), 3.0))


def test_nothing_stands_for_the_work_before_the_other_end_has_spoken_again(bench: Bench) -> None:
    deeds = bench.deeds(X + 1)
    deed = deeds.look()
    assert deed is not None
    assert (deed.told.seq, deed.first, deed.last) == (0, 0, 3)
    assert torch.allclose(deed.before + deed.shift + deed.update, deed.after, atol=1e-6)
    deeds.take()
    assert deeds.look() is None


def test_the_smallest_coin_stands_for_the_work(bench: Bench) -> None:
    """Whatever the author would like: the coin hangs on what the other end said later."""
    deeds, edge = Deeds(X), Edge(NodeId(bench.other.node), bench.reference, bench.reference.digest())
    coins, before = {}, b""
    for seq in range(6):
        edge.seq = seq
        saying, key = bench.saying(X + seq, seq)
        heard = bytes([seq]) * 32
        if seq:
            coins[before + heard] = seq - 1
        edge.pending, before = saying, saying.digest
        deeds.said(edge, X + seq, key, saying)
        deeds.landed(edge, heard, bench.head(seq))

    assert deeds.look() is None  # no work was done
    deeds.total = X
    deeds.turn(1)
    smallest = min(coins, key=lambda text: blake3(text).digest())
    deed = deeds.look()
    assert deed is not None
    assert deed.told.seq == coins[smallest]


def test_a_message_that_never_left_does_not_count(bench: Bench) -> None:
    deeds, edge = Deeds(X), Edge(NodeId(bench.other.node), bench.reference, bench.reference.digest())
    saying, key = bench.saying(X)
    deeds.said(edge, X, key, saying)
    edge.pending = bench.saying(X + 1)[0]  # made again after a refusal
    deeds.landed(edge, bytes(32), b"")
    assert deeds.bytes_said == 0


# ------------------------------------------------------------------------------------------------ what is found out


def test_honest_work_is_fair_with_and_without_an_audit(bench: Bench) -> None:
    work = bench.made(0.1 * X)
    for audited in (False, True):
        finding, update = look_at(bench.subject(work, audited), bench.receipts(work), bench.work)
        assert finding == FAIR
        assert update is not None
        assert torch.equal(update, work.q)


def test_nothing_shown(bench: Bench) -> None:
    assert look_at(bench.subject(None), {}, bench.work) == (UNREVEALED, None)


def test_an_audited_subject_must_show_its_model(bench: Bench) -> None:
    work = bench.made(0.1 * X)
    assert look_at(dataclasses.replace(bench.subject(work), audited=True), {}, bench.work)[0] == UNREVEALED


def test_another_update_than_the_one_committed_to(bench: Bench) -> None:
    work, other = bench.made(0.1 * X), bench.made(-0.3 * X)
    assert look_at(bench.subject(other, commitment=work.opening.commitment), {}, bench.work)[0] == UNOPENED
    swapped = dataclasses.replace(work, update=other.update, sections=other.sections)
    assert look_at(bench.subject(swapped), {}, bench.work)[0] == UNOPENED
    assert look_at(bench.subject(work, node=bench.other.node), {}, bench.work)[0] == UNOPENED


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.5])
def test_another_message_than_the_one_of_the_model(bench: Bench, factor: float) -> None:
    """Trained for the evaluators, and something else for the neighbour, who says what it received."""
    work = bench.made(0.1 * X, factor)
    assert look_at(bench.subject(work, audited=True), bench.receipts(work), bench.work)[0] == WIRE
    assert look_at(bench.subject(work, audited=False), bench.receipts(work), bench.work)[0] == FAIR


def test_an_audit_cannot_be_met_with_other_pieces(bench: Bench) -> None:
    """A body the neighbour did not get, a model that was not committed to, a reference it did not sign."""
    cheat, honest = bench.made(0.1 * X, 0.0), bench.made(0.1 * X)
    receipts = bench.receipts(cheat)
    for pieces in (
        dataclasses.replace(cheat, said=honest.said, said_sections=honest.said_sections),
        dataclasses.replace(cheat, x=cheat.x + 1),
        dataclasses.replace(cheat, head=bench.head(1)),
        dataclasses.replace(cheat, head=b"x"),
    ):
        assert look_at(bench.subject(pieces, audited=True), receipts, bench.work)[0] == WIRE


def test_without_a_receipt_nobody_is_accused(bench: Bench) -> None:
    work = bench.made(0.1 * X, 0.0)
    assert look_at(bench.subject(work, audited=True), {}, bench.work)[0] == FAIR


def test_copies_and_stale_updates_are_named_and_the_rest_is_valued(bench: Bench) -> None:
    good, same = bench.made(-0.1 * X), bench.made(0.4 * X)
    ids = [NodeId(bytes([number]) * 32) for number in range(4)]

    def of(work: Work | None, number: int) -> Subject:
        if work is None:
            return dataclasses.replace(bench.subject(None, order=number), node=ids[number])
        opening = dataclasses.replace(work.opening, author=ids[number])
        return bench.subject(dataclasses.replace(work, opening=opening), order=number)

    subjects = (of(good, 0), of(same, 2), of(same, 1), of(None, 3))
    task = Appraisal(X, X, subjects, (), {}, noise.root(1), "validation")
    found = appraise(task, bench.work)
    assert [row[2] for row in found.rows] == [FAIR, COPIED, FAIR, UNREVEALED]
    again = appraise(dataclasses.replace(task, earlier=(good.q,)), bench.work)
    assert [row[2] for row in again.rows] == [STALE, COPIED, FAIR, UNREVEALED]
    assert found.estimator == "exact"


def test_what_the_network_did_not_gain_is_not_shared_out(bench: Bench) -> None:
    """Scores are parts of the gain of the evaluator's own model: however good the updates look, no more than that."""
    work = bench.made(-0.5 * X)
    subjects = (bench.subject(work),)
    for after, most in ((X, 0.0), (1.1 * X, 0.0), (0.99 * X, 1.0)):
        task = Appraisal(X, after, subjects, (), {}, noise.root(1), "validation")
        gain = bench.work.learner.evaluate(X, "validation").loss - bench.work.learner.evaluate(after, "validation").loss
        (row,) = appraise(task, bench.work).rows
        assert row[2] == FAIR
        assert 0 <= row[1] <= max(gain, 0.0) * 1e6 + 1
        assert (row[1] > 0) == (most > 0)


def test_what_neighbours_did_not_feel_is_named_and_no_value_changes(bench: Bench) -> None:
    """Of whom this evaluator listens to. Held back: fair; moved that way by its neighbours: no work of its own."""
    work, seed = bench.made(-0.4 * X), b"s" * 32
    pull = Sketcher(seed, len(X))(work.q)
    rows = {}
    for name, part in (("held", -0.5 * pull), ("moved", 0.5 * pull), ("unheard", None)):
        subject = bench.subject(work, parts=() if part is None else (part, part))
        task = Appraisal(X, 0.9 * X, (subject,), (), {}, noise.root(1), "validation", seed=seed)
        (rows[name],) = appraise(task, bench.work).rows
    assert {name: row[2] for name, row in rows.items()} == {"held": FAIR, "moved": UNFELT, "unheard": FAIR}
    assert len({row[1] for row in rows.values()}) == 1


def test_an_edge_says_what_it_did_to_the_other_end() -> None:
    """Both ends, without clipping: what this end's account says is what moved the other, exchanges and drift."""
    peer = NodeId(b"p" * 32)
    deeds, other = Deeds(X), torch.zeros(48)
    deeds.edges = (peer,)
    drift, by = torch.linspace(0.0, 1.0, 48), torch.linspace(1.0, 2.0, 48)
    deeds.moved(peer, None, by)
    other = other - by
    for _ in range(3):  # the other end takes off its own, opposite correction, in as many steps
        deeds.trained(X, drift, Trained(X, OptState(1, {}), 0.1, (1.0,), 1.0, 1, None))
        other = other + 0.1 * drift
    deeds.moved(peer, drift, 2 * by)
    other = other - 2 * by
    deeds.turn(1)
    assert torch.allclose(deeds.pulled[peer].float(), other, rtol=0.01)
    deeds.turn(2)
    assert not deeds.pulled[peer].any()
    deeds.moved(peer, drift, by)
    deeds.restart(X, 3)
    deeds.moved(peer, drift, by)
    deeds.turn(3)
    assert not deeds.pulled  # the first part of the span is lost: better to say nothing
    deeds.moved(peer, drift, by)
    deeds.turn(4)
    assert deeds.pulled[peer].any()
    deeds.edges = ()
    deeds.turn(3)
    deeds.turn(4)
    assert not deeds.pulled


# ------------------------------------------------------------------------------------------------ the message


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.integers() | st.binary(max_size=33) | st.floats() | st.booleans(), st.lists, max_leaves=12))
def test_a_strangers_fields_are_refused(kit: Any, fields: Any) -> None:
    for candidate in (fields, [bytes(32), bytes(32), 0, fields, fields, fields, fields]):
        with pytest.raises(Reject):
            Shown.from_fields(candidate if isinstance(candidate, list) else [candidate])


def test_each_field_is_checked(bench: Bench) -> None:
    shown, _ = bench.made(X).show(bytes(32), bench.other.node, 4, True)
    fields = shown.to_fields()
    for place, bad in ((0, b""), (2, -1), (3, []), (4, []), (5, [b"k" * 32])):
        with pytest.raises(Reject):
            Shown.from_fields([*fields[:place], bad, *fields[place + 1 :]])
    row = [b"n" * 32, 1.0, bytes(BUCKETS)]
    assert Shown.from_fields([*fields[:6], [row]]).accounts == {b"n" * 32: Account(1.0, bytes(BUCKETS))}
    for rows in ([row, row], [[b"n", *row[1:]]], [[*row[:2], b"v"]], [[row[0], float("nan"), row[2]]], [[]]):
        with pytest.raises(Reject):
            Shown.from_fields([*fields[:6], rows])
    with pytest.raises(Reject):
        Shown.from_fields([*fields[:6], [[bytes([number]) * 32, *row[1:]] for number in range(17)]])
    audit = fields[5]
    for place, bad in ((0, b"k"), (1, 2.0), (2, [999]), (3, []), (4, b"h" * 70_000)):
        with pytest.raises(Reject):
            Shown.from_fields([*fields[:5], [*audit[:place], bad, *audit[place + 1 :]], []])


def test_what_a_commit_will_cost(kit: Any) -> None:
    """Seven evaluators get the update, three what was done to each of four neighbours; one subject in 32 shows two of
    them its model and reference."""
    audit = 2 * 2 * (8 * 48 + 100) // 32  # twice, for those who are drawn more often
    assert expected_bytes(7, 4, 100, kit.schema) == 700 + 3 * 4 * ACCOUNT_BYTES + audit
    assert expected_bytes(1000, 0, 100, kit.schema) == 1500 + audit
