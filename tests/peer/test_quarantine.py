"""Who is put out, for how long, and what is kept to show for it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import short
from p2pfl.core.limits import PEERS_MAX
from p2pfl.core.party import Emit, Offered, Persist, Reply, ReplyToken, TimerFired, Verdict
from p2pfl.errors import Ignore, Reject
from p2pfl.peer.door import Door
from p2pfl.peer.quarantine import (
    EVIDENCE,
    EVIDENCE_MAX,
    FORGIVE_S,
    LIMIT,
    MISTAKES,
    OUT_S,
    OUT_S_MAX,
    Quarantine,
    verdict_on,
)
from p2pfl.wire.envelope import seal
from p2pfl.wire.keyfile import Signer
from p2pfl.wire.messages import Bye

NET = bytes(32)
ME, EVE = Signer(b"m" * 32), Signer(b"e" * 32)


def raw(fields: list, signer: Signer = EVE, kind: str = "bye") -> bytes:
    return bytes(seal(signer, NET, kind, fields)[0])


INVALID = raw([b"short", ME.node, 1])
VALID = raw(Bye(bytes(32), ME.node, 1).to_fields())


def test_at_the_limit_and_one_before_it() -> None:
    q = Quarantine()
    for _ in range(LIMIT - 1):
        q.count(EVE.node, "norm", 0.0)
    assert q.left_s(EVE.node, 0.0) == 0
    q.count(EVE.node, "norm", 0.0)
    assert q.left_s(EVE.node, 0.0) == OUT_S
    assert q.left_s(EVE.node, OUT_S) == 0
    assert q.left_s(ME.node, 0.0) == 0


def test_one_is_forgiven_in_so_many_seconds() -> None:
    """Rejections that come no faster than they are forgiven put nobody out, however many."""
    q = Quarantine()
    for n in range(10 * LIMIT):
        q.count(EVE.node, "norm", n * FORGIVE_S)
    assert q.effects() == []


def test_each_time_twice_as_long_up_to_a_bound() -> None:
    q, now, lasted = Quarantine(), 0.0, []
    for _ in range(8):
        for _ in range(LIMIT):
            q.count(EVE.node, "norm", now)
        lasted.append(q.left_s(EVE.node, now))
        now += lasted[-1]
    assert lasted == [min(OUT_S * 2**n, OUT_S_MAX) for n in range(8)]


@pytest.mark.parametrize("code", sorted(MISTAKES))
def test_mistakes_are_not_counted(code: str) -> None:
    q = Quarantine()
    for _ in range(10 * LIMIT):
        q.count(EVE.node, code, 0.0)
    assert q.left_s(EVE.node, 0.0) == 0


def test_what_is_remembered_is_bounded() -> None:
    q = Quarantine()
    for n in range(PEERS_MAX + 10):
        q.count(Signer(n.to_bytes(32, "big")).node, "norm", 0.0)
    assert len(q._accounts) == PEERS_MAX


def knock(door: Door, message: bytes, times: int) -> list[str]:
    said = []
    for token in range(times):
        try:
            door.admit(ReplyToken(token), message)
            said.append("admitted")
            door.release(ReplyToken(token))
        except (Reject, Ignore) as no:
            said.append(no.code)
    return said


def test_a_neighbour_that_sends_nonsense_is_put_out_and_comes_back() -> None:
    door = Door(ME.node, NET, frozenset({EVE.node}))
    assert knock(door, INVALID, LIMIT + 2) == ["malformed"] * LIMIT + ["quarantined"] * 2
    assert knock(door, VALID, 1) == ["quarantined"]
    door.now = OUT_S
    assert knock(door, VALID, 1) == ["admitted"]


def test_nobody_can_get_another_one_into_trouble() -> None:
    """Only what the node signed counts: false signatures in its name are refused and forgotten."""
    door = Door(ME.node, NET, frozenset({EVE.node}))
    forged = bytearray(INVALID)
    forged[20] ^= 1
    assert set(knock(door, bytes(forged), 5 * LIMIT)) == {"signature"}
    assert knock(door, VALID, 1) == ["admitted"]


def test_evidence_is_kept_and_convinces_whoever_reads_it() -> None:
    door = Door(ME.node, NET, frozenset({EVE.node}))
    knock(door, INVALID, LIMIT)
    kept = [put for effect in door.quarantine.effects() if isinstance(effect, Persist) for put in effect.puts]
    assert len(kept) == EVIDENCE_MAX
    for put in kept:
        assert put.space == EVIDENCE
        assert put.key.startswith(EVE.node)
        assert verdict_on(put.value) == (EVE.node, "malformed")


def test_what_proves_nothing() -> None:
    forged = bytearray(INVALID)
    forged[20] ^= 1
    for text in (VALID, bytes(forged), b"", b"P2PF", raw([1], kind="of another version")):
        assert verdict_on(text) is None


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_evidence_may_be_anything(text: bytes) -> None:
    assert verdict_on(text) is None


def test_the_peer_answers_busy_says_so_and_keeps_the_proof(gate: Any, job: Any) -> None:
    """Through the whole Peer: verdicts, the event, the Persist, and its status."""
    peer, friend = gate.peer(job), gate.friend
    peer.handle(TimerFired("t"), 1.0)
    network = peer.network
    invalid = bytes(seal(friend, network, "bye", [b"short", gate.me.node, 1])[0])
    found = [effect for n in range(LIMIT + 1) for effect in peer.handle(Offered(ReplyToken(n), invalid), 1.0)]
    verdicts = [effect.verdict for effect in found if isinstance(effect, Reply)]
    assert verdicts == [Verdict.REJECT] * LIMIT + [Verdict.BUSY]
    told = [effect.fields["peer"] for effect in found if isinstance(effect, Emit) and effect.name == "quarantined"]
    assert told == [short(friend.node)]
    assert sum(isinstance(effect, Persist) for effect in found) == EVIDENCE_MAX
    wanted = {"left_s": OUT_S, "code": "malformed", "evidence": EVIDENCE_MAX}
    assert peer.status()["quarantined"] == {short(friend.node): wanted}
