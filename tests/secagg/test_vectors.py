"""Golden bytes of docs/formats/secagg.md: another implementation that gives these understands us."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.secagg import shares
from p2pfl.secagg.beacon import commitment, context_of, salt_of, value_of
from p2pfl.secagg.cell import Cell, slices
from p2pfl.secagg.masks import Stream, agree, apply_streams, public_of
from p2pfl.secagg.partition import Ground, cells_of
from p2pfl.secagg.rounding import Grid
from p2pfl.secagg.salt import SaltMessage
from p2pfl.secagg.sealing import commit, seal
from p2pfl.secagg.sheet import pack_heads, sheet_digest
from p2pfl.secagg.statements import CellMessage, Keys, Slice, Step
from p2pfl.secagg.vectors import to_bytes
from p2pfl.wire import canonical

FILE = Path(__file__).parent.parent / "vectors" / "secagg.json"


def made() -> dict[str, Any]:
    """Everything in the file, from fixed inputs."""
    a, b, seed = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
    members = tuple(NodeId(bytes([n]) * 32) for n in range(1, 6))
    cell = Cell(members, bytes(32), 7)
    words, late = np.zeros(6, np.uint32), np.zeros(4, np.uint32)
    apply_streams(words, [Stream(seed, 1)])
    apply_streams(late, [Stream(seed, 1)], 4 * 100)
    values = np.array([-64.0, -1.0, -0.3, 0.0, 0.3, 1.0, 1e-7, 65.0])
    message = CellMessage(bytes(32), members[1], cell.id, 7, Step.KEYS, Keys(public_of(a), public_of(b), 3).payload())
    words_of_it = CellMessage(bytes(32), members[1], cell.id, 7, Step.SLICE, Slice(bytes(32), 2).payload())
    around = {node: tuple(other for other in members if other != node) for node in members}
    return {
        "version": 1,
        "stream": {"seed": seed.hex(), "words_0": to_bytes(words).hex(), "words_400": to_bytes(late).hex()},
        "agree": {
            "secret_a": a.hex(),
            "public_a": public_of(a).hex(),
            "public_b": public_of(b).hex(),
            "cell": cell.id.hex(),
            "mask_seed": agree(a, public_of(a), public_of(b), b"mask", cell.id).hex(),
        },
        "shares": {"secret": seed.hex(), "t": 3, "n": 5, "shares": [s.hex() for s in shares.split(seed, 3, 5, Key(a))]},
        "cell": {
            "members": [m.hex() for m in members],
            "round": 7,
            "id": cell.id.hex(),
            "id_whole": Cell(members, bytes(32), 7, True).id.hex(),
            "threshold": cell.threshold,
            "chair": cell.members.index(cell.chair),
            "slices_of_103": [[part.start, part.stop] for part in slices(103, 5)],
        },
        "grid": {
            "reach": 64.0,
            "count": 5,
            "bits": Grid(64.0, 5).bits,
            "words": to_bytes(Grid(64.0, 5).encode(values, Key(seed))).hex(),
            "words_16": to_bytes(Grid(64.0, 5, 16).encode(values, Key(seed)), 16).hex(),
        },
        "sealed": seal(cell.id, a, public_of(a), public_of(b), b"x" * 66).hex(),
        "commitment": commit(cell.id, members[0], members[1], "self", b"y" * 33).hex(),
        "sheet": {
            "digest": sheet_digest(cell.id, Step.ROSTER, (b"k" * 32, 1), b"c" * 32).hex(),
            "body": pack_heads([b"one", b"three"]).hex(),
        },
        "fields": {
            "keys": canonical.packb(message.to_fields()).hex(),
            "slice": canonical.packb(words_of_it.to_fields()).hex(),
        },
        "beacon": {
            "context": context_of(bytes(32), Ground(around, 3)).hex(),  # type: ignore[union-attr]
            "salt_of_window_2": salt_of(Key(seed), 2).hex(),
            "commitment": commitment(a, members[0], 2, b).hex(),
            "value": value_of(a, 2, {members[0]: b, members[1]: seed}).hex(),
            "fields": canonical.packb(SaltMessage(a, b, 3, seed, a, True).to_fields()).hex(),
        },
        "cells_of_round_3": sorted(
            {tuple(members.index(m) for m in c) for c in cells_of(Ground(around, 3), Key(seed), 3).values()}
        ),
    }


def test_the_bytes_are_as_written() -> None:
    assert json.loads(json.dumps(made())) == json.loads(FILE.read_text("utf-8"))


@pytest.mark.parametrize("kind", ["keys", "slice"])
def test_fields_read_back(kind: str) -> None:
    raw = bytes.fromhex(json.loads(FILE.read_text("utf-8"))["fields"][kind])
    fields = canonical.unpackb(raw, 1 << 16)
    assert canonical.packb(CellMessage.from_fields(fields).to_fields()) == raw


def test_salt_fields_read_back() -> None:
    raw = bytes.fromhex(json.loads(FILE.read_text("utf-8"))["beacon"]["fields"])
    assert canonical.packb(SaltMessage.from_fields(canonical.unpackb(raw, 1 << 16)).to_fields()) == raw
