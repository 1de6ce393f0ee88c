"""Bytes on the wire: golden vectors, and nothing a stranger sends raises anything but Reject."""

import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core.limits import BODY_BYTES_MAX, CHUNK_BYTES, HEADER_BYTES_MAX
from p2pfl.errors import Reject
from p2pfl.wire import canonical, envelope
from p2pfl.wire.envelope import ChunkCheck, check_body, chunk_digests, head_length, open_head, pieces, seal, split
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "envelope.json").read_text())
SIGNER = Signer(bytes.fromhex(VECTORS["seed"]))
NET = bytes.fromhex(VECTORS["network"])


def names(key):
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[key]]


def unmark(value):
    if isinstance(value, list):
        return [unmark(item) for item in value]
    return bytes.fromhex(value[4:]) if isinstance(value, str) and value.startswith("hex:") else value


def small():
    head, body = seal(SIGNER, NET, "test", [1, "two", b"three"], (b"body",))
    return bytes(head), bytes(body)


# ------------------------------------------------------------------------------------------------ golden vectors


@pytest.mark.parametrize("vector", names("accepted"))
def test_the_bytes_of_version_1(vector):
    body = bytes([vector["body"]["byte"]]) * vector["body"]["times"]
    fields = unmark(vector["fields"])
    parts = seal(SIGNER, NET, vector["kind"], fields, (body,) if body else ())
    assert bytes(parts[0]).hex() == vector["head"]
    head, view = split(b"".join(parts))
    assert head.authentic()
    assert (head.kind, head.author.hex(), head.network) == (vector["kind"], VECTORS["author"], NET)
    assert (head.body_len, head.fields) == (len(body), fields)
    assert (head.digest.hex(), head.raw.hex()) == (vector["digest"], vector["head"])
    check_body(head, view)


@pytest.mark.parametrize("vector", names("refused"))
def test_what_version_1_refuses(vector):
    with pytest.raises(Reject) as error:
        open_head(bytes.fromhex(vector["head"]))
    assert error.value.code == vector["code"]


@pytest.mark.parametrize("vector", names("not authentic"))
def test_forged_heads_parse_and_are_not_authentic(vector):
    assert not open_head(bytes.fromhex(vector["head"])).authentic()


# ------------------------------------------------------------------------------------------------ damage


def test_every_prefix_is_refused():
    head, body = small()
    message = head + body
    for cut in range(len(message)):
        with pytest.raises(Reject):
            split(message[:cut])
        if cut < len(head):
            with pytest.raises(Reject):
                open_head(message[:cut])


def test_trailing_bytes_are_refused():
    head, body = small()
    for bad in (head + body + b"\0", head + body + head + body):
        with pytest.raises(Reject):
            split(bad)
    with pytest.raises(Reject):
        open_head(head + b"\0")


def test_every_flipped_bit_is_noticed():
    """In the prefix and the header's form: Reject. In signature and header: not authentic. In the body: its digest."""
    head, body = small()
    message = head + body
    for bit in range(8 * len(message)):
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            opened, view = split(changed)
        except Reject:
            assert not 10 <= bit // 8 < 74, "a signature has no form to break"
            assert bit // 8 < len(head), "nor has a body"
            continue
        assert bit // 8 >= 10, "every byte of the prefix counts"
        if bit // 8 < len(head):
            assert not opened.authentic()
        else:
            assert opened.authentic()
            with pytest.raises(Reject) as error:
                check_body(opened, view)
            assert error.value.code == "chunk-digest"


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"P2PF\1\0\0\0\0" + tail))
def test_a_stranger_raises_nothing_but_reject(raw):
    for reader in (head_length, open_head, split):
        with suppress(Reject):
            reader(raw)


@given(
    header=st.recursive(
        st.integers(-2, 1 << 40)
        | st.sampled_from(["", "kind", bytes(32), b"", SIGNER.node])
        | st.booleans()
        | st.floats(),
        lambda inner: st.lists(inner, max_size=7),
        max_leaves=12,
    )
)
def test_a_well_signed_header_of_any_shape_is_opened_or_rejected(header):
    raw = canonical.packb(header)
    signature = SIGNER.sign(b"p2pfl/v1/kind\0" + blake3(raw).digest())
    try:
        head = open_head(b"P2PF\1\0" + len(raw).to_bytes(4, "big") + signature + raw)
    except Reject:
        return
    assert canonical.packb([head.kind, head.author, head.network, head.body_len, head.chunks, head.fields]) == raw


# ------------------------------------------------------------------------------------------------ bounds


def test_a_header_at_the_bound_and_one_past_it():
    fixed = len(canonical.packb(["test", SIGNER.node, NET, 0, b"", [bytes(1 << 12)]])) - (1 << 12)
    room = HEADER_BYTES_MAX - fixed
    (head,) = seal(SIGNER, NET, "test", [bytes(room)])
    assert len(open_head(head).header) == HEADER_BYTES_MAX
    assert len(head) == envelope.HEAD_BYTES_MAX == head_length(head)
    with pytest.raises(ValueError, match="over the wire's limits"):
        seal(SIGNER, NET, "test", [bytes(room + 1)])


def header_of(body_len):
    chunks = bytes(32 * -(-body_len // CHUNK_BYTES))
    return canonical.packb(["test", SIGNER.node, NET, body_len, chunks, []])


def test_a_body_length_at_the_bound_and_one_past_it():
    for body_len, is_fine in ((BODY_BYTES_MAX, True), (BODY_BYTES_MAX + 1, False)):
        raw = header_of(body_len)
        head = b"P2PF\1\0" + len(raw).to_bytes(4, "big") + bytes(64) + raw
        if is_fine:
            assert open_head(head).body_len == body_len
        else:
            with pytest.raises(Reject, match="body-length"):
                open_head(head)


def test_a_body_over_the_bound_is_not_sealed():
    part = bytes(1 << 20)
    body = (part,) * 1024
    assert envelope.seal_digested(SIGNER, NET, "test", [], body, bytes(32 * 1024))[1:] == body
    with pytest.raises(ValueError, match="over the wire's limits"):
        envelope.seal_digested(SIGNER, NET, "test", [], (*body, b"x"), bytes(32 * 1025))


# ------------------------------------------------------------------------------------------------ bodies


@given(st.lists(st.integers(0, 9000), max_size=8), st.sampled_from([1, 7, 4096]))
def test_pieces_are_chunks_whatever_the_parts(sizes, chunk):
    """Joined they are the body, all but the last are full, and none is a copy."""
    parts = [bytearray([index]) * size for index, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "CHUNK_BYTES", max(chunk, 64))
        chunks = [b"".join(views) for views in pieces(parts)]
        owners = {id(view.obj) for views in pieces(parts) for view in views}
    assert b"".join(chunks) == b"".join(parts)
    assert all(len(piece) == max(chunk, 64) for piece in chunks[:-1])
    assert all(chunks)
    assert owners <= {id(part) for part in parts}


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_a_body_is_checked_as_it_arrives(size):
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    digests = chunk_digests((body,))
    assert len(digests) == 32 * -(-size // CHUNK_BYTES)
    for step in (size or 1, 300_000):
        check = ChunkCheck(digests)
        for start, stop in pairwise([*range(0, size, step), size]):
            check.feed(memoryview(body)[start:stop])
        check.finish()


def test_a_false_chunk_is_refused_when_it_is_complete():
    body = bytearray(3 * CHUNK_BYTES)
    check = ChunkCheck(chunk_digests((body,)))
    body[CHUNK_BYTES + 5] ^= 1
    check.feed(memoryview(body)[: 2 * CHUNK_BYTES - 1])
    with pytest.raises(Reject, match="chunk 1 is not") as error:
        check.feed(memoryview(body)[2 * CHUNK_BYTES - 1 : 2 * CHUNK_BYTES])
    assert error.value.code == "chunk-digest"


@pytest.mark.parametrize(
    ("claimed", "came"), [(CHUNK_BYTES, 0), (2 * CHUNK_BYTES, CHUNK_BYTES), (5, 4), (4, 5), (0, 1)]
)
def test_a_body_of_another_length_is_refused(claimed, came):
    def read(check):
        check.feed(memoryview(bytes(came)))
        check.finish()

    with pytest.raises(Reject):
        read(ChunkCheck(chunk_digests((bytes(claimed),))))


def test_a_body_longer_than_its_digests_is_refused_at_the_next_chunk():
    check = ChunkCheck(chunk_digests((bytes(CHUNK_BYTES),)))
    check.feed(memoryview(bytes(CHUNK_BYTES)))
    with pytest.raises(Reject):
        check.feed(memoryview(bytes(CHUNK_BYTES)))


def test_the_parts_of_a_body_travel_as_they_are():
    parts = (bytearray(b"one"), memoryview(b"two"), b"")
    _, *sent = seal(SIGNER, NET, "test", [], parts)
    assert all(a is b for a, b in zip(sent, parts, strict=True))


def test_a_signature_serves_one_kind_one_network_and_one_body():
    one, other = (open_head(seal(SIGNER, NET, kind, [])[0]) for kind in ("test", "tess"))
    crossed = one.raw.replace(one.signature, other.signature)
    assert one.authentic()
    assert other.authentic()
    assert not open_head(crossed).authentic()
    assert one.digest != other.digest
