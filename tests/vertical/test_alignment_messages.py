"""Messages: bytes that stay what they are, and nothing but Reject from any others."""

import json
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError, Reject
from p2pfl.vertical.align.bounds import (
    ALIGN_CHUNK_POINTS,
    ALIGN_CHUNK_ROWS,
    ALIGN_IDS_MAX,
    ALIGN_MESSAGE_BYTES_MAX,
    ALIGN_PARTIES_MAX,
)
from p2pfl.vertical.align.messages import STREAMS_MAX, VERSION, Matches, Message, Points, Standing, pack, unpack
from p2pfl.vertical.align.terms import Terms

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "alignment.json").read_text())
MESSAGES: dict[str, Message] = {
    "standing": Standing(bytes(range(32)), bytes(range(16)), 1000, (0, 3), True),
    "points": Points(2, 1, bytes(range(64))),
    "matches": Matches(4, 0, 2, b"\0\0\0\7\0\0\1\0"),
}


@pytest.mark.parametrize("case", VECTORS["messages"], ids=lambda case: case["what"])
def test_bytes_stay_what_they_are(case: dict[str, str]) -> None:
    assert pack(MESSAGES[case["what"]]).hex() == case["bytes"]
    assert unpack(bytes.fromhex(case["bytes"])) == MESSAGES[case["what"]]


@pytest.mark.parametrize("case", VECTORS["terms"])
def test_terms_digests_stay_what_they_are(case: dict[str, str]) -> None:
    terms = Terms(case["job"], tuple(case["parties"]), bytes.fromhex(case["salt"]))
    assert (terms.mode, terms.bucket) == (case["mode"], case["bucket"])
    assert terms.digest.hex() == case["digest"]
    assert terms.domain.hex() == case["domain"]


@pytest.mark.parametrize("what", MESSAGES)
def test_every_prefix_and_every_trailing_byte_is_refused(what: str) -> None:
    data = pack(MESSAGES[what])
    for end in range(len(data)):
        with pytest.raises(Reject):
            unpack(data[:end])
    with pytest.raises(Reject):
        unpack(data + b"\0")


@settings(max_examples=200)
@given(st.sampled_from(sorted(MESSAGES)), st.integers(0, 120), st.integers(1, 255))
def test_a_flipped_byte_gives_a_message_or_a_reject(what: str, place: int, flip: int) -> None:
    data = bytearray(pack(MESSAGES[what]))
    data[place % len(data)] ^= flip
    try:
        message = unpack(data)
    except Reject:
        return
    assert unpack(pack(message)) == message


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=40) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=300)
@given(anything | st.tuples(st.integers(0, 3), anything, anything, anything, anything, anything).map(list))
def test_any_msgpack_gives_a_message_or_a_reject(value: object) -> None:
    try:
        unpack(bytes([VERSION]) + msgpack.packb(value))
    except Reject:
        return


def test_another_version_is_refused_politely() -> None:
    with pytest.raises(Reject, match="expected alignment messages of version 1, got 2"):
        unpack(b"\2" + pack(MESSAGES["points"])[1:])


@pytest.mark.parametrize(
    ("at", "past"),
    [
        (Points(0, 0, bytes(32 * ALIGN_CHUNK_POINTS)), Points(0, 0, bytes(32 * ALIGN_CHUNK_POINTS + 32))),
        (Points(STREAMS_MAX, 0, b""), Points(STREAMS_MAX + 1, 0, b"")),
        (Points(0, ALIGN_IDS_MAX, b""), Points(0, ALIGN_IDS_MAX + 1, b"")),
        (Points(0, 0, bytes(32)), Points(0, 0, bytes(33))),
        (Matches(0, 0, 0, bytes(4 * ALIGN_CHUNK_ROWS)), Matches(0, 0, 0, bytes(4 * ALIGN_CHUNK_ROWS + 4))),
        (Matches(0, 0, ALIGN_IDS_MAX, b""), Matches(0, 0, ALIGN_IDS_MAX + 1, b"")),
        (Standing(bytes(32), bytes(16), ALIGN_IDS_MAX, (), True), Standing(bytes(32), bytes(16), 0, (), True)),
        (
            Standing(bytes(32), bytes(16), 1, (0,) * STREAMS_MAX, True),
            Standing(bytes(32), bytes(16), 1, (0,) * (STREAMS_MAX + 1), True),
        ),
        (Standing(bytes(32), bytes(16), 1, (ALIGN_IDS_MAX,), True), Standing(bytes(32), bytes(16), 1, (-1,), True)),
        (Standing(bytes(32), bytes(16), 1, (), True), Standing(bytes(31), bytes(16), 1, (), True)),
        (Standing(bytes(32), bytes(16), 1, (), True), Standing(bytes(32), bytes(17), 1, (), True)),
    ],
)
def test_bounds(at: Message, past: Message) -> None:
    assert len(pack(at)) <= ALIGN_MESSAGE_BYTES_MAX
    assert unpack(pack(at)) == at
    with pytest.raises(Reject):
        unpack(pack(past))


def test_streams_fit_their_bound() -> None:
    for mode in ("ring", "star"):
        terms = Terms("j", tuple("abcde"), mode=mode)  # type: ignore[arg-type]
        assert len(terms.streams) <= STREAMS_MAX
        assert [s.number for s in terms.streams] == list(range(len(terms.streams)))
        assert all(route.path[-1] == 0 for route in terms.routes)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"parties": ("a",)}, f"expected 2 to {ALIGN_PARTIES_MAX} parties, got 1"),
        ({"parties": tuple("abcdef")}, f"expected 2 to {ALIGN_PARTIES_MAX} parties, got 6"),
        ({"parties": ("a", "a")}, "expected different parties"),
        ({"mode": "tree"}, "expected one of ring, star, got 'tree'"),
        ({"ids_max": 0}, "alignment.ids_max: expected 1 to"),
        ({"ids_max": ALIGN_IDS_MAX + 1}, "alignment.ids_max: expected 1 to"),
        ({"bucket": 0}, "alignment.bucket: expected 1 to"),
        ({"bucket": 11, "ids_max": 10}, "alignment.bucket: expected 1 to"),
    ],
)
def test_terms_out_of_bounds_are_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Terms(**{"job": "j", "parties": ("a", "b"), **fields})  # type: ignore[arg-type]


def test_more_ids_than_the_job_allows_are_refused() -> None:
    terms = Terms("j", ("a", "b"), bucket=8, ids_max=20)
    assert terms.padded(16) == 16
    with pytest.raises(ConfigError, match=r"at most ids_max = 20 ids, got 17 \(24 with padding\)"):
        terms.padded(17)
