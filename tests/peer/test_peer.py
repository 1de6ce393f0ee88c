"""Between host and job: only authentic replies reach the job, only signed messages leave, one handle is one commit."""

from random import Random
from typing import Any

import pytest

from p2pfl.core.party import (
    Answered,
    Asked,
    Emit,
    Persist,
    Put,
    Reply,
    ReplyToken,
    Send,
    SendFailed,
    Started,
    Stop,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.ledger.feeds.records import ENTRY, restore
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.peer.door import refusal_bytes
from p2pfl.wire.envelope import check_body, chunk_digests, open_head, split
from p2pfl.wire.messages import Bye, Edge
from p2pfl.wire.post import Append, Heard, Post

ROW = [bytes([5]) * 32, 0, 0, bytes([6]) * 32, 100, "deadzone"]


def asking(gate: Any, job: Any, body: tuple[bytes, ...] = ()) -> Any:
    """A peer that has asked its friend something under the key "k"; and what it sent."""
    peer = gate.peer(job)
    message = Bye(gate.recipe, gate.friend.node, 1)
    job.effects.append([Post("k", gate.friend.node, message, body, chunk_digests(body), 4096, 9.0)])
    (send,) = peer.handle(TimerFired("t"), 1.0)
    return peer, send


# ------------------------------------------------------------------------------------------------ what leaves


def test_what_leaves_is_signed_and_names_its_body(gate: Any, job: Any) -> None:
    body = (b"abc", bytes(3 << 20))
    _, send = asking(gate, job, body)
    assert isinstance(send, Send)
    assert (send.key, send.to, send.path, send.deadline) == ("k", gate.friend.node, "exchange", 9.0)
    head, rest = split(b"".join(map(bytes, send.data)))
    assert head.authentic()
    assert head.author == gate.me.node
    check_body(head, rest)
    assert send.data[1] is body[0], "bodies are not copied"


def test_small_messages_go_another_way(gate: Any, job: Any) -> None:
    _, send = asking(gate, job)
    assert send.path == "gossip"
    assert open_head(send.data[0]).body_len == 0


# ------------------------------------------------------------------------------------------------ what comes back


def test_an_authentic_reply_reaches_the_job_once(gate: Any, job: Any) -> None:
    peer, _ = asking(gate, job)
    answer = gate.sealed(gate.bye())
    peer.handle(Answered("k", Verdict.ACCEPT, answer), 1.0)
    (heard,) = [event for event in job.seen if isinstance(event, Heard)]
    assert (heard.key, heard.verdict, heard.message) == ("k", Verdict.ACCEPT, gate.bye())
    assert peer.handle(Answered("k", Verdict.ACCEPT, answer), 1.0) == [], "a copy of it does not"
    assert len([event for event in job.seen if isinstance(event, Heard)]) == 1


@pytest.mark.parametrize(
    "fault", ["somebody else", "a stranger", "another network", "not for me", "forged", "rubbish", "cut"]
)
def test_a_reply_that_is_none_counts_as_a_failed_attempt(gate: Any, job: Any, fault: str) -> None:
    peer, _ = asking(gate, job)
    good = gate.sealed(gate.bye())
    reply = {
        "somebody else": gate.sealed(gate.bye(), gate.second),
        "a stranger": gate.sealed(gate.bye(), gate.stranger),
        "another network": gate.sealed(gate.bye(), net=bytes(32)),
        "not for me": gate.sealed(Bye(gate.recipe, gate.second.node, 3)),
        "forged": good[:30] + bytes([good[30] ^ 1]) + good[31:],
        "rubbish": b"hello",
        "cut": good[:-1],
    }[fault]
    (emit,) = peer.handle(Answered("k", Verdict.ACCEPT, reply), 1.0)
    assert isinstance(emit, Emit)
    assert emit.name == "refused"
    (failed,) = [event for event in job.seen if isinstance(event, SendFailed)]
    assert failed.key == "k"
    assert not [event for event in job.seen if isinstance(event, Heard)]


def test_a_refusal_reaches_the_job_as_its_code(gate: Any, job: Any) -> None:
    peer, _ = asking(gate, job)
    peer.handle(Answered("k", Verdict.REJECT, refusal_bytes("recipe", "expected another")), 1.0)
    heard = job.seen[-1]
    assert (heard.verdict, heard.code, heard.message) == (Verdict.REJECT, "recipe", None)


def test_a_refusal_that_cannot_be_read_is_one_all_the_same(gate: Any, job: Any) -> None:
    peer, _ = asking(gate, job)
    peer.handle(Answered("k", Verdict.BUSY, b"\xff<html>"), 1.0)
    assert (job.seen[-1].verdict, job.seen[-1].code) == (Verdict.BUSY, "")


def test_readers_get_the_status(gate: Any) -> None:
    (reply,) = gate.peer().handle(Asked(ReplyToken(1), "status"), 1.0)
    assert isinstance(reply, Reply)
    assert b'"phase": "test"' in bytes(reply.data[0])


# ------------------------------------------------------------------------------------------------ the feed


def test_one_handle_is_one_commit(gate: Any, job: Any) -> None:
    """Rows and the records they belong to are durable together or not at all."""
    peer = gate.peer(job)
    put = Put("snapshot", b"meta", b"1")
    entries = [Append("delta.reveal", 3, [ROW]), Append("model", 3, [bytes(32), 1])]
    job.effects.append([*entries, Persist((put,)), Stop(0, "done")])
    persist, stop = peer.handle(Stopping(), 1.0)
    assert isinstance(persist, Persist)
    assert [put.space for put in persist.puts] == [ENTRY, ENTRY, "snapshot"]
    assert isinstance(stop, Stop)


def test_a_new_run_opens_its_feed_with_its_recipe(gate: Any, job: Any) -> None:
    peer = gate.fresh(job)
    (persist,) = peer.handle(Started(bytes(32)), 0.0)
    store = MemoryStore()
    store.commit(persist.puts)
    _, (opening,) = restore(store.load()[ENTRY], gate.fresh().feed)
    assert (opening.kind, opening.payload) == ("feed.open", (1, gate.recipe))


def test_the_same_recipe_goes_on_where_it_was(gate: Any, job: Any) -> None:
    store = MemoryStore()
    (persist,) = gate.fresh().handle(Started(bytes(32)), 0.0)
    store.commit(persist.puts)
    again = gate.fresh(job)
    assert again.handle(Started(bytes(32), store.load()), 0.0) == []
    assert again.feed.next_seq == 1
    assert isinstance(job.seen[0], Started)


def test_another_recipe_is_stopped_with_a_clear_word(gate: Any, job: Any) -> None:
    store = MemoryStore()
    (persist,) = gate.fresh().handle(Started(bytes(32)), 0.0)
    store.commit(persist.puts)
    (stop,) = gate.fresh(job, bytes([8]) * 32).handle(Started(bytes(32), store.load()), 0.0)
    assert stop == Stop(
        2,
        "the folder holds a run of recipe 07070707, and this one is 08080808: "
        "choose another folder, or the network document of that run",
    )
    assert job.seen == [], "the job never starts"


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_damaged_feed_is_stopped_with_a_clear_word(gate: Any, job: Any, damage: str) -> None:
    peer, store = gate.fresh(job), MemoryStore()
    store.commit(peer.handle(Started(bytes(32)), 0.0)[0].puts)
    for round_ in range(3):
        job.effects.append([Append("delta.reveal", round_, [ROW])])
        store.commit(peer.handle(TimerFired("w"), 1.0)[0].puts)
    rows = dict(store.load()[ENTRY])
    second = sorted(rows)[1]
    if damage == "missing":
        del rows[second]
    else:
        rows[second] = rows[second][:-1] if damage == "cut" else rows[second][:-1] + bytes([rows[second][-1] ^ 1])
    (stop,) = gate.fresh().handle(Started(bytes(32), {ENTRY: rows}), 0.0)
    assert stop.code == 2
    assert "\n" not in stop.reason


@pytest.mark.parametrize("seed", range(5))
def test_no_crash_leads_to_a_second_entry_at_one_position(gate: Any, seed: int) -> None:
    """Die after any effect of any handle, again and again: the disk holds one chain, and it only grows."""
    rng, store, known = Random(seed), MemoryStore(), b""
    for _ in range(30):
        job = type(gate.fresh().job)()
        peer = gate.fresh(job)
        effects = peer.handle(Started(bytes([rng.randrange(256)]) * 32, store.load()), 0.0)
        for round_ in range(rng.randrange(4)):
            rows = [[*ROW[:2], rng.randrange(1000), *ROW[3:]]]
            put = Put("snapshot", b"meta", bytes([round_]))
            job.effects.append(
                [Append("delta.reveal", round_, rows), Persist((put,)), Append("model", round_, [bytes(32), 0])]
            )
            effects += peer.handle(TimerFired("w"), 1.0)
        for effect in effects[: rng.randint(0, len(effects))]:
            store.commit(effect.puts)
        feed, entries = restore(store.load().get(ENTRY, {}), gate.fresh().feed)
        assert [entry.seq for entry in entries] == list(range(feed.next_seq))
        ids = b"".join(entry.id for entry in entries)
        assert ids.startswith(known)
        known = ids


def test_a_reply_is_counted_and_so_is_a_request(gate: Any, job: Any) -> None:
    peer, send = asking(gate, job, (b"12345",))
    sent = peer.traffic.sent
    assert sent > len(send.data[0]) + 5
    assert (peer.traffic.bodies_sent, peer.traffic.body_bytes_sent) == (1, 5)
    gate.offer(peer, gate.sealed(Edge(gate.recipe, gate.me.node, "hello", 0, 0), gate.stranger))
    assert peer.traffic.sent > sent
    assert peer.traffic.received > 0
