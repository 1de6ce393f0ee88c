"""Arrays and the user's own datasets to `Data`. Knows dtypes and shapes; knows no file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Source

Array = NDArray[Any]


def adopt(given: object, name: str) -> Source:
    """Whatever the user's code gave, as a Source: that, a Data, a pair (x, y), or a map-style dataset of pairs.

    Bytes are divided by 255, int64 samples stay tokens, all else becomes float32; whole-number labels are classes.
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, Data):
        return Source(given)
    if isinstance(given, tuple):
        if len(given) != 2:
            raise ConfigError(f"{name}: expected a pair (x, y), got {len(given)} values")
        x, y = to_array(given[0], name), to_array(given[1], name)
    else:
        x, y = _from_map_style(given, name)
    return Source(to_data(x, y, name, class_names(y), tokens=x.dtype == np.int64))


def to_data(x: Array, y: Array, name: str, classes: tuple[str, ...], tokens: bool) -> Data:
    x, y = to_array(x, name), to_array(y, name)
    if tokens and x.dtype.kind not in "iu":
        raise ConfigError(f"{name}: expected whole numbers as tokens, got {x.dtype}")
    values = x.astype(np.int64) if tokens else x.astype(np.float32) / np.float32(255 if x.dtype == np.uint8 else 1)
    targets = y.astype(np.int64 if classes else np.float32)
    return Data(torch.from_numpy(values), torch.from_numpy(targets), name, classes)


def to_array(value: Any, name: str) -> Array:
    found: Array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if found.dtype.kind not in "fiub":
        raise ConfigError(f"{name}: expected arrays of numbers, got {found.dtype}")
    return found


def class_names(y: Array, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The given names, else "0", "1", ...; none if y are not whole numbers."""
    if y.dtype.kind not in "iub":
        return ()
    return tuple(map(str, classes)) or numbered(int(y.max()) + 1 if y.size else 1)


def numbered(count: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(count))


def _from_map_style(dataset: Any, name: str) -> tuple[Array, Array]:
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ConfigError(f"{name}: expected a dataset, a pair (x, y), or a Source, got {type(dataset).__name__}")
    xs: list[Array] = []
    ys: list[Array] = []
    for i in range(len(dataset)):
        try:
            x, y = dataset[i]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name}: expected item {i} to be a pair (sample, label): {error}") from error
        xs.append(to_array(x, name))
        ys.append(to_array(y, name))
        if xs[i].shape != xs[0].shape or ys[i].shape != ys[0].shape:
            raise ConfigError(f"{name}: expected samples of shape {xs[0].shape}, got {xs[i].shape} in item {i}")
    if not xs:
        raise ConfigError(f"{name}: there are no samples")
    return np.stack(xs), np.stack(ys)
