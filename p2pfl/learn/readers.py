"""Files to raw arrays and rows, with every defect named. Knows formats; knows no data set."""

import csv
import gzip
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.learn.table import Row


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array in MNIST's idx format (bytes only), plain or .gz. The header must fit the file's length exactly."""
    raw = read_bytes(path)
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ConfigError(f"{path.name}: expected an idx file of bytes, got {raw[:4].hex(' ') or 'nothing'}")
    head = 4 + 4 * raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw[4:head], ">u4")) if len(raw) >= head else ()
    if len(shape) != raw[3] or len(raw) - head != int(np.prod(shape, dtype=object)):
        raise ConfigError(f"{path.name}: expected {shape or 'a longer header'} bytes of content, got {len(raw) - head}")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def read_csv(path: Path, delimiter: str) -> tuple[list[str], list[Row]]:
    """Header and rows of a CSV file, plain or .gz, UTF-8. Empty lines are skipped; every row has a cell per column."""
    if len(delimiter) != 1:
        raise ConfigError(f"{path.name}: expected a delimiter of one character, got {delimiter!r}")
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: expected UTF-8 text: {error}") from error
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        rows = [Row(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise ConfigError(f"{path.name}, line {reader.line_num}: {error}") from error
    if not header or not rows:
        raise ConfigError(f"{path.name}: expected a header line and rows, got {len(rows)} rows")
    for row in rows:
        if len(row.cells) != len(header):
            raise ConfigError(f"{path.name}, line {row.line}: expected {len(header)} cells, got {len(row.cells)}")
    return header, rows


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """Those of the named arrays that an .npz file has. Pickled arrays are refused."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names if name in archive.files}
    except (ValueError, OSError, BadZipFile, EOFError, zlib.error, TypeError) as error:  # TypeError: an .npy file
        raise ConfigError(f"{path.name}: expected an .npz file of plain arrays: {error}") from error


def read_bytes(path: Path) -> bytes:
    """The content, unpacked if the name ends in .gz."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path.name}: cannot be read: {error}") from error


def plain_or_gz(path: Path) -> Path:
    """The file itself, or the one with .gz if only that is there."""
    packed = path.with_name(path.name + ".gz")
    return packed if packed.is_file() and not path.is_file() else path
