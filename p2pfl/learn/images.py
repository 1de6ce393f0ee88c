"""A zip of pictures in class folders to `Data`. Knows file names and pixels; needs Pillow (the extra `images`).

    train/CLASS/anything.jpg, test/CLASS/anything.png      or just CLASS/anything.jpg, without a test set

A zip is a file that others made: the number of pictures, their packed and unpacked sizes, and their formats are bounded
before a picture is decoded, and all pictures must have one size.
"""

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Source

PICTURES_MAX = 1 << 20
PICTURE_BYTES_MAX = 16 << 20
PIXELS_MAX = 1 << 24
"""Of one picture; and of its file, packed or not, PICTURE_BYTES_MAX."""

PARTS = ("train", "test")
MODES = {1: "L", 3: "RGB"}
FORMATS = ("JPEG", "PNG")


def images_zip(path: Path, channels: int = 3, limit: int | None = None) -> Source:
    """x (n, channels, H, W) in [0, 1]; the classes are the folders' names in sorted order.

    channels: 1 (grey) or 3 (RGB). `limit` keeps so many training pictures of each class, the first by name.
    """
    if channels not in MODES:
        raise ConfigError(f"images: expected 1 or 3 channels, got {channels}")
    if limit is not None and limit < 1:
        raise ConfigError(f"images: expected a limit of at least 1, got {limit}")
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    pillow = _pillow()
    try:
        with ZipFile(path) as archive:
            found = _by_class(archive.infolist(), path.name)
            classes = tuple(sorted({name for part in found.values() for name in part}))
            train = _read(archive, found["train"], classes, channels, limit, path.name, pillow)
            test = _read(archive, found["test"], classes, channels, None, path.name, pillow)
    except (BadZipFile, OSError, zlib.error, NotImplementedError, RuntimeError) as error:  # encrypted: RuntimeError
        raise ConfigError(f"{path.name}: expected a zip of pictures: {' '.join(str(error).split())}") from error
    if train is None:
        raise ConfigError(f"{path.name}: expected pictures (.jpg, .png) in folders CLASS/ or train/CLASS/, got none")
    return Source(Data(*train, path.name, classes), None if test is None else Data(*test, path.name, classes))


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError("images: needs Pillow; install it with: pip install 'p2pfl-node[images]'") from error
    return Image


def _by_class(entries: Sequence[ZipInfo], name: str) -> dict[str, dict[str, list[ZipInfo]]]:
    """part -> class -> its pictures by name. Everything outside the two layouts is left alone."""
    found: dict[str, dict[str, list[ZipInfo]]] = {part: {} for part in PARTS}
    count = 0
    for entry in sorted(entries, key=lambda e: e.filename):
        parts = PurePosixPath(entry.filename).parts
        if entry.is_dir() or PurePosixPath(entry.filename).suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        part, kind = parts[-3:-1] if len(parts) == 3 and parts[0] in PARTS else ("train", parts[0])
        if len(parts) not in (2, 3) or (len(parts) == 3 and parts[0] not in PARTS):
            continue
        if max(entry.file_size, entry.compress_size) > PICTURE_BYTES_MAX:
            raise ConfigError(f"{name}: expected pictures of at most {PICTURE_BYTES_MAX} bytes, got {entry.filename}")
        found[part].setdefault(kind, []).append(entry)
        count += 1
    if count > PICTURES_MAX:
        raise ConfigError(f"{name}: expected at most {PICTURES_MAX} pictures, got {count}")
    return found


def _read(
    archive: ZipFile,
    found: Mapping[str, list[ZipInfo]],
    classes: Sequence[str],
    channels: int,
    limit: int | None,
    name: str,
    pillow: ModuleType,
) -> tuple[Tensor, Tensor] | None:
    """(x, y) of one part of the archive; None if it is empty."""
    pictures: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, entry in _picked(found, classes, limit):
        picture = _decode(archive.read(entry), channels, f"{name}, {entry.filename}", pillow)
        if pictures and picture.shape != pictures[0].shape:
            sizes = f"{pictures[0].shape[1::-1]}, got {picture.shape[1::-1]} in {entry.filename}"
            raise ConfigError(f"{name}: expected all pictures of one size {sizes}")
        pictures.append(picture)
        labels.append(label)
    if not pictures:
        return None
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(torch.float32) / 255
    return x.contiguous(), torch.tensor(labels, dtype=torch.int64)


def _picked(
    found: Mapping[str, list[ZipInfo]], classes: Sequence[str], limit: int | None
) -> Iterator[tuple[int, ZipInfo]]:
    for label, kind in enumerate(classes):
        for entry in found.get(kind, [])[:limit]:
            yield label, entry


def _decode(raw: bytes, channels: int, what: str, pillow: ModuleType) -> NDArray[np.uint8]:
    """(H, W, channels)."""
    try:
        with pillow.open(io.BytesIO(raw), formats=FORMATS) as picture:
            if picture.width * picture.height > PIXELS_MAX:
                raise ConfigError(f"{what}: expected at most {PIXELS_MAX} pixels, got {picture.size}")
            pixels = np.asarray(picture.convert(MODES[channels]), np.uint8)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise ConfigError(f"{what}: cannot be read as a picture: {' '.join(str(error).split())}") from error
    return pixels.reshape(*pixels.shape[:2], channels)
