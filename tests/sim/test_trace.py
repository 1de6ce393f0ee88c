"""The trace: a digest that misses nothing, and a record that can be played again."""

import pytest

from p2pfl.core.party import (
    Answered,
    Asked,
    Computed,
    Dropped,
    Failed,
    Offered,
    Received,
    ReplyToken,
    SendFailed,
    Started,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.hosts.sim import SimHost
from p2pfl.hosts.trace import Book, replay

T = ReplyToken(1)
EVENTS = [
    (Started(b"e" * 32), Started(b"f" * 32)),
    (Started(b"e" * 32, {"a": {b"k": b"v"}}), Started(b"e" * 32, {"a": {b"kv": b""}})),
    (Started(b"e" * 32, {"a": {}, "b": {b"k": b""}}), Started(b"e" * 32, {"a": {b"k": b""}, "b": {}})),
    (Offered(T, b"head"), Offered(T, b"haed")),
    (Offered(T, b"head"), Offered(ReplyToken(2), b"head")),
    (Received(T, b"body"), Received(T, b"longer")),
    (Dropped(T, "one"), Dropped(T, "two")),
    (Asked(T, "status"), Asked(T, "state")),
    (Answered("k", Verdict.ACCEPT, b"one"), Answered("k", Verdict.ACCEPT, b"two")),
    (Answered("k", Verdict.ACCEPT, b""), Answered("k", Verdict.REJECT, b"")),
    (SendFailed("k", "one"), SendFailed("k", "two")),
    (Failed(T, "one"), Failed(T, "two")),
    (Computed(T, 1), Computed("a task of another type", 1)),
    (TimerFired("k"), SendFailed("k", "")),
    (Stopping("one"), Stopping("two")),
]


def digest(toys, event, time=1.0, node=None):
    book = Book(record=False)
    book.note(node or toys.a, time, time, event)
    return book.digest()


@pytest.mark.parametrize(("one", "other"), EVENTS)
def test_the_digest_tells_events_times_and_nodes_apart(toys, one, other):
    assert digest(toys, one) == digest(toys, one)
    assert digest(toys, one) != digest(toys, other)
    assert digest(toys, one) != digest(toys, one, time=2.0)
    assert digest(toys, one) != digest(toys, one, node=toys.b)


def test_the_digest_tells_orders_apart(toys):
    digests = set()
    for order in ("xy", "yx"):
        book = Book(record=False)
        for key in order:
            book.note(toys.a, 1.0, 1.0, SendFailed(key, key))
        digests.add(book.digest())
    assert len(digests) == 2


def test_recording_changes_nothing_and_is_off_unless_asked_for(toys):
    traces = []
    for record in (False, True):
        host = SimHost(7, Faults(request_loss=0.1, jitter_s=0.1), record=record)
        toys.chat(host)
        traces.append(host.run())
    assert traces[0].digest == traces[1].digest
    assert traces[0].events == {}
    assert sum(map(len, traces[1].events.values())) == traces[1].handled


def test_a_record_can_be_played_again(toys):
    """A fresh Party, fed what the old one was fed, does what the old one did: over two lives, bodies and all."""
    did, bodies = [], []

    def rule(event, now):
        if isinstance(event, Received):
            bodies.append(bytes(event.body))
        effects = toys.accept(b"yes")(event, now)
        did.append(effects)
        return effects

    crash = Crash(toys.b, at=1.0, restart_after=0.5)
    host = SimHost(7, Faults(crashes=(crash,), clock_skew_s=9.0), record=True)
    again = [toys.send(toys.b, bytes([key]) * 9, key=key) for key in range(3)]
    toys.talk(host, a=lambda e, t: again[:2] if isinstance(e, Started) else again[2:] * isinstance(e, Stopping), b=rule)
    host.stop(toys.a, at=2.0)
    events = host.run().events[toys.b]
    assert [type(event) for _, event in events].count(Started) == 2
    assert len(bodies) == 3

    first = did[:]
    did.clear()
    lives = []
    assert replay(lambda: lives.append(toys.Script(rule)) or lives[-1], events) == first
    assert len(lives) == 2
    assert bodies[:3] == bodies[3:]
