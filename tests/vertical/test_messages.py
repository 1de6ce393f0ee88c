"""Messages of a vertical job: golden bytes, round trips, and Reject for everything else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.vertical.split.messages import (
    ALIGN,
    ALIGNED,
    BLAME,
    BYE,
    NOTE_CHARS_MAX,
    ROWS,
    ROWS_MAX,
    STEP,
    STEPS_MAX,
    Cut,
    pack,
    pack_rows,
    size_of,
    unpack,
    unpack_rows,
)
from p2pfl.wire import canonical

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "cut.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda v: v["name"])
def test_messages_have_their_golden_bytes(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["bytes"])
    cut = Cut.from_fields(canonical.unpackb(raw, 1 << 16))
    assert canonical.packb(cut.to_fields()) == raw
    assert (cut.stage, cut.step, cut.note) == (vector["stage"], vector["step"], vector["note"])


def test_a_matrix_has_its_golden_bytes() -> None:
    vector = VECTORS["matrix"]
    matrix = np.asarray(vector["values"], np.float32)
    assert pack(matrix).hex() == vector["bytes"]
    assert np.array_equal(unpack(bytes.fromhex(vector["bytes"]), *matrix.shape, 1e6), matrix)


def test_row_numbers_have_their_golden_bytes() -> None:
    vector = VECTORS["rows"]
    rows = np.asarray(vector["values"], np.int64)
    assert pack_rows(rows).hex() == vector["bytes"]
    assert unpack_rows(bytes.fromhex(vector["bytes"]), 65_537).tolist() == vector["values"]


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + bytes(4), b"\x01" + bytes(5), b"\x01\x05\x00\x00\x00"])
def test_row_numbers_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(Reject, match="rows-"):
        unpack_rows(data, 5)


def test_row_numbers_have_a_bound() -> None:
    rows = np.zeros(ROWS_MAX, np.int64)
    assert len(unpack_rows(pack_rows(rows), 1)) == ROWS_MAX
    with pytest.raises(Reject, match="rows-size"):
        unpack_rows(pack_rows(np.zeros(ROWS_MAX + 1, np.int64)), 1)


@settings(max_examples=60)
@given(
    st.sampled_from([STEP, BYE, BLAME, ALIGN, ALIGNED, ROWS]),
    st.integers(0, STEPS_MAX),
    st.text("abc :.", max_size=NOTE_CHARS_MAX),
)
def test_what_is_said_is_what_is_heard(stage: int, step: int, note: str) -> None:
    cut = Cut(bytes(32), bytes(range(32)), stage, step, bytes(32), note)
    assert Cut.from_fields(cut.to_fields()) == cut


GOOD = Cut(bytes(32), bytes(32), STEP, 1).to_fields()


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 2), (0, True), (1, b"short"), (2, "text"), (3, 6), (3, True), (4, -1), (4, STEPS_MAX + 1), (4, 1.0),
     (5, b""), (6, "x" * (NOTE_CHARS_MAX + 1)), (6, "bell\a"), (6, None)],
)  # fmt: skip
def test_a_field_out_of_its_bounds_is_refused(place: int, value: Any) -> None:
    with pytest.raises(Reject):
        Cut.from_fields([*GOOD[:place], value, *GOOD[place + 1 :]])


@settings(max_examples=60)
@given(st.binary(max_size=64))
def test_random_bytes_are_no_matrix(data: bytes) -> None:
    with pytest.raises(Reject):
        unpack(data, 3, 5, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.1])
def test_a_row_that_is_not_finite_or_too_long_is_refused(value: float) -> None:
    matrix = np.zeros((2, 3), np.float32)
    matrix[1, 2] = value
    with pytest.raises(Reject, match="cut-values"):
        unpack(pack(matrix), 2, 3, 1.0)


def test_a_matrix_of_another_shape_or_version_is_refused() -> None:
    data = pack(np.zeros((2, 3), np.float32))
    assert len(data) == size_of(2, 3)
    with pytest.raises(Reject, match="cut-shape"):
        unpack(data, 3, 2, 1.0)
    with pytest.raises(Reject, match="cut-version"):
        unpack(b"\x02" + data[1:], 2, 3, 1.0)
