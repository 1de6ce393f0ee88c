"""Requests and answers of coordinated jobs: golden bytes, every value back, nothing else accepted."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError, Reject
from p2pfl.vertical.turns.messages import (
    BLOBS_MAX,
    INDEX_MAX,
    Accord,
    Kind,
    Request,
    pack_answer,
    pack_request,
    unpack_answer,
    unpack_request,
)
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "turns.json").read_text())
BLOBS = st.lists(st.binary(max_size=40), max_size=6)
NODES = [Signer(bytes([i + 1]) * 32).node for i in range(7)]


@settings(max_examples=40)
@given(kind=st.sampled_from(Kind), index=st.integers(0, INDEX_MAX - 1), blobs=BLOBS)
def test_a_request_comes_back(kind: Kind, index: int, blobs: list[bytes]) -> None:
    request = Request(kind, index, tuple(blobs))
    assert unpack_request(pack_request(request)) == request


@settings(max_examples=40)
@given(blobs=BLOBS)
def test_an_answer_comes_back_and_has_as_many_parts_as_expected(blobs: list[bytes]) -> None:
    raw = pack_answer(blobs)
    assert unpack_answer(raw, len(blobs)) == tuple(blobs)
    with pytest.raises(Reject, match="turn-malformed"):
        unpack_answer(raw, len(blobs) + 1)


@settings(max_examples=60)
@given(blobs=BLOBS, cut=st.integers(1, 12), extra=st.binary(min_size=1, max_size=4))
def test_anything_shorter_or_longer_is_refused(blobs: list[bytes], cut: int, extra: bytes) -> None:
    for raw in (pack_request(Request(Kind.STEP, 3, tuple(blobs))), pack_answer(blobs)):
        read = unpack_request if raw[:2] == b"\x01\x03" and raw != pack_answer(blobs) else None
        for bad in (raw[:-cut], raw + extra):
            with pytest.raises(Reject):
                read(bad) if read else unpack_answer(bad, len(blobs))


def test_golden_bytes() -> None:
    for vector in VECTORS["requests"]:
        request = Request(Kind[vector["kind"]], vector["index"], tuple(map(bytes.fromhex, vector["blobs"])))
        assert pack_request(request).hex() == vector["bytes"]
        assert unpack_request(bytes.fromhex(vector["bytes"])) == request
    for vector in VECTORS["answers"]:
        blobs = tuple(map(bytes.fromhex, vector["blobs"]))
        assert pack_answer(blobs).hex() == vector["bytes"]
        assert unpack_answer(bytes.fromhex(vector["bytes"]), len(blobs)) == blobs


@pytest.mark.parametrize("raw", VECTORS["refused"])
def test_what_is_refused(raw: str) -> None:
    with pytest.raises(Reject, match="turn-malformed"):
        unpack_request(bytes.fromhex(raw))


def test_bounds_of_what_is_sent() -> None:
    assert len(unpack_answer(pack_answer([b""] * BLOBS_MAX), BLOBS_MAX)) == BLOBS_MAX
    with pytest.raises(ValueError, match="at most 64"):
        pack_answer([b""] * (BLOBS_MAX + 1))
    with pytest.raises(ValueError, match="index below"):
        pack_request(Request(Kind.STEP, INDEX_MAX))


def test_who_may_take_part() -> None:
    parties = tuple((f"p{i}", node) for i, node in enumerate(NODES))
    assert Accord("j", parties[:5], bytes(32)).holder is None
    five = Accord("j", parties[:6], bytes(32), third=True)
    assert (five.holder, list(five.feature_holders)) == (5, [1, 2, 3, 4])
    for few, third in ((parties[:1], False), (parties[:2], True), (parties[:6], False), (parties, True)):
        with pytest.raises(ConfigError, match="2 to 5 with data"):
            Accord("j", few, bytes(32), third)
    assert Accord("j", parties[:3], bytes(32)).digest != Accord("j", parties[:3], bytes(32), third=True).digest
    with pytest.raises(ConfigError, match="timeout_s"):
        Accord("j", parties[:3], bytes(32), timeout_s=0.0)
