"""One node's finality, event by event: what it signs and when, what it keeps, what it refuses, how it catches up."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest
from finality_swarm import NET, TIMING, signer
from finality_toy import Toy

from p2pfl.core.party import Emit, Persist, Put, SetTimer, TimerFired
from p2pfl.ledger.blocks.block import Block, Execution
from p2pfl.ledger.blocks.faults import vote_fault
from p2pfl.ledger.blocks.rule import NOTHING, Kind
from p2pfl.ledger.blocks.votes import Certificate, Validators, Vote, certify, sign_vote
from p2pfl.ledger.feeds.bounds import CLOCK_AHEAD_MS, FINALS_KEPT, FINALS_MAX, VIEWS_AHEAD_MAX
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, ModelDigest, Opening
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.finality.effects import Final, Lack, LedgerEffect, ReadFinals, Refused, Tell
from p2pfl.ledger.finality.events import GOSSIP_TIMER, PROPOSE_TIMER, VIEW_TIMER, Grew, Recall, Told
from p2pfl.ledger.finality.forge import Forge, Terms
from p2pfl.ledger.finality.journal import FAULT
from p2pfl.ledger.finality.simplex import Finality
from p2pfl.ledger.finality.talk import Ballots, Blocks, Faults, Finals, Proofs, Proposal, Status
from p2pfl.ledger.stores.memory import MemoryStore

WRITER = signer(99)


def story(length: int) -> list[Entry]:
    feed, entry = append(Feed(NET, WRITER.node), WRITER, 0, "feed.open", Opening(FORMAT, bytes(32)))
    entries = [entry]
    for round_ in range(1, length):
        feed, entry = append(feed, WRITER, round_, "model", ModelDigest(bytes(32), 0))
        entries.append(entry)
    return entries


class Bench:
    """One node under test, its disk, and the keys of all others."""

    def __init__(self, n: int = 4, me: int = 0, entries: int = 3, epoch: int = 100, toy: type[Toy] = Toy) -> None:
        self.keys = {signer(i).node: signer(i) for i in range(n)}
        self.voters = Validators.of(self.keys)
        self.terms = Terms(NET, epoch, toy(NET, tuple(self.keys), n))
        self.signer, self.story, self.store, self.now = signer(me), story(entries), MemoryStore(), 0.0
        self.other = next(node for node in self.keys if node != self.signer.node) if n > 1 else self.signer.node
        self.effects: list[LedgerEffect] = []
        self.start()

    def start(self, restored: bool = False, entries: bool = True) -> None:
        self.book = Book(NET)
        for entry in self.story if entries else ():
            self.book.add(entry)
        self.finality = Finality(Forge(self.terms, self.book), self.signer, self.terms.genesis(), TIMING)
        self.do(Recall(self.store.load() if restored else {}))

    def do(self, event: Any) -> list[LedgerEffect]:
        self.effects = self.finality.handle(event, self.now)
        for effect in self.effects:
            if isinstance(effect, Persist):
                self.store.commit(effect.puts)
        return self.effects

    def tell(self, message: Any) -> list[LedgerEffect]:
        return self.do(Told(self.other, message))

    def fire(self, key: str) -> list[LedgerEffect]:
        self.now = max(self.now, self.finality._timers.get(key, self.now))
        return self.do(TimerFired(key))

    def said(self, kind: Kind | None = None) -> list[Vote]:
        """This node's own votes among the last effects."""
        votes: list[Vote] = []
        for effect in self.effects:
            if isinstance(effect, Tell) and isinstance(effect.message, Ballots):
                votes += effect.message.votes
            if isinstance(effect, Tell) and isinstance(effect.message, Proposal):
                votes.append(effect.message.vote)
        return [vote for vote in votes if vote.author == self.signer.node and kind in (None, vote.kind)]

    def all_of(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def leader(self, view: int) -> Any:
        return self.keys[self.voters.leader(0, view)]

    def block(self, view: int = 1, time_ms: int = 500, parent: Any = None) -> Block:
        full = Book(NET)
        for entry in self.story:
            full.add(entry)
        node = Forge(self.terms, full).draft(parent or self.terms.genesis(), view, time_ms, {})
        assert node.block is not None
        return node.block

    def vote(self, who: Any, kind: Kind, view: int, hash_: bytes) -> Vote:
        return sign_vote(who, NET, kind, 0, view, hash_)

    def proposal(self, block: Block, view: int | None = None) -> Proposal:
        view = view or block.header.view
        return Proposal(block, self.vote(self.leader(view), Kind.NOTARIZE, view, block.hash))

    def certificate(self, kind: Kind, view: int, hash_: bytes = NOTHING, but: bytes | None = None) -> Certificate:
        """By as many as are needed, the node under test among them only if it must be."""
        who = [key for node, key in self.keys.items() if node not in (self.signer.node, but)]
        votes = [self.vote(key, kind, view, hash_) for key in [*who, self.signer][: self.voters.quorum]]
        return certify(votes, self.voters)


def follower(view: int = 1, **more: Any) -> Bench:
    """A node that does not lead this view."""
    return next(b for me in range(4) if (b := Bench(me=me, **more)).signer.node != b.voters.leader(0, view))


# ----------------------------------------------------------------------------------------------- one machine


def test_one_validator_is_the_same_code() -> None:
    bench = Bench(n=1)
    effects = bench.fire(PROPOSE_TIMER)
    (final,) = bench.all_of(Final)
    assert [entry.id for entry in final.entries] == [entry.id for entry in bench.story]
    assert final.certificate is not None
    assert [vote.kind for vote in bench.said()] == [Kind.NOTARIZE, Kind.FINALIZE]
    assert SetTimer(PROPOSE_TIMER, inf) in effects or not bench.finality.busy
    assert not bench.finality.busy


# ------------------------------------------------------------------------------------------- signing, keeping


def test_a_vote_is_durable_before_it_is_said() -> None:
    bench = follower()
    bench.tell(bench.proposal(bench.block()))
    assert [vote.kind for vote in bench.said()] == [Kind.NOTARIZE]
    durable: set[bytes] = set()
    for effect in bench.effects:
        if isinstance(effect, Persist):
            durable |= {put.value for put in effect.puts if put.value}
        if isinstance(effect, Tell) and isinstance(effect.message, Ballots) and not effect.relayed:
            assert all(vote.raw in durable for vote in effect.message.votes)
    assert bench.block().raw in durable


def test_a_restarted_validator_repeats_its_signature_and_gives_no_other() -> None:
    bench = follower()
    bench.tell(bench.proposal(bench.block()))
    (vote,) = bench.said()
    bench.start(restored=True)
    assert bench.said() == [vote]
    bench.tell(bench.proposal(bench.block(time_ms=501)))
    assert not bench.said(Kind.NOTARIZE)
    bench.fire(VIEW_TIMER)
    assert [v.kind for v in bench.said()] == [Kind.NULLIFY]  # which it may, because nothing was finalized
    bench.start(restored=True)
    bench.tell(Proofs((bench.certificate(Kind.NOTARIZE, 1, vote.block),)))
    assert not bench.said(Kind.FINALIZE)  # because it nullified


def test_after_a_finalization_nothing_is_nullified_even_after_a_restart() -> None:
    bench = follower()
    block = bench.block()
    bench.tell(bench.proposal(block))
    bench.tell(Proofs((bench.certificate(Kind.NOTARIZE, 1, block.hash),)))
    assert [vote.kind for vote in bench.said()] == [Kind.FINALIZE]
    bench.start(restored=True)
    assert bench.finality.view == 2
    bench.fire(VIEW_TIMER)
    assert [(vote.kind, vote.view) for vote in bench.said()] == [(Kind.NULLIFY, 2)]


def test_who_lost_its_journal_falls_silent() -> None:
    bench = follower()
    bench.tell(bench.proposal(bench.block()))
    (vote,) = bench.said()
    bench.start()
    bench.tell(Ballots((vote,)))
    assert bench.all_of(Emit)[0].name == "ledger.silent"
    bench.tell(bench.proposal(bench.block(time_ms=501)))
    bench.fire(VIEW_TIMER)
    assert not bench.said()
    assert not bench.finality.votes


def test_a_certificate_with_a_vote_that_is_not_in_the_journal_tells_too() -> None:
    bench = follower()
    everybody = [bench.vote(key, Kind.NULLIFY, 1, NOTHING) for key in bench.keys.values()]
    bench.tell(Proofs((certify(everybody, bench.voters),)))
    assert bench.finality.silent
    assert bench.finality.view == 2


def test_a_restart_of_all_goes_on_from_what_a_quorum_reached() -> None:
    """The certificate was made with a vote that is never sent again."""
    bench = follower()
    bench.tell(Proofs((bench.certificate(Kind.NULLIFY, 1),)))
    bench.start(restored=True)
    assert bench.finality.view == 2
    assert bench.finality.views.nullified(1)


# ------------------------------------------------------------------------------------------------- judging


def test_no_vote_for_entries_that_are_not_here() -> None:
    bench = follower()
    bench.start(entries=False)
    block = bench.block()
    bench.tell(bench.proposal(block))
    assert not bench.said()
    (lack,) = bench.all_of(Lack)
    assert [(s.head, s.after) for s in lack.stretches] == [(block.cut[0], -1)]
    assert not lack.sure
    for entry in bench.story:
        bench.book.add(entry)
    bench.do(Grew())
    assert [vote.block for vote in bench.said()] == [block.hash]


@pytest.mark.parametrize(("ahead", "votes"), [(0, 1), (1, 0)])
def test_a_block_of_the_future_waits(ahead: int, votes: int) -> None:
    bench = follower()
    bench.tell(bench.proposal(bench.block(time_ms=CLOCK_AHEAD_MS + ahead)))
    assert len(bench.said()) == votes
    assert not bench.all_of(Refused)


class Wrong(Toy):
    """A state that comes out differently on another machine."""

    def execute(self, *args: Any) -> Execution:
        return replace(super().execute(*args), state_root=bytes([7]) * 32)


def test_another_state_root_gets_no_vote_but_one_against() -> None:
    bench = follower()
    block = follower(toy=Wrong).block()
    bench.tell(bench.proposal(block))
    assert [vote.kind for vote in bench.said()] == [Kind.NULLIFY]
    (refused,) = [effect for effect in bench.all_of(Emit) if effect.name == "ledger.refused"]
    assert "state_root" in str(refused.fields["why"])


def test_another_state_root_that_a_quorum_agrees_on_stops_this_node() -> None:
    bench = follower()
    block = follower(toy=Wrong).block()
    bench.tell(Blocks((block,)))
    bench.tell(Finals(((block, bench.certificate(Kind.FINALIZE, 1, block.hash)),)))  # type: ignore[arg-type]
    assert bench.all_of(Emit)[0].name == "ledger.halted"
    assert not bench.finality.votes
    bench.fire(VIEW_TIMER)
    assert not bench.said()


def test_a_gap_without_proof_is_asked_for() -> None:
    """A proposal in view 3 on the genesis, of a node that came there by notarizations of what it does not have."""
    bench = follower(view=3)
    lost = bench.block()
    bench.tell(Proofs((bench.certificate(Kind.NOTARIZE, 1, lost.hash), bench.certificate(Kind.NULLIFY, 2))))
    bench.tell(bench.proposal(bench.block(view=3, time_ms=900)))
    assert not bench.said()
    status = bench.finality.status()
    assert (status.gaps, status.blocks) == ((1,), (lost.hash,))
    bench.tell(Proofs((bench.certificate(Kind.NULLIFY, 1),)))
    assert [(vote.kind, vote.view) for vote in bench.said()] == [(Kind.NOTARIZE, 3)]


def test_the_last_block_of_an_epoch_is_proposed_again_and_not_extended() -> None:
    bench = follower(view=2, epoch=1)
    block = bench.block()
    node = bench.finality.forge.check(block, bench.terms.genesis())
    bench.tell(bench.proposal(block))
    bench.tell(Proofs((bench.certificate(Kind.NOTARIZE, 1, block.hash),)))
    extends = bench.block(view=2, parent=node, time_ms=900)
    wrong = follower(view=2, epoch=1)
    wrong.tell(wrong.proposal(block))
    wrong.tell(Proofs((wrong.certificate(Kind.NOTARIZE, 1, block.hash),)))
    wrong.tell(wrong.proposal(extends))
    assert [vote.kind for vote in wrong.said()] == [Kind.NULLIFY]
    bench.tell(bench.proposal(block, view=2))
    assert [(vote.kind, vote.view, vote.block) for vote in bench.said()] == [(Kind.NOTARIZE, 2, block.hash)]
    bench.tell(Proofs((bench.certificate(Kind.FINALIZE, 2, block.hash),)))
    assert [final.block.height for final in bench.all_of(Final)] == [1]
    assert (bench.finality.poll.epoch, bench.finality.view) == (1, 1)


# ------------------------------------------------------------------------------------------------ admitting


def test_views_up_to_the_bound_are_kept_and_one_more_asks() -> None:
    bench = follower()
    last = 1 + VIEWS_AHEAD_MAX
    bench.now = 10.0
    bench.tell(Ballots((bench.vote(bench.leader(1), Kind.NULLIFY, last, NOTHING),)))
    assert last in bench.finality.views.rounds
    bench.tell(Ballots((bench.vote(bench.leader(1), Kind.NULLIFY, last + 1, NOTHING),)))
    assert last + 1 not in bench.finality.views.rounds
    assert [effect.to for effect in bench.all_of(Tell) if isinstance(effect.message, Status)] == [bench.other]
    bench.tell(Ballots((bench.vote(bench.leader(1), Kind.NULLIFY, last + 2, NOTHING),)))
    assert not bench.all_of(Tell)  # not again at once


@pytest.mark.parametrize("what", ["validators", "signature", "leader", "proposal", "quorum", "finals"])
def test_what_proves_nothing_is_refused(what: str) -> None:
    bench = follower()
    block = bench.block()
    stranger = signer(50)
    not_leader = next(key for key in bench.keys.values() if key.node not in (bench.leader(1).node, bench.signer.node))
    good = bench.certificate(Kind.FINALIZE, 1, block.hash)
    message: Any = {
        "validators": Ballots((bench.vote(stranger, Kind.NULLIFY, 1, NOTHING),)),
        "signature": Ballots((replace(bench.vote(not_leader, Kind.NULLIFY, 1, NOTHING), view=2),)),
        "leader": Proposal(block, bench.vote(not_leader, Kind.NOTARIZE, 1, block.hash)),
        "proposal": Proposal(block, bench.vote(bench.leader(1), Kind.NOTARIZE, 1, bytes([1]) * 32)),
        "quorum": Proofs((replace(good, bitmap=b"\x01", signatures=good.signatures[:64]),)),
        "finals": Finals(((block, bench.certificate(Kind.NOTARIZE, 1, block.hash)),)),  # type: ignore[arg-type]
    }[what]
    bench.tell(message)
    (refused,) = bench.all_of(Refused)
    assert (refused.sender, refused.code) == (bench.other, what)
    assert not bench.said()


def test_what_came_before_the_bad_part_of_a_message_counts() -> None:
    bench = follower()
    good = [bench.vote(key, Kind.NULLIFY, 1, NOTHING) for key in bench.keys.values() if key is not bench.signer]
    bench.tell(Ballots((*good, bench.vote(signer(50), Kind.NULLIFY, 1, NOTHING))))
    assert bench.all_of(Refused)
    assert bench.finality.view == 2


def test_a_second_different_vote_is_a_proof_that_gets_into_the_next_block() -> None:
    bench = Bench(me=0)
    liar = next(key for key in bench.keys.values() if key.node not in (bench.signer.node, bench.leader(1).node))
    bench.tell(Ballots((bench.vote(liar, Kind.NOTARIZE, 1, bytes([1]) * 32),)))
    bench.tell(Ballots((bench.vote(liar, Kind.NOTARIZE, 1, bytes([2]) * 32),)))
    (told,) = [effect for effect in bench.all_of(Tell) if isinstance(effect.message, Faults)]
    other = follower()
    other.tell(told.message)
    assert list(other.finality.faults) == [liar.node]
    mine = next(view for view in range(1, 5) if bench.leader(view) is bench.signer)
    for view in range(1, mine):
        bench.tell(Proofs((bench.certificate(Kind.NULLIFY, view),)))
    bench.fire(PROPOSE_TIMER)
    (proposal,) = [e.message for e in bench.all_of(Tell) if isinstance(e.message, Proposal)]
    assert proposal.block.evidence == told.message.faults


def test_a_proof_survives_a_crash_until_its_author_is_convicted() -> None:
    bench = Bench(me=0)
    liar = next(key for key in bench.keys.values() if key is not bench.signer)
    fault = vote_fault(*(bench.vote(liar, Kind.NOTARIZE, 1, bytes([i]) * 32) for i in (1, 2)))
    bench.tell(Faults((fault,)))
    assert list(bench.store.load()[FAULT]) == [liar.node]
    bench.start(restored=True)
    assert bench.finality.faults == {liar.node: fault}
    mine = next(view for view in range(1, 5) if bench.leader(view) is bench.signer)
    for view in range(1, mine):
        bench.tell(Proofs((bench.certificate(Kind.NULLIFY, view),)))
    bench.fire(PROPOSE_TIMER)
    (proposal,) = [e.message for e in bench.all_of(Tell) if isinstance(e.message, Proposal)]
    assert proposal.block.evidence == (fault,)
    bench.tell(Proofs((bench.certificate(Kind.FINALIZE, mine, proposal.block.hash),)))
    assert bench.finality.final.execution.state.convicted == {liar.node}
    assert not bench.finality.faults
    assert not bench.store.load().get(FAULT)


def test_a_strangers_double_vote_is_nobodys_business() -> None:
    bench, stranger = follower(), signer(50)
    votes = [bench.vote(stranger, Kind.NOTARIZE, 1, bytes([i]) * 32) for i in (1, 2)]
    bench.tell(Faults((vote_fault(*votes),)))
    assert not bench.finality.faults
    assert not bench.all_of(Tell)


# ---------------------------------------------------------------------------------------- away and back again


def grown(heights: int) -> tuple[Bench, list[LedgerEffect]]:
    """A single validator that finalized so many heights, one entry each."""
    bench = Bench(n=1, entries=heights)
    entries, bench.story = bench.story, []
    bench.start()
    effects: list[LedgerEffect] = []
    for entry in entries:
        bench.book.add(entry)
        bench.do(Grew())
        effects += bench.fire(PROPOSE_TIMER)
    bench.story = entries
    return bench, [effect for effect in effects if isinstance(effect, Final)]


def test_who_was_away_catches_up_in_bounded_steps() -> None:
    ahead, _ = grown(2 * FINALS_MAX + 3)
    behind = Bench(n=1, entries=0)
    behind.signer = signer(1)  # it only follows
    behind.story = ahead.story
    behind.start()
    steps = 0
    while behind.finality.final.height < ahead.finality.final.height:
        ahead.tell(behind.finality.status())
        (answer,) = [effect.message for effect in ahead.all_of(Tell) if isinstance(effect.message, Finals)]
        assert len(answer.decided) <= FINALS_MAX
        behind.tell(answer)
        steps += 1
    assert steps == 3
    assert behind.finality.final.execution.state_root == ahead.finality.final.execution.state_root
    assert not behind.all_of(Refused)


def test_final_blocks_wait_for_their_entries() -> None:
    ahead, finals = grown(3)
    behind = Bench(n=1, entries=0)
    behind.signer = signer(1)
    behind.start(entries=False)
    behind.tell(Finals(tuple((final.block, final.certificate) for final in finals)))  # type: ignore[misc]
    (lack,) = behind.all_of(Lack)
    assert lack.sure
    assert behind.finality.final.height == 0
    for entry in ahead.story[:2]:
        behind.book.add(entry)
    behind.do(Grew())
    assert behind.finality.final.height == 2
    behind.fire(GOSSIP_TIMER)
    assert behind.all_of(Lack)  # asked for again


def test_what_left_the_memory_is_read_from_the_store() -> None:
    bench, _ = grown(FINALS_KEPT + 1)
    status = replace(bench.finality.status(), final_height=1)
    bench.tell(status)
    assert not bench.all_of(ReadFinals)
    bench.tell(replace(status, final_height=0))
    assert bench.all_of(ReadFinals) == [ReadFinals(bench.other, 1)]


def test_only_the_final_blocks_stay_in_the_store() -> None:
    bench, finals = grown(5)
    stored = bench.store.load()
    assert set(stored) == {"final"}
    assert len(stored["final"]) == len(finals) == 5
    assert not any(isinstance(effect, Put) for effect in bench.effects)


def test_forged_final_blocks_convince_nobody() -> None:
    _, finals = grown(3)
    behind = Bench(n=1, entries=3)
    behind.signer = signer(1)
    behind.start()
    forged = replace(finals[0].block.header, state_root=bytes([1]) * 32)
    block = Block(forged, finals[0].block.cut)
    for decided in (
        ((block, finals[0].certificate),),
        ((finals[0].block, None), (finals[2].block, finals[2].certificate)),
        ((finals[0].block, replace(finals[0].certificate, signatures=bytes(64))),),
    ):
        behind.tell(Finals(decided))  # type: ignore[arg-type]
        assert behind.finality.final.height == 0
    assert not behind.finality.chain.decided
