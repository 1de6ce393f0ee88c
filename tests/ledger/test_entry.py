"""One entry: made and parsed are inverse, and nothing but the one encoding of an honest entry is taken."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.limits import FEED_ENTRY_BYTES_MAX, RECEIPTS_PER_ENTRY_MAX, ROUNDS_MAX
from p2pfl.errors import Reject
from p2pfl.ledger.feeds.entry import (
    DOMAIN,
    INCARNATION_MAX,
    NO_ENTRY,
    REFS_MAX,
    check_signature,
    make,
    parse,
)
from p2pfl.ledger.feeds.kinds import CODEC_CHARS_MAX, WHOLE_MAX, Receipt, Reveal, batches
from p2pfl.wire import canonical
from p2pfl.wire.keyfile import Signer

ID = bytes(range(32))
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "feed.json").read_text())

values = st.recursive(
    st.integers(-(1 << 63), (1 << 64) - 1) | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=12,
)


def build(world: Any, **changes: Any) -> bytes:
    """A raw entry with any field changed: signed, but perhaps not allowed."""
    fields = {
        "v": 1,
        "net": ID,
        "author": world.alice.node,
        "incarnation": 0,
        "seq": 1,
        "prev": ID,
        "round": 0,
        "kind": "note",
        "payload": [],
        "refs": [],
    } | changes
    body = canonical.packb(list(fields.values()))
    return canonical.packb([body, world.alice.sign(DOMAIN + body)])


@settings(max_examples=60, deadline=None)
@given(
    seq=st.integers(1, WHOLE_MAX),
    incarnation=st.integers(0, INCARNATION_MAX),
    round_=st.integers(0, ROUNDS_MAX),
    kind=st.from_regex(r"[a-z][a-z0-9.]{0,20}x", fullmatch=True),
    payload=st.lists(values, max_size=5),
    refs=st.lists(st.binary(min_size=32, max_size=32), max_size=3),
)
def test_parse_is_the_inverse_of_make(
    world: Any, seq: int, incarnation: int, round_: int, kind: str, payload: list[Any], refs: list[bytes]
) -> None:
    made = make(world.alice, ID, (incarnation, seq), ID, round_, kind, payload, refs)
    again = parse(made.raw)
    assert again == made
    assert check_signature(again)
    assert (again.incarnation, again.seq, again.round, again.kind) == (incarnation, seq, round_, kind)
    assert canonical.packb(again.payload) == canonical.packb(payload)
    assert again.refs == tuple(refs)
    assert again.id == sha256(b"p2pfl/entry/v1\0" + again.body).digest()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_changed_byte_is_never_the_same_entry(world: Any, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(world.story()))
    raw = bytearray(entry.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = parse(bytes(raw))
    except Reject:
        return
    assert not check_signature(other)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=80))
def test_noise_is_rejected(raw: bytes) -> None:
    with pytest.raises(Reject):
        parse(raw)


def test_every_prefix_and_any_suffix_is_rejected(world: Any) -> None:
    raw = world.story()[0].raw
    for cut in range(len(raw)):
        with pytest.raises(Reject):
            parse(raw[:cut])
    with pytest.raises(Reject):
        parse(raw + b"\0")


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": [1.5]},
        {"payload": [True]},
        {"payload": [[[1.5]]]},
        {"payload": 7},
        {"net": ID[:31]},
        {"author": ID + b"\0"},
        {"prev": b""},
        {"incarnation": -1},
        {"incarnation": INCARNATION_MAX + 1},
        {"incarnation": True},
        {"seq": WHOLE_MAX + 1},
        {"seq": 0},
        {"prev": NO_ENTRY},
        {"kind": "feed.open", "payload": [1, ID]},
        {"round": ROUNDS_MAX + 1},
        {"round": 1.0},
        {"kind": ""},
        {"kind": "Note"},
        {"kind": "a" * 33},
        {"kind": "no\nte"},
        {"refs": [ID] * (REFS_MAX + 1)},
        {"refs": [ID[:5]]},
        {"refs": [7]},
        {"extra": 1},
        {"kind": "model", "payload": [ID, 2]},
        {"kind": "receipts", "payload": []},
        {"kind": "receipts", "payload": [[ID, 0, 0, ID, 1, 3, 1, 1]]},
        {"kind": "receipts", "payload": [[ID, 0, 0, ID, 1, 0, 1]]},
        {"kind": "receipts", "payload": [[ID, 0, 0, ID, -1, 0, 1, 1]]},
        {"kind": "delta.reveal", "payload": [[ID, 0, 0, ID, 1, ""]]},
        {"kind": "delta.reveal", "payload": [[ID, 0, 0, ID, 1, "int8\x1b[2J"]]},
        {"kind": "delta.reveal", "payload": [[ID, 0, 0, ID, 1, "x" * (CODEC_CHARS_MAX + 1)]]},
    ],
    ids=str,
)
def test_what_the_format_does_not_allow_is_rejected(world: Any, changes: dict[str, Any]) -> None:
    parse(build(world))
    with pytest.raises(Reject):
        parse(build(world, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"incarnation": INCARNATION_MAX},
        {"seq": WHOLE_MAX},
        {"round": ROUNDS_MAX},
        {"kind": "a" * 32},
        {"refs": [ID] * REFS_MAX},
        {"kind": "delta.reveal", "payload": [[ID, 0, 0, ID, 1, "x" * CODEC_CHARS_MAX]]},
    ],
    ids=str,
)
def test_the_bounds_themselves_are_allowed(world: Any, changes: dict[str, Any]) -> None:
    assert check_signature(parse(build(world, **changes)))


def test_an_entry_at_the_byte_bound_and_one_past_it(world: Any) -> None:
    room = FEED_ENTRY_BYTES_MAX - len(build(world, payload=[b"x" * 50_000])) + 50_000
    assert len(build(world, payload=[b"x" * room])) == FEED_ENTRY_BYTES_MAX
    parse(build(world, payload=[b"x" * room]))
    with pytest.raises(Reject, match="too-long"):
        parse(build(world, payload=[b"x" * (room + 1)]))
    with pytest.raises(ValueError, match="cannot be written: too-long"):
        make(world.alice, ID, (0, 1), ID, 0, "note", [b"x" * (room + 1)])


def test_receipts_at_the_row_bound_and_one_past_it(world: Any) -> None:
    rows = [[ID, 0, seq, ID, 1, 0, 1, 1] for seq in range(RECEIPTS_PER_ENTRY_MAX + 1)]
    parse(build(world, kind="receipts", payload=rows[:-1]))
    with pytest.raises(Reject, match="rows"):
        parse(build(world, kind="receipts", payload=rows))


def test_what_we_would_write_wrong_is_our_own_fault(world: Any) -> None:
    for payload in ([1.5], [{"a": 1}], [None], [True], [1 << 64], [[1]] * 3):
        with pytest.raises(ValueError, match="a receipts entry cannot be written"):
            make(world.alice, ID, (0, 1), ID, 0, "receipts", payload)


def test_the_id_does_not_depend_on_the_signature(world: Any) -> None:
    entry = world.story()[0]
    other = parse(canonical.packb([entry.body, bytes(64)]))
    assert other.id == entry.id
    assert not check_signature(other)


def test_an_unknown_kind_is_kept_and_flagged(world: Any) -> None:
    entry = parse(build(world, kind="later.kind", payload=[1, [b"x", "y"]]))
    assert not entry.known
    assert entry.payload == (1, (b"x", "y"))


@settings(max_examples=30, deadline=None)
@given(num_rows=st.integers(0, 1400), codec=st.sampled_from(["int8", "x" * CODEC_CHARS_MAX]), big=st.booleans())
def test_batches_keep_all_rows_in_order_and_each_fits_an_entry(
    world: Any, num_rows: int, codec: str, big: bool
) -> None:
    size = WHOLE_MAX if big else 1
    rows = [Reveal(ID, size, seq, ID, size, codec) for seq in range(num_rows)]
    pieces = batches(rows)
    assert [row for piece in pieces for row in piece] == rows
    for piece in pieces:
        make(world.alice, ID, (INCARNATION_MAX, WHOLE_MAX), ID, ROUNDS_MAX, "delta.reveal", piece, [ID] * REFS_MAX)
    assert len(pieces) <= -(-num_rows // (RECEIPTS_PER_ENTRY_MAX - 160)) if num_rows else not pieces


def test_a_full_batch_of_receipts_is_one_entry() -> None:
    rows = [Receipt(ID, WHOLE_MAX, WHOLE_MAX, ID, WHOLE_MAX, 0, WHOLE_MAX, WHOLE_MAX)] * RECEIPTS_PER_ENTRY_MAX
    assert len(batches(rows)) == 1


# -------------------------------------------------------------------------------------------- golden bytes


@pytest.mark.parametrize("vector", VECTORS["entries"], ids=lambda v: v["name"])
def test_the_bytes_are_the_ones_written_down(vector: dict[str, Any]) -> None:
    signer = Signer(bytes.fromhex(VECTORS["seed"]))
    made = make(
        signer,
        bytes.fromhex(VECTORS["net"]),
        (vector["incarnation"], vector["seq"]),
        bytes.fromhex(vector["prev"]),
        vector["round"],
        vector["kind"],
        from_json(vector["payload"]),
        [bytes.fromhex(ref) for ref in vector["refs"]],
    )
    assert made.raw.hex() == vector["raw"]
    assert made.id.hex() == vector["id"]
    assert check_signature(parse(bytes.fromhex(vector["raw"])))


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda v: v["name"])
def test_refusals_are_the_ones_written_down(vector: dict[str, Any]) -> None:
    with pytest.raises(Reject) as caught:
        parse(bytes.fromhex(vector["raw"]))
    assert caught.value.code == vector["code"]
    assert "\n" not in str(caught.value)


def from_json(value: Any) -> Any:
    """Vectors write bytes as `hex:..`."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return bytes.fromhex(value[4:]) if isinstance(value, str) and value.startswith("hex:") else value
