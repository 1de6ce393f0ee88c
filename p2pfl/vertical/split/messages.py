"""What the parties of a vertical job say to each other, as values and bytes. Knows fields and bounds; no model.

A `Cut` is a message's fields; its body is a matrix (embeddings or cut gradients) or nothing. docs/formats/vertical.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.limits import ROUNDS_MAX
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject

VERSION = 1
ROWS_MAX = 1 << 16
WIDTH_MAX = 1 << 12
NOTE_CHARS_MAX = 200
STEPS_MAX = ROUNDS_MAX

STEP, BYE, BLAME, ALIGN, ALIGNED, ROWS = range(6)
STAGES = ("step", "bye", "blame", "align", "aligned", "rows")

Matrix = NDArray[np.float32]
Rows = NDArray[np.int64]
_HEAD = 9  # version u8, rows u32, width u32


@dataclass(frozen=True, slots=True)
class Cut:
    """stage STEP: the label holder's gradient of the step before (or no body) against the embeddings of `step`.
    BYE: all is done. BLAME: the job has ended; `accused` is whose fault it is (zeros: nobody's), `note` why. ALIGN: the
    body is a message of an alignment, and `step` counts them. ALIGNED: all have their common rows. ROWS: the body is
    row numbers, against the embeddings of these rows."""

    KIND: ClassVar[str] = "cut"
    recipe: bytes
    to: bytes
    stage: int
    step: int
    accused: bytes = bytes(32)
    note: str = ""

    def to_fields(self) -> list[Any]:
        return [VERSION, self.recipe, self.to, self.stage, self.step, self.accused, self.note[:NOTE_CHARS_MAX]]

    @classmethod
    def from_fields(cls, fields: list[Any]) -> "Cut":
        if not fields or fields[0] != VERSION or type(fields[0]) is not int:
            raise Reject("cut-version", f"expected cut messages of version {VERSION}")
        match fields[1:]:
            case [bytes(recipe), bytes(to), stage, step, bytes(accused), str(note)]:
                _check(len(recipe) == len(to) == len(accused) == 32, "ids of 32 bytes")
                _check(_is_count(stage, len(STAGES) - 1), "a known stage")
                _check(_is_count(step, STEPS_MAX), f"a step of at most {STEPS_MAX}")
                _check(len(note) <= NOTE_CHARS_MAX and (note.isprintable()), "a short printable note")
                return cls(recipe, to, stage, step, accused, note)
        raise Reject("malformed", "cut: expected [version, recipe, to, stage, step, accused, note]")


def size_of(rows: int, width: int) -> int:
    """Bytes of a packed matrix."""
    return _HEAD + 4 * rows * width


def pack(matrix: Matrix) -> bytes:
    """version u8 | rows u32 | width u32 | rows * width float32, all little-endian, row by row."""
    rows, width = matrix.shape
    if not 0 < rows <= ROWS_MAX or not 0 < width <= WIDTH_MAX:
        raise ValueError(f"expected 1 to {ROWS_MAX} rows of 1 to {WIDTH_MAX} values, got {rows} of {width}")
    head = bytes([VERSION]) + rows.to_bytes(4, "little") + width.to_bytes(4, "little")
    values: bytes = np.ascontiguousarray(matrix, "<f4").tobytes()
    packed: bytes = head + values
    return packed


def unpack(data: Buffer, rows: int, width: int, longest: float) -> Matrix:
    """The inverse: `rows` x `width` finite values, no row longer than `longest`. Reject on anything else."""
    view = memoryview(data).cast("B")
    if view.nbytes != size_of(rows, width):
        raise Reject("cut-size", f"expected {size_of(rows, width)} bytes, got {view.nbytes}")
    if view[0] != VERSION:
        raise Reject("cut-version", f"expected a matrix of version {VERSION}, got {view[0]}")
    shape = int.from_bytes(view[1:5], "little"), int.from_bytes(view[5:9], "little")
    if shape != (rows, width):
        raise Reject("cut-shape", f"expected {rows} rows of {width}, got {shape[0]} of {shape[1]}")
    found = np.frombuffer(view[_HEAD:], "<f4").reshape(rows, width).astype(np.float32)
    if not np.isfinite(found).all():
        raise Reject("cut-values", "expected finite values")
    length = float(np.sqrt(np.square(found, dtype=np.float64).sum(axis=1).max()))
    if length > longest:
        raise Reject("cut-values", f"expected rows no longer than {longest:.4g}, got {length:.4g}")
    return found


def pack_rows(rows: Rows) -> bytes:
    """version u8 | one u32 a row, little-endian."""
    return bytes([VERSION]) + bytes(rows.astype("<u4").tobytes())


def unpack_rows(data: Buffer, below: int) -> Rows:
    """The inverse: 1 to ROWS_MAX row numbers below `below`. Reject on anything else."""
    view = memoryview(data).cast("B")
    if view.nbytes % 4 != 1 or not 1 < view.nbytes <= 1 + 4 * ROWS_MAX or view[0] != VERSION:
        raise Reject("rows-size", f"expected 1 to {ROWS_MAX} row numbers of version {VERSION}")
    found = np.frombuffer(view[1:], "<u4").astype(np.int64)
    if int(found.max()) >= below:
        raise Reject("rows-range", f"expected row numbers below {below}, got {int(found.max())}")
    return found


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _check(holds: bool, expected: str) -> None:
    if not holds:
        raise Reject("malformed", f"cut: expected {expected}")
