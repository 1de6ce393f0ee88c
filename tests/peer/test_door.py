"""Who gets in, and what is said to those who do not: a code for machines, and no exception for anybody."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core.limits import HEADER_BYTES_MAX
from p2pfl.core.party import Dropped, Emit, Received, ReplyToken, Take, TimerFired, Verdict
from p2pfl.peer.door import DETAIL_CHARS_MAX, OPEN_PER_NEIGHBOUR, refusal_bytes, refusal_code
from p2pfl.wire.envelope import seal
from p2pfl.wire.messages import Bye
from p2pfl.wire.post import Answer, Gone, Meet, Refuse, Whole


def test_a_neighbours_message_comes_in(gate: Any, job: Any) -> None:
    assert gate.offer(gate.peer(job), gate.sealed(gate.hello())) == []
    (knock,) = job.knocks()
    assert knock.message == gate.hello()
    assert knock.head.author == gate.friend.node


def test_everybody_else_stays_outside(gate: Any, job: Any) -> None:
    peer = gate.peer(job)
    good = gate.sealed(gate.hello())
    forged = good[:20] + bytes([good[20] ^ 1]) + good[21:]
    unknown = b"".join(map(bytes, seal(gate.friend, gate.net, "gossip", [1, 2])))
    cases = {
        "stranger": gate.sealed(gate.hello(), gate.stranger),
        "network": gate.sealed(gate.hello(), net=bytes(32)),
        "not-for-me": gate.sealed(gate.hello(gate.second.node)),
        "signature": forged,
        "kind": unknown,
        "not-p2pfl": b"GET / HTTP/1.1\r\n\r\n",
        "version": good[:4] + b"\x02" + good[5:],
        "malformed": good + b"\0",
        "header-length": good[:6] + (HEADER_BYTES_MAX + 1).to_bytes(4, "big") + good[10:],
    }
    for code, raw in cases.items():
        assert gate.refused(gate.offer(peer, raw)) == (Verdict.REJECT, code)
    assert job.knocks() == []
    assert peer.status()["refused"] == dict.fromkeys(cases, 1)


def test_a_job_may_meet_others_and_leave_those_it_met(gate: Any, job: Any) -> None:
    peer = gate.peer(job)
    job.effects.append([Meet((gate.stranger.node,))])
    assert peer.handle(TimerFired("t"), 1.0) == []
    gate.offer(peer, gate.sealed(gate.hello(), gate.stranger), 1)
    assert len(job.knocks()) == 1
    verdict, code = gate.refused(gate.offer(peer, gate.sealed(gate.hello(), gate.friend), 2))
    assert (verdict, code) == (Verdict.REJECT, "stranger")


def test_a_refusal_is_told_to_the_operator(gate: Any) -> None:
    effects = gate.offer(gate.peer(), gate.sealed(gate.hello(), gate.stranger))
    assert effects[0] == Emit("refused", {"code": "stranger", "detail": "not a neighbour of mine"})


def test_one_key_cannot_speak_for_another(gate: Any, job: Any) -> None:
    """Signed by a stranger, with a neighbour's name on it."""
    raw = gate.sealed(gate.hello(), gate.stranger)
    named = raw.replace(gate.stranger.node, gate.friend.node)
    assert gate.refused(gate.offer(gate.peer(job), named)) == (Verdict.REJECT, "signature")


def test_one_kind_cannot_pass_for_another(gate: Any) -> None:
    raw = gate.sealed(gate.bye())
    assert gate.refused(gate.offer(gate.peer(), raw.replace(b"\xa3bye", b"\xa3row"))) == (Verdict.REJECT, "signature")


# ------------------------------------------------------------------------------------------------ slots


def test_a_neighbour_has_a_few_requests_open_and_no_more(gate: Any, job: Any) -> None:
    peer, raw = gate.peer(job), gate.sealed(gate.hello())
    for token in range(OPEN_PER_NEIGHBOUR):
        assert gate.offer(peer, raw, token) == []
    assert gate.refused(gate.offer(peer, raw, 10)) == (Verdict.BUSY, "busy")
    other = gate.sealed(gate.hello(), gate.second)
    assert gate.offer(peer, other, 11) == [], "one neighbour does not keep another out"
    job.effects.append([Answer(ReplyToken(0), Bye(gate.recipe, gate.friend.node, 1))])
    peer.handle(Dropped(ReplyToken(3), "gone"), 1.0)
    assert gate.offer(peer, raw, 12) == []
    assert gate.offer(peer, raw, 13) == []


def test_while_a_body_is_on_its_way_its_sender_waits(gate: Any, job: Any) -> None:
    peer, raw = gate.peer(job), gate.sealed(gate.hello())
    job.effects.append([Take(ReplyToken(1))])
    assert gate.offer(peer, raw, 1) == [Take(ReplyToken(1))]
    assert gate.refused(gate.offer(peer, raw, 2)) == (Verdict.BUSY, "busy")
    assert gate.offer(peer, gate.sealed(gate.hello(), gate.second), 3) == []
    job.effects.append([Refuse(ReplyToken(1), Verdict.IGNORE, "late")])
    effects = peer.handle(Received(ReplyToken(1), b""), 1.0)
    assert gate.refused(effects) == (Verdict.IGNORE, "late")
    assert isinstance(job.seen[-1], Whole)
    assert gate.offer(peer, raw, 4) == []


def test_a_body_that_never_came_frees_its_slot(gate: Any, job: Any) -> None:
    peer, raw = gate.peer(job), gate.sealed(gate.hello())
    job.effects.append([Take(ReplyToken(1))])
    gate.offer(peer, raw, 1)
    peer.handle(Dropped(ReplyToken(1), "the sender trickled"), 1.0)
    assert job.seen[-1] == Gone(ReplyToken(1))
    assert gate.offer(peer, raw, 2) == []


def test_a_forger_takes_no_slot(gate: Any, job: Any) -> None:
    """Who cannot sign does not keep his victim out."""
    peer, good = gate.peer(job), gate.sealed(gate.hello())
    forged = good[:20] + bytes([good[20] ^ 1]) + good[21:]
    for token in range(100):
        assert gate.refused(gate.offer(peer, forged, token)) == (Verdict.REJECT, "signature")
    assert gate.offer(peer, good, 200) == []


# ------------------------------------------------------------------------------------------------ refusals on the wire


@given(st.text(max_size=500), st.text(max_size=500))
def test_a_refusal_carries_its_code(code: str, detail: str) -> None:
    assert refusal_code(refusal_bytes(code, detail)) == code[:32]
    assert len(refusal_bytes("x", detail)) <= 4 * DETAIL_CHARS_MAX + 16


@given(st.binary(max_size=200))
def test_what_is_no_refusal_has_no_code(raw: bytes) -> None:
    assert isinstance(refusal_code(raw), str)


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x92\x01\x02", b"\x91\xa1a", bytes(100_000)])
def test_rubbish_has_the_empty_code(raw: bytes) -> None:
    assert refusal_code(raw) == ""
