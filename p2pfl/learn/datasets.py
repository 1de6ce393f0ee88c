"""Data sets from packages, files and the user's own code, all as a `Source`. Knows files; knows no node or model.

Loaders return all samples; who gets which rows is the matter of `partition` and `data`. Nothing is downloaded, and
nothing is unpickled.
"""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError
from p2pfl.learn import table
from p2pfl.learn.arrays import Array, adopt, class_names, numbered, to_data
from p2pfl.learn.data import Data, Source, hold_out
from p2pfl.learn.images import images_zip
from p2pfl.learn.names import call, find
from p2pfl.learn.readers import plain_or_gz, read_csv, read_idx, read_npz
from p2pfl.learn.text import text_file

PATH_OPTIONS = ("path", "test", "encoder")
"""Options of the built-in loaders that name a file; relative to the configuration's folder."""


def load(name: str, folder: Path, args: Mapping[str, Any] | None = None) -> Source:
    """The data set `name`: a built-in, or `module:attribute` / `file.py:attribute`.

    The user's attribute is a function or class called with `args`, or an object; it may be a `Source`, a `Data`, a
    pair (x, y) of arrays, or a map-style dataset of (sample, label) pairs.
    """
    found, args = find(name, DATASETS, "data set", folder), dict(args or {})
    what = f"data set {name!r}"
    if ":" in name:
        given = call(found, args, what) if _is_recipe(found) else found
        return adopt(given, name.rpartition(":")[2])
    for option in PATH_OPTIONS:
        if isinstance(args.get(option), str):
            args[option] = folder / args[option]
    source = call(found, args, what)
    assert isinstance(source, Source)
    return source


def digits(test_seed: int | None = None) -> Source:
    """1,797 handwritten digits of 8 x 8 points (scikit-learn's copy of UCI optdigits), x (n, 1, 8, 8) in [0, 1].

    With `test_seed` a fifth is the test set, drawn by this number alone, so that runs of different seeds are judged
    by the same samples.
    """
    pixels, labels = _digits()
    x = torch.tensor(pixels.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    source = Source(Data(x, torch.tensor(labels, dtype=torch.int64), "digits", numbered(10)))
    if test_seed is None:
        return source
    held = hold_out(source, derive(root(test_seed), "data"))
    return Source(held.train, held.test)


def breast_cancer() -> Source:
    """569 tumours with 30 measurements, benign or malignant (scikit-learn's copy of UCI WDBC); to be standardised."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    x = torch.tensor(bunch.data, dtype=torch.float32)
    y = torch.tensor(bunch.target, dtype=torch.int64)
    classes, features = tuple(map(str, bunch.target_names)), tuple(map(str, bunch.feature_names))
    return Source(Data(x, y, "breast_cancer", classes, features), standardise=tuple(range(x.shape[1])))


def mnist(path: Path, limit: int | None = None) -> Source:
    """A folder in MNIST's format (MNIST, Fashion-MNIST, ...): four idx files, plain or .gz; x (n, 1, H, W) in [0, 1].

    `limit` keeps the first so many training samples.
    """
    if not path.is_dir():
        raise ConfigError(f"there is no folder {path}")
    if limit is not None and limit < 1:
        raise ConfigError(f"mnist: expected a limit of at least 1, got {limit}")
    train_x, train_y = _idx_pair(path, "train", limit)
    test_x, test_y = _idx_pair(path, "t10k", None)
    classes = numbered(max(10, int(max(train_y.max(), test_y.max())) + 1))
    return Source(Data(train_x, train_y, "mnist", classes), Data(test_x, test_y, "mnist", classes))


def table_file(
    path: Path,
    label: str,
    task: Literal["classification", "regression"] = "classification",
    drop: Sequence[str] = (),
    classes: Sequence[str] = (),
    delimiter: str = ",",
    test: Path | None = None,
    encoder: Path | None = None,
    standardise: bool = True,
) -> Source:
    """A CSV file (or .csv.gz) with a header line; the column `label` is learned from all others but `drop`.

    Numbers stay numbers and are standardised; texts become one-hot categories in sorted order. Machines with different
    files must share an `encoder` file, or name all `classes`, to agree on what the columns mean.
    """
    if task not in ("classification", "regression"):
        raise ConfigError(f"{path.name}: expected task 'classification' or 'regression', got {task!r}")
    header, rows = read_csv(path, delimiter)
    if encoder is not None:
        how = read_encoder(encoder)
        if how.label != label:
            raise ConfigError(f"{encoder.name}: is for the label {how.label!r}, expected {label!r}")
    else:
        how = table.fit(header, rows, label, path.name, drop, classes, task == "regression")
    test_data = _encoded(how, *read_csv(test, delimiter), test.name) if test is not None else None
    data = _encoded(how, header, rows, path.name)
    return Source(data, test_data, how.numeric if standardise else (), how)


def arrays_file(path: Path, classes: Sequence[str] = (), tokens: bool = False) -> Source:
    """An .npz file with arrays x and y, and x_test and y_test if there are any. Pickled arrays are refused.

    x of bytes is divided by 255, other numbers become float32, with `tokens` int64. Whole-number y are classes.
    """
    arrays = read_npz(path, ("x", "y", "x_test", "y_test"))
    for name in ("x", "y", *(("y_test",) if "x_test" in arrays else ("x_test",) if "y_test" in arrays else ())):
        if name not in arrays:
            raise ConfigError(f"{path.name}: expected an array {name!r}, got {', '.join(arrays) or 'none of x and y'}")
    names = class_names(arrays["y"], classes)
    data = to_data(arrays["x"], arrays["y"], path.name, names, tokens)
    if "x_test" not in arrays:
        return Source(data)
    return Source(data, to_data(arrays["x_test"], arrays["y_test"], path.name, names, tokens))


def read_encoder(path: Path) -> table.Encoder:
    """An encoder that `write_encoder` wrote."""
    try:
        return table.Encoder.from_json(json.loads(path.read_text("utf-8")), path.name)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name}: expected JSON: {error}") from error


def write_encoder(path: Path, encoder: table.Encoder) -> None:
    path.write_text(json.dumps(encoder.to_json(), indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_features(path: Path, encoder: table.Encoder, delimiter: str = ",") -> Tensor:
    """The samples (n, F) of a CSV file that needs no label column, for predictions."""
    header, rows = read_csv(path, delimiter)
    return torch.from_numpy(encoder.encode(header, rows, path.name))


DATASETS: dict[str, Callable[..., Source]] = {
    "digits": digits,
    "breast_cancer": breast_cancer,
    "mnist": mnist,
    "csv": table_file,
    "npz": arrays_file,
    "images": images_zip,
    "text": text_file,
}


def _digits() -> tuple[Array, Array]:
    """(n, 64) numbers 0 to 16 and (n,) digits, from scikit-learn's file where it is: importing the package for it costs
    a node 150 MB and twice the CPU seconds of all other imports but torch."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations or []) if package is not None else []:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            table_ = np.loadtxt(path, delimiter=",", dtype=np.float64)
            return table_[:, :-1], table_[:, -1]
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.data, bunch.target


def _idx_pair(folder: Path, part: str, limit: int | None) -> tuple[Tensor, Tensor]:
    images, labels = (
        read_idx(plain_or_gz(folder / f"{part}-{kind}")) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        shapes = f"{images.shape} and {labels.shape}"
        raise ConfigError(f"{folder.name}: expected {part} images (n, H, W) and labels (n,), got {shapes}")
    x = torch.from_numpy(images[:limit].astype(np.float32) / 255).unsqueeze(1)
    return x, torch.from_numpy(labels[:limit].astype(np.int64))


def _encoded(how: table.Encoder, header: list[str], rows: list[table.Row], name: str) -> Data:
    x = torch.from_numpy(how.encode(header, rows, name))
    y = torch.from_numpy(how.labels(header, rows, name))
    return Data(x, y, name, how.classes, how.features)


def _is_recipe(found: object) -> bool:
    """A function or class to be called, rather than a dataset that is there already."""
    return isinstance(found, type) or (callable(found) and not hasattr(found, "__getitem__"))
