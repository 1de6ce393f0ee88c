"""A Peer that may not write yet: its job waits, neighbours are put off, requests are kept; and then all goes on."""

from typing import Any

import pytest

from p2pfl.core.party import (
    Emit,
    Offered,
    Persist,
    Reply,
    ReplyToken,
    Started,
    Stop,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import ENTRY, put_entry
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.peer.keeper import RECOVERY_TIMER, Bell, Charter, Keeper
from p2pfl.peer.peer import Peer
from p2pfl.peer.recovery import CHECKS
from p2pfl.peer.request import REQUESTS_MAX, Request
from p2pfl.wire.envelope import seal
from p2pfl.wire.keyfile import Signer
from p2pfl.wire.messages import Edge

SIGNERS = sorted((Signer(bytes([number]) * 32) for number in (1, 2, 3, 4)), key=lambda signer: signer.node)
KEYS = tuple(signer.node for signer in SIGNERS)
GENESIS = Genesis("four", KEYS, KEYS)
RECIPE = bytes([7]) * 32


class Job:
    """Remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def handle(self, event: Any, now: float) -> list[Any]:
        self.seen.append(event)
        return []

    def status(self) -> dict[str, Any]:
        return {}


class Node:
    """One Peer, its store, and the entries in its feed."""

    def __init__(self, num_entries: int) -> None:
        self.store, self.job = MemoryStore(), Job()
        feed = Feed(GENESIS.digest, KEYS[0])
        for number in range(num_entries):
            kind, payload = ("model", [RECIPE, 0]) if number else ("feed.open", list(Opening(FORMAT, RECIPE)))
            feed, entry = append(feed, SIGNERS[0], 3 if number else 0, kind, payload)
            self.store.commit([put_entry(entry)])
        keeper = Keeper(Charter(GENESIS, KEYS), SIGNERS[0], KEYS[1:3])
        self.peer = Peer(SIGNERS[0], GENESIS.digest, RECIPE, KEYS[1:3], self.job, "me", keeper)
        self.do(Started(bytes(32), self.store.load()))

    def do(self, event: Any) -> list[Any]:
        effects = self.peer.handle(event, 1.0)
        for effect in effects:
            if isinstance(effect, Persist):
                self.store.commit(effect.puts)
        return effects

    def wait_in_vain(self) -> list[Any]:
        """Nobody answers, however often it asks."""
        return [effect for _ in range(CHECKS) for effect in self.do(TimerFired(Bell(RECOVERY_TIMER)))]

    def kinds(self) -> list[str]:
        return [parse(raw).kind for raw in self.store.load()[ENTRY].values()]


def hello() -> bytes:
    message = Edge(RECIPE, KEYS[0], "hello", 0, 0)
    return bytes(seal(SIGNERS[1], GENESIS.digest, message.KIND, message.to_fields(), ())[0])


def test_until_it_may_write_the_job_waits_and_neighbours_are_put_off() -> None:
    node = Node(3)
    assert node.job.seen == []
    (reply,) = [e for e in node.do(Offered(ReplyToken(1), hello())) if isinstance(e, Reply)]
    assert reply.verdict is Verdict.BUSY
    assert "asks its neighbours" in node.peer.status()["ledger"]["recovering"]
    node.wait_in_vain()
    assert [type(event) for event in node.job.seen] == [Started]
    assert node.peer.feed.next_seq == 3
    node.do(Offered(ReplyToken(2), hello()))
    assert len(node.job.seen) == 2
    assert node.peer.status()["ledger"]["recovering"] == ""


def test_asked_to_stop_meanwhile_it_stops() -> None:
    assert Node(3).do(Stopping("asked")) == [Stop(0, "asked")]


def test_a_new_node_begins_at_once() -> None:
    node = Node(0)
    assert [type(event) for event in node.job.seen] == [Started]
    assert node.kinds() == ["feed.open"]


@pytest.mark.parametrize("held", [True, False])
def test_a_request_is_written_once_and_said_to_be(held: bool) -> None:
    node = Node(3 if held else 0)
    before = len(node.kinds())
    told: list[Any] = []
    for _ in range(3):
        told += node.do(TimerFired(Request("a", "leave", (2,))))
    if held:
        assert len(node.kinds()) == before, "not before the feed may grow"
        told += node.wait_in_vain()
    told += node.do(TimerFired(Request("b", "join", (2,))))
    assert node.kinds()[before:] == ["leave", "join"]
    emitted = [effect.fields for effect in told if isinstance(effect, Emit) and effect.name == "requested"]
    assert [fields["request"] for fields in emitted] == ["a", "b"]
    assert emitted[-1]["id"] == node.peer.feed.head.hex()
    at = [type(effect) for effect in told]
    assert at.index(Persist) < at.index(Emit), "durable before it is said"
    last = node.peer.feed.last
    assert last is not None
    assert last.round == (3 if held else 0), "in the round of the entry before"


def test_requests_are_bounded() -> None:
    node = Node(0)
    for number in range(REQUESTS_MAX + 1):
        node.do(TimerFired(Request(str(number), "leave", (1,))))
    assert node.kinds().count("leave") == REQUESTS_MAX


@pytest.mark.parametrize(
    ("kind", "payload"), [("receipts", ()), ("resume", ()), ("join", (4,)), ("endorse", (b"short", 1))]
)
def test_a_request_for_what_nobody_may_ask_is_none(kind: str, payload: Any) -> None:
    with pytest.raises(Reject):
        Request("a", kind, payload)
