"""The root stands for the content, not for the order of writing or the way there. Changes show, and are named."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import BrokenChain
from p2pfl.ledger.blocks.merkle import leaf_hash, prove_inclusion, verify_inclusion
from p2pfl.ledger.check.proofs import state_path
from p2pfl.ledger.outcome.state import (
    BUCKETS,
    Cell,
    Draft,
    State,
    bucket_of,
    bucket_text,
    cell_text,
    changes,
    first_difference,
    key_of,
    name_of,
    parse_cell,
    state_from,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "state.json").read_text())

nodes = st.binary(min_size=32, max_size=32)
values = st.lists(st.one_of(st.integers(0, 1 << 62), st.binary(max_size=8)), min_size=1, max_size=3).map(tuple)
writes = st.lists(st.tuples(st.integers(0, 7), st.one_of(st.none(), values)), max_size=40)


def node(number: int) -> bytes:
    return bytes([number]) * 32


def written(steps: list[tuple[int, tuple[int | bytes, ...] | None]], at_a_time: int = 1) -> State:
    draft = Draft(State())
    for index, (who, value) in enumerate(steps):
        if index % at_a_time == 0:
            draft = Draft(draft.done())
        draft.index = who
        if value is None:
            draft.remove("balance", node(who))
        else:
            draft.put(value, "balance", node(who))
    return draft.done()


@settings(max_examples=60, deadline=None)
@given(steps=writes, at_a_time=st.integers(1, 9))
def test_the_root_depends_on_the_content_alone(
    steps: list[tuple[int, tuple[int | bytes, ...] | None]], at_a_time: int
) -> None:
    state = written(steps, at_a_time)
    last = dict(steps)
    assert {parts[0]: value for parts, value in state.items("balance")} == {
        node(who): value for who, value in last.items() if value is not None
    }
    again = state_from(reversed(list(state.cells())))
    assert again.root() == state.root()
    assert first_difference(state, again) is None


@settings(max_examples=40, deadline=None)
@given(old=writes, new=writes)
def test_changes_lead_from_one_state_to_the_other(old: list[object], new: list[object]) -> None:
    one, other = written(old), written(new)  # type: ignore[arg-type]
    cells = dict(one.cells())
    for key, cell in changes(one, other):
        if cell is None:
            del cells[key]
        else:
            cells[key] = cell
    assert state_from(cells.items()).root() == other.root()
    assert (one.root() == other.root()) == (not changes(one, other))


def test_the_first_difference_names_key_and_cells() -> None:
    one = written([(1, (5,)), (2, (6,))])
    draft = Draft(one, 99)
    draft.put((7,), "balance", node(2))
    key, mine, theirs = first_difference(one, draft.done()) or (b"", None, None)
    assert name_of(key) == "balance 02020202"
    assert (mine, theirs) == (Cell(2, (6,)), Cell(99, (7,)))


def test_writing_what_is_there_is_no_write() -> None:
    state = written([(1, (5,))])
    draft = Draft(state, 77)
    draft.put((5,), "balance", node(1))
    draft.remove("balance", node(3))
    assert draft.done().root() == state.root()


def test_a_draft_leaves_its_base_alone() -> None:
    state = written([(1, (5,))])
    root = state.root()
    draft = Draft(state)
    draft.put((6,), "balance", node(1))
    middle = draft.done()
    draft.put((7,), "balance", node(1))
    assert draft.number("balance", node(1)) == 7
    assert (state.number("balance", node(1)), middle.number("balance", node(1))) == (5, 6)
    assert state.root() == root != middle.root() != draft.done().root()


def test_a_bucket_is_a_leaf_of_the_root() -> None:
    state = written([(who, (who,)) for who in range(8)])
    key = key_of("balance", node(3))
    number = bucket_of(key)
    leaf = leaf_hash(bucket_text(state.buckets[number]))
    path = state_path(state, number)
    assert verify_inclusion(leaf, number, BUCKETS, path, state.root())
    assert not verify_inclusion(leaf, number ^ 1, BUCKETS, path, state.root())
    assert len(prove_inclusion(lambda level, at: b"", 0, BUCKETS)) == len(path) == 8


@pytest.mark.parametrize(
    "raw", [b"", b"\xc0", b"\x92\x01\x01", b"\x92\xc3\x91\x01", b"\x92\x01\x91\xcb" + bytes(8), b"\x91\x01"]
)
def test_what_is_no_cell_is_refused(raw: bytes) -> None:
    with pytest.raises(BrokenChain):
        parse_cell(raw)


def test_a_cell_comes_back() -> None:
    cell = Cell(7, (1, b"x", "t", (2, (3,))))
    assert parse_cell(cell_text(cell)) == cell


def test_the_vectors_hold() -> None:
    cells = [(bytes.fromhex(row["key"]), parse_cell(bytes.fromhex(row["cell"]))) for row in VECTORS["cells"]]
    state = state_from(cells)
    assert state.root().hex() == VECTORS["root"]
    assert [name_of(key) for key, _ in cells] == [row["name"] for row in VECTORS["cells"]]
    assert State().root().hex() == VECTORS["empty_root"]
    for row in VECTORS["cells"]:
        assert bucket_of(bytes.fromhex(row["key"])) == row["bucket"]
