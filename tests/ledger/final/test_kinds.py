"""What membership says: every field checked, at its bound and one past it, and shown in words."""

from typing import Any

import msgpack
import pytest

from p2pfl.errors import Reject
from p2pfl.ledger.feeds.describe import details, summary
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.kinds import ACKNOWLEDGEMENTS_MAX, SCORE_MAX, SUBJECTS_MAX
from p2pfl.ledger.feeds.packed import DEPTH_MAX, unpack
from p2pfl.ledger.feeds.shapes import check_payload
from p2pfl.ledger.feeds.statements import acknowledge, consent, is_acknowledged, is_consent

ID, SIGNATURE, SALT = b"\x22" * 32, b"\x33" * 64, b"\x44" * 32
GOOD: dict[str, tuple[tuple[Any, ...], str]] = {
    "join": ((3,), "asks to be: worker, validator"),
    "endorse": ((ID, 2), "speaks for 22222222 as: validator"),
    "leave": ((1,), "gives up: worker"),
    "key.rotate": ((ID, SIGNATURE), "goes on under the key 22222222"),
    "privacy": (
        ("example", "zero-out", 10**10, 4 * 10**9, ((10**9, 10**8, 70),)),
        "examples, zero-out, delta 1e-05, epsilon 4 at most; 1 kinds of release so far",
    ),
    "vertical.alignment": ((ID, (40, 30), 20), "20 rows in common of 40, 30"),
    "vertical.steps": ((ID, 70), "job 22222222: 70 steps done"),
    "vertical.scores": ((ID, 50, (("auc", 993_000), ("rmse", 5))), "auc 0.9930, rmse 0.0000; 50 rows held out"),
    "update.commit": ((ID, SALT, 20, 39), "its update of rounds 20 to 39, hidden"),
    "draw.salt": ((4, SALT), "its salt for the draw of window 4"),
    "score.commit": ((4, ID), "its scores of window 4, hidden"),
    "score.reveal": (
        (4, SALT, ID, "exact", 64, 30, ((ID, -1200, 0), (SALT, 10**9, 5))),
        "2 scores of window 4: exact, 64 models on 30 examples",
    ),
    "resume": ((0, 7, ID, ((ID, SIGNATURE),)), "after incarnation 0, seq 7 (22222222); 1 acknowledge"),
}


@pytest.mark.parametrize("kind", list(GOOD))
def test_a_good_payload_comes_back_and_is_shown(make_network: Any, kind: str) -> None:
    network = make_network()
    payload, words = GOOD[kind]
    entry = parse(network.say(0, kind, payload).raw)
    assert (entry.payload, entry.known, summary(entry)) == (payload, True, words)
    assert details(entry)["payload"]


@pytest.mark.parametrize("kind", list(GOOD))
def test_every_field_is_checked(kind: str) -> None:
    payload, _ = GOOD[kind]
    for bad in ((), payload[:-1], (*payload, 1)):
        with pytest.raises(Reject):
            check_payload(kind, bad)
    for at in range(len(payload)):
        for wrong in (-1, 1 << 63, b"short", "text", True, ((),)):
            with pytest.raises(Reject, match="payload"):
                check_payload(kind, (*payload[:at], wrong, *payload[at + 1 :]))


@pytest.mark.parametrize("roles", [0, 4, 7])
def test_nobody_asks_to_be_a_sponsor(roles: int) -> None:
    with pytest.raises(Reject, match="expected roles of 1 to 3"):
        check_payload("join", (roles,))


def test_acknowledgements_at_their_bound() -> None:
    rows = ((ID, SIGNATURE),) * ACKNOWLEDGEMENTS_MAX
    check_payload("resume", (0, 7, ID, rows))
    with pytest.raises(Reject, match="at most 256 rows"):
        check_payload("resume", (0, 7, ID, (*rows, rows[0])))


def test_scores_at_their_bounds() -> None:
    def check(*rows: tuple[bytes, int, int]) -> None:
        check_payload("score.reveal", (4, SALT, ID, "gtg", 64, 30, rows))

    check(*[(ID, SCORE_MAX, 6)] * SUBJECTS_MAX)
    for rows in ([(ID, 0, 0)] * (SUBJECTS_MAX + 1), [(ID, SCORE_MAX + 1, 0)], [(ID, -SCORE_MAX - 1, 0)], [(ID, 0, 7)]):
        with pytest.raises(Reject, match="payload"):
            check(*rows)


def test_statements_are_of_one_meaning(make_network: Any) -> None:
    network = make_network()
    old, new = network.nodes[0], network.nodes[1]
    given = consent(new, network.net, old.node)
    assert is_consent(network.net, old.node, new.node, given)
    assert not is_consent(network.net, new.node, old.node, given)
    assert not is_consent(bytes(32), old.node, new.node, given)
    head = acknowledge(new, network.net, old.node, 0, 7, ID)
    assert is_acknowledged(new.node, head, network.net, old.node, 0, 7, ID)
    for place in (
        (network.net, old.node, 1, 7, ID),
        (network.net, old.node, 0, 8, ID),
        (bytes(32), old.node, 0, 7, ID),
    ):
        assert not is_acknowledged(new.node, head, *place)
    assert not is_consent(network.net, old.node, new.node, head)


@pytest.mark.parametrize("value", [1, b"x", "x", {}, None, [1.5], [True], [None], [{1: 2}], [[False]]])
def test_what_no_signed_body_holds_is_refused(value: Any) -> None:
    with pytest.raises(Reject):
        unpack(msgpack.packb(value), 100)


def test_depth_and_size_at_their_bounds() -> None:
    value: list[Any] = []
    for _ in range(DEPTH_MAX):
        value = [value]
    raw = msgpack.packb(value)
    assert unpack(raw, len(raw))
    for bad, size in ((msgpack.packb([value]), 100), (raw, len(raw) - 1), (raw + b"\0", 100), (b"\xdc\x00\x00", 100)):
        with pytest.raises(Reject):
            unpack(bad, size)
