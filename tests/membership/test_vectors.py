"""Golden bytes of docs/formats/member.md: another implementation that gives these understands us."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.membership.record import Flag, Record, parse_record
from p2pfl.membership.statements import NOBODY, Tag, parse_statement, state
from p2pfl.membership.talk import Ack, Conflict, Line, Ping, Reach, Sync, Synced, Tell, parse_line
from p2pfl.membership.tokens import issue, parse_token
from p2pfl.wire import canonical
from p2pfl.wire.keyfile import Signer

FILE = Path(__file__).parent.parent / "vectors" / "member.json"
NET = bytes(range(32))
A, B = Signer(bytes([1]) * 32), Signer(bytes([2]) * 32)


def made() -> dict[str, Any]:
    """Everything in the file, from fixed inputs."""
    token = issue(A, NET, B.node, "issue", 5, last_epoch=3)
    below = issue(B, NET, A.node, "join", 6, last_height=9, parent=token)
    record = Record(
        NET, B.node, 7, bytes([9]) * 16, ("https://[::1]:9001", "http://b:1"), bytes([8]) * 32, "p2pfl 0.1.0",
        (1, 2), Flag.LISTENS | Flag.DRAINING, token.raw,
    ).signed(B)  # fmt: skip
    about = {Tag.LEFT: A.node, Tag.EPOCH: NOBODY, Tag.REVOKED: token.id}
    statements = {tag.name.lower(): state(A, tag, NET, about.get(tag, B.node), 7).raw.hex() for tag in Tag}
    rows = tuple(sorted([(A.node, 1, 0), (B.node, 7, 2)]))
    words = {
        "ping": Ping(bytes([3]) * 16),
        "reach": Reach(B.node),
        "digest": Sync(bytes([4]) * 32),
        "sync": Sync(bytes([4]) * 32, 0, 2, rows, (bytes([5]) * 16,)),
        "tell": Tell(),
        "ack": Ack(),
        "synced": Synced(False, (A.node,), True),
        "conflict": Conflict(b"proof"),
    }
    lines = {}
    for name, what in words.items():
        re = bytes([6]) * 32 if isinstance(what, Ack | Synced | Conflict) else b""
        lines[name] = Line(bytes([9]) * 16, 12, b"" if re else bytes([7]) * 16, re, (record.raw,), what).raw.hex()
    return {
        "record": record.raw.hex(),
        "statements": statements,
        "tokens": {"delegate": token.raw.hex(), "joiner": below.raw.hex()},
        "lines": lines,
    }


VECTORS = json.loads(FILE.read_text())


def test_the_bytes_are_those_of_the_file() -> None:
    assert made() == VECTORS


RAWS = [
    *((parse_statement, raw) for raw in (VECTORS["record"], *VECTORS["statements"].values())),
    *((parse_token, raw) for raw in VECTORS["tokens"].values()),
    *((parse_line, raw) for raw in VECTORS["lines"].values()),
]


@pytest.mark.parametrize(("parse", "raw"), RAWS)
def test_they_are_read_and_no_part_of_them_is(parse: Any, raw: str) -> None:
    whole = bytes.fromhex(raw)
    assert parse(whole).raw == whole
    for at in range(0, len(whole), 3):
        with pytest.raises(Reject):
            parse(whole[:at])
    with pytest.raises(Reject):
        parse(whole + b"\0")


@pytest.mark.parametrize(("parse", "raw"), RAWS[:8])
def test_a_changed_byte_of_what_is_signed_is_refused(parse: Any, raw: str) -> None:
    whole = bytes.fromhex(raw)
    for at in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[at] ^= 0x40
        with pytest.raises(Reject):
            parse(bytes(changed))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_nothing_but_reject_comes_of_rubbish(data: st.DataObject) -> None:
    parse, raw = data.draw(st.sampled_from(RAWS))
    changed = bytearray(bytes.fromhex(raw))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    values = st.recursive(st.integers() | st.binary(max_size=40) | st.text(max_size=5), st.lists, max_leaves=12)
    for rubbish in (bytes(changed), data.draw(st.binary(max_size=60)), _packed(data.draw(values))):
        with contextlib.suppress(Reject):
            parse(rubbish)


def _packed(value: Any) -> bytes:
    try:
        return canonical.packb(value)
    except (OverflowError, ValueError):
        return b""


def test_a_record_says_what_it_said() -> None:
    record = parse_record(bytes.fromhex(VECTORS["record"]))
    assert (record.incarnation, record.versions, record.listens) == (7, (1, 2), True)
    assert parse_token(record.token).subject == B.node


@pytest.mark.parametrize(
    "change",
    [
        {"urls": ("ftp://x:1",)},
        {"urls": ("http://x:1/path",)},
        {"urls": ("http://a:1",) * 5},
        {"software": "x" * 49},
        {"software": "line\nbreak"},
        {"certificate": b"short"},
        {"versions": (3, 2)},
        {"session": b"short"},
        {"token": bytes(2000)},
    ],
)
def test_a_record_out_of_bounds_cannot_be_made(change: Any) -> None:
    fields: dict[str, Any] = {"urls": (), **change}
    session = fields.pop("session", bytes(16))
    with pytest.raises(ValueError, match="not a record"):
        Record(NET, A.node, 1, session, **fields).signed(A)
