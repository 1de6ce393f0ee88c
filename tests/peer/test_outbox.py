"""What waits for neighbours: bounded, repeated when it failed, squeezed, and never said twice for nothing."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from p2pfl.errors import Reject
from p2pfl.ledger.feeds.bounds import MESSAGE_BYTES_MAX
from p2pfl.peer.outbox import (
    DELAY_S,
    GIVE_UP,
    PARCEL_BYTES,
    PARCEL_BYTES_MAX,
    PARCEL_ITEMS_MAX,
    PATIENCE_S,
    PATIENCE_S_MIN,
    PAUSE_S,
    PAUSE_S_MAX,
    VERSION,
    WAITING_MAX,
    Outbox,
    pack,
    unpack,
)
from p2pfl.wire import canonical
from p2pfl.wire.keyfile import Signer

SIGNERS = sorted((Signer(bytes([number]) * 32) for number in (1, 2, 3, 4)), key=lambda signer: signer.node)
KEYS = tuple(signer.node for signer in SIGNERS)
VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "parcel.json").read_text())


def said(box: Outbox, now: float) -> list[list[bytes]]:
    return [unpack(body)[0] for _, body in box.next_parcels(now)]


def test_an_outbox_is_bounded_and_closes_parcels() -> None:
    box = Outbox([KEYS[1], KEYS[2]])
    for number in range(WAITING_MAX + 5):
        box.put(number.to_bytes(4, "big"), 0.0, KEYS[1])
    box.put(b"a stranger's", 0.0, KEYS[3])
    assert len(box.boxes[KEYS[1]].waiting) == WAITING_MAX
    assert box.next_parcels(0.0) == []
    assert box.due() == DELAY_S
    ((to, body),) = box.next_parcels(1.0)
    talk, notes = unpack(body)
    assert (to, len(talk), notes) == (KEYS[1], PARCEL_ITEMS_MAX, [])
    assert talk[0] == (5).to_bytes(4, "big")
    assert box.next_parcels(1.0) == []
    box.delivered(KEYS[1], 1.0)
    assert len(box.next_parcels(1.0)) == 1
    box.put(bytes(PARCEL_BYTES), 0.0, None, but=KEYS[1])
    box.put(b"next", 0.0, KEYS[2])
    ((_, body),) = box.next_parcels(1.0)
    assert [len(raw) for raw in unpack(body)[0]] == [PARCEL_BYTES]


def test_what_a_neighbour_says_is_not_said_to_it() -> None:
    box = Outbox([KEYS[1], KEYS[2]])
    for raw in (b"old", b"news"):
        box.put(raw, 0.0, None)
    box.heard(KEYS[1], [b"news"], [b"old"], 0.0)
    assert [unpack(body)[0] for _, body in box.next_parcels(1.0)] == [[b"old"], [b"old", b"news"]]


def test_a_neighbour_that_fails_is_left_alone_for_longer_and_longer() -> None:
    box, now, pauses = Outbox([KEYS[1]]), 0.0, []
    for _ in range(10):
        box.put(b"piece", now, KEYS[1])
        due = box.due()
        pauses.append(round(due - now, 6))
        now = due
        assert len(box.next_parcels(now)) == 1
        box.failed(KEYS[1], now)
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[-1] == PAUSE_S_MAX
    box.put(b"piece", now, KEYS[1])
    box.heard(KEYS[1], [], [], now)
    assert box.due() == now + DELAY_S


def test_a_parcel_is_bounded() -> None:
    most = [b"x"] * PARCEL_ITEMS_MAX
    assert unpack(pack(most, [])) == (most, [])
    for body in (pack([*most, b"x"], []), pack([bytes(MESSAGE_BYTES_MAX + 1)], []), b"", b"\x90"):
        with pytest.raises(Reject):
            unpack(body)


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: vector["name"])
def test_golden_parcels(vector: dict[str, Any]) -> None:
    talk, notes = ([bytes.fromhex(raw) for raw in vector[key]] for key in ("talk", "notes"))
    assert unpack(pack(talk, notes)) == (talk, notes)
    assert unpack(bytes.fromhex(vector["body"])) == (talk, notes)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_refused_parcels(vector: dict[str, Any]) -> None:
    with pytest.raises(Reject) as refused:
        unpack(bytes.fromhex(vector["body"]))
    assert refused.value.code == vector["code"]


def test_a_parcel_that_failed_is_sent_again_with_what_came_up() -> None:
    box, now = Outbox([KEYS[1]]), 1.0
    box.put(b"first", 0.0, KEYS[1])
    assert said(box, now) == [[b"first"]]
    box.put(b"second", now, KEYS[1])
    box.failed(KEYS[1], now)
    assert said(box, now) == []
    now += PAUSE_S
    assert said(box, now) == [[b"first", b"second"]]


def test_what_waits_for_somebody_who_is_away_is_dropped() -> None:
    box, now = Outbox([KEYS[1]]), 0.0
    for time in range(GIVE_UP):
        box.put(b"%d" % time, now, KEYS[1])
        now = box.due()
        assert len(said(box, now)[0]) == time + 1
        box.failed(KEYS[1], now)
    assert box.boxes[KEYS[1]].idle
    box.put(b"later", now, KEYS[1])
    assert said(box, box.due()) == [[b"later"]]


def test_a_lazy_piece_goes_with_the_first_urgent_one() -> None:
    box = Outbox([KEYS[1]], lazy_s=0.5)
    box.put(b"lazy", 0.0, KEYS[1], lazy=True)
    assert box.due() == 0.5
    box.put(b"urgent", 0.1, KEYS[1])
    assert box.due() == pytest.approx(0.1 + DELAY_S)
    assert said(box, box.due()) == [[b"lazy", b"urgent"]]


def test_of_one_thing_the_last_word_waits() -> None:
    box = Outbox([KEYS[1]])
    for raw, about in ((b"one", b"a"), (b"other", b"b"), (b"two", b"a")):
        box.put(raw, 0.0, KEYS[1], about=about)
    assert said(box, 1.0) == [[b"two", b"other"]]
    box.put(b"three", 1.0, KEYS[1], about=b"a")
    box.failed(KEYS[1], 1.0)
    assert said(box, box.due()) == [[b"other", b"three"]], "what failed is not newer than what came up since"
    assert box.boxes[KEYS[1]].waiting_bytes == 0


def test_patience_follows_the_round_trips() -> None:
    box, now = Outbox([KEYS[1]]), 0.0
    assert box.patience_s(KEYS[1], 0) == PATIENCE_S
    for trip in [0.01] * 20 + [3.0] * 20:
        box.put(b"x", now, KEYS[1])
        now = box.due()
        assert said(box, now)
        now += trip
        box.delivered(KEYS[1], now)
        if trip < 1:
            assert box.patience_s(KEYS[1], 0) == PATIENCE_S_MIN
    once = box.patience_s(KEYS[1], 0)
    assert 3.0 < once < 6.0
    assert box.patience_s(KEYS[1], PARCEL_BYTES) > once + 10.0, "a large one takes longer"
    box.put(b"x", now, KEYS[1])
    assert said(box, box.due())
    box.failed(KEYS[1], now)
    assert box.patience_s(KEYS[1], 0) == 2 * once


@pytest.mark.parametrize("size", [PARCEL_BYTES_MAX, PARCEL_BYTES_MAX + 1])
def test_what_is_squeezed_cannot_be_larger_than_a_parcel(size: int) -> None:
    """A few kilobytes of stream can claim gigabytes."""
    with pytest.raises(Reject) as refused:
        unpack(canonical.packb([VERSION, zlib.compress(bytes(size), 9)]))
    assert ("one zlib stream" in str(refused.value)) == (size > PARCEL_BYTES_MAX)
