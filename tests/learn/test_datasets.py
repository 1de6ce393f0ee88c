"""Loaders: what comes out of packages, files and the user's code, and every defect as one clear line."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import hold_out
from p2pfl.learn.datasets import load, read_encoder, read_features, write_encoder

CSV = """age,job,city,income
25,nurse,Bern,low
40, clerk ,Basel,high

31,nurse,Basel,low
58,cook,Bern,high
"""


def refused(name: str, folder: Path, words: str, **args: object) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load(name, folder, args)
    assert "\n" not in str(caught.value)


def test_digits() -> None:
    data = load("digits", Path()).data
    assert tuple(data.x.shape) == (1797, 1, 8, 8)
    assert (data.num_classes, float(data.x.min()), float(data.x.max())) == (10, 0, 1)


def test_digits_with_a_test_set_of_their_own() -> None:
    source, whole = load("digits", Path(), {"test_seed": 1}), load("digits", Path())
    assert source.test is not None
    assert (len(source.data), len(source.test)) == (1438, 359)
    again = load("digits", Path(), {"test_seed": 1}).test
    assert again is not None
    assert torch.equal(source.test.x, again.x)
    held = hold_out(whole, derive(root(1), "data"))  # as a run of seed 1 would hold it out
    assert torch.equal(held.test.x, source.test.x)


def test_breast_cancer_is_standardised_after_the_test_set_left() -> None:
    source = load("breast_cancer", Path())
    assert source.data.classes == ("malignant", "benign")
    held = hold_out(source, root(0))
    assert tuple(held.train.x.shape) == (455, 30)
    torch.testing.assert_close(held.train.x.mean(0), torch.zeros(30), atol=1e-4, rtol=0)


def test_mnist(data_dir: Path) -> None:
    source = load("mnist", data_dir, {"path": "mnist", "limit": 500})
    assert tuple(source.data.x.shape) == (500, 1, 28, 28)
    assert source.data.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert source.test is not None
    assert len(source.test) == 10_000
    assert float(source.test.x.max()) == 1.0


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_idx(folder: Path, train: int = 6, labels: int = 6, zipped: bool = True) -> None:
    for part, n, m in (("train", train, labels), ("t10k", 4, 4)):
        for kind, array in (
            ("images-idx3-ubyte", np.full((n, 2, 2), 255, np.uint8)),
            ("labels-idx1-ubyte", np.arange(m, dtype=np.uint8)),
        ):
            path = folder / f"{part}-{kind}"
            raw = idx(array)
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw)) if zipped else path.write_bytes(raw)


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files(tmp_path: Path, zipped: bool) -> None:
    write_idx(tmp_path, zipped=zipped)
    source = load("mnist", tmp_path, {"path": "."})
    assert source.data.y.tolist() == [0, 1, 2, 3, 4, 5]
    assert (source.data.x == 1).all()


def test_broken_idx_files(tmp_path: Path) -> None:
    refused("mnist", tmp_path, "there is no folder", path="nowhere")
    refused("mnist", tmp_path, "there is no file", path=".")
    write_idx(tmp_path, 6, 5)
    refused("mnist", tmp_path, r"train images \(n, H, W\) and labels \(n,\), got \(6, 2, 2\) and \(5,\)", path=".")
    write_idx(tmp_path)
    refused("mnist", tmp_path, "limit of at least 1", path=".", limit=0)
    images = tmp_path / "train-images-idx3-ubyte"
    whole = idx(np.zeros((6, 2, 2), np.uint8))
    for raw, words in (
        (whole[:-1], r"expected \(6, 2, 2\) bytes of content, got 23"),
        (whole[:9], "a longer header"),
        (b"\0\0\x0d\x01" + whole[4:], "expected an idx file of bytes, got 00 00 0d 01"),
        (b"", "got nothing"),
    ):
        images.write_bytes(raw)
        refused("mnist", tmp_path, words, path=".")
    images.unlink()
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:-9])
    refused("mnist", tmp_path, "cannot be read", path=".")


def test_csv(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(CSV)
    source = load("csv", tmp_path, {"path": "people.csv", "label": "income", "standardise": False})
    data = source.data
    assert data.features == ("age", "job=clerk", "job=cook", "job=nurse", "city=Basel", "city=Bern")
    assert data.classes == ("high", "low")
    assert data.y.tolist() == [1, 0, 1, 0]
    assert data.x[1].tolist() == [40, 1, 0, 0, 1, 0]
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    again = load("csv", tmp_path, {"path": "people.csv.gz", "label": "income", "drop": ["city"]})
    assert len(again.data.features) == 4
    assert again.standardise == (0,)


def test_csv_regression_and_numbers_as_classes(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("a,b\n1,10\n2,9\n3,10\n")
    line = load("csv", tmp_path, {"path": "n.csv", "label": "b", "task": "regression"}).data
    assert line.y.tolist() == [10, 9, 10]
    assert line.num_outputs == 1
    assert load("csv", tmp_path, {"path": "n.csv", "label": "b"}).data.classes == ("9", "10")


def test_machines_agree_through_an_encoder(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(CSV)
    held = hold_out(load("csv", tmp_path, {"path": "people.csv", "label": "income"}), root(0), 0.0)
    assert held.encoder is not None
    write_encoder(tmp_path / "encoder.json", held.encoder)
    assert read_encoder(tmp_path / "encoder.json") == held.encoder
    (tmp_path / "other.csv").write_text("city,age,job,income\nBern,25,nurse,low\n")
    args = {"path": "other.csv", "label": "income", "encoder": "encoder.json"}
    other = load("csv", tmp_path, args)
    assert other.standardise == ()  # the scale is agreed, too
    assert other.data.classes == ("high", "low")
    torch.testing.assert_close(other.data.x[0], held.train.x[0])
    (tmp_path / "new.csv").write_text("job,city,age\nnurse,Bern,25\n")
    torch.testing.assert_close(read_features(tmp_path / "new.csv", held.encoder)[0], held.train.x[0])
    (tmp_path / "other.csv").write_text("city,age,job,income\nBern,25,baker,low\n")
    refused("csv", tmp_path, "line 2: expected one of 3 known values in column 'job', got 'baker'", **args)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CSV.replace("31,", ","), "people.csv, line 5: missing value in column 'age'"),
        (CSV.replace("31,", "NaN,"), "line 5: missing value in column 'age'"),
        (CSV.replace("31,", "inf,"), "line 5: expected a number in column 'age', got 'inf'"),
        (CSV.replace("31,", "31,5,"), "line 5: expected 4 cells, got 5"),
        (CSV.replace("age,", "job,"), "column 'job' appears twice"),
        (CSV.replace("income", "wage"), "there is no column 'income'; it has age, job, city, wage"),
        (CSV.replace("high", "low"), "expected two or more classes in column 'income', got 1"),
        ("age,income\n", "expected a header line and rows, got 0 rows"),
        ("", "expected a header line and rows"),
        ("income\na\nb\n", "expected at least one column besides the label"),
        ("id,income\n" + "".join(f"u{i},{i % 2}\n" for i in range(300)), "column 'id' has 300 different texts"),
        ("x,income\n" + "".join(f"1,{i}\n" for i in range(300)), "for numbers say task = 'regression'"),
    ],
)
def test_defects_of_tables(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "people.csv").write_text(text)
    refused("csv", tmp_path, words, path="people.csv", label="income")


def test_defects_around_tables(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(CSV)
    refused("csv", tmp_path, "there is no file", path="nobody.csv", label="income")
    refused("csv", tmp_path, "needs the option 'label'", path="people.csv")
    refused("csv", tmp_path, "no option 'lable', did you mean 'label'", path="people.csv", lable="income")
    refused("csv", tmp_path, "expected task", path="people.csv", label="income", task="rank")
    refused("csv", tmp_path, "there is no column 'town'", path="people.csv", label="income", drop=["town"])
    refused("csv", tmp_path, "expected one of 2 known values", path="people.csv", label="income", classes=["low", "no"])
    refused("csv", tmp_path, "a delimiter of one character", path="people.csv", label="income", delimiter="")
    for text, words in (("{", "expected JSON"), ("[]", "expected a table encoder")):
        (tmp_path / "e.json").write_text(text)
        refused("csv", tmp_path, words, path="people.csv", label="b", encoder="e.json")
    (tmp_path / "people.csv").write_bytes(b"a,b\n\xff,1\n")
    refused("csv", tmp_path, "expected UTF-8", path="people.csv", label="b")


def test_npz(tmp_path: Path) -> None:
    x, y = np.full((4, 3, 3), 51, np.uint8), np.array([0, 2, 1, 0])
    np.savez(tmp_path / "a.npz", x=x, y=y, x_test=x[:1], y_test=y[:1])
    source = load("npz", tmp_path, {"path": "a.npz"})
    assert source.data.input_shape == (3, 3)
    torch.testing.assert_close(source.data.x, torch.full((4, 3, 3), 0.2))
    assert source.data.classes == ("0", "1", "2")
    assert source.test is not None
    np.savez(tmp_path / "b.npz", x=np.arange(6).reshape(2, 3), y=np.array([0.5, 1.5]))
    assert load("npz", tmp_path, {"path": "b.npz"}).data.num_classes == 0
    assert load("npz", tmp_path, {"path": "b.npz", "tokens": True}).data.x.dtype == torch.int64


def test_defects_of_npz(tmp_path: Path) -> None:
    refused("npz", tmp_path, "there is no file", path="a.npz")
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 nothing")
    refused("npz", tmp_path, "expected an .npz file", path="a.npz")
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    refused("npz", tmp_path, "expected an .npz file", path="a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    refused("npz", tmp_path, "expected an array 'y', got x", path="a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3), y_test=np.zeros(1))
    refused("npz", tmp_path, "expected an array 'x_test'", path="a.npz")
    np.savez(tmp_path / "a.npz", x=np.array([object()]), y=np.zeros(1))
    refused("npz", tmp_path, "expected an .npz file of plain arrays", path="a.npz")
    np.savez(tmp_path / "a.npz", x=np.array(["text"]), y=np.zeros(1))
    refused("npz", tmp_path, "expected arrays of numbers", path="a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 1)), y=np.array([0, 7]))
    refused("npz", tmp_path, "expected labels 0 to 1, got 7 in sample 1", path="a.npz", classes=["no", "yes"])
    np.savez(tmp_path / "a.npz", x=np.array([0, np.nan]), y=np.array([0, 1]))
    refused("npz", tmp_path, "expected finite numbers, got another in sample 1", path="a.npz")


USER = """
import numpy as np, torch
from p2pfl.learn.data import Data, Source

class Pairs:
    def __init__(self, n=4):
        self.n = n
    def __len__(self):
        return self.n
    def __getitem__(self, i):
        return torch.full((2,), float(i)), i % 2

ready = Pairs(3)
def arrays(scale: float):
    return np.ones((5, 2)) * scale, np.array([0, 1, 0, 1, 1])
def data():
    return Data(torch.zeros(2, 1), torch.zeros(2), "mine")
def odd():
    return Pairs(0)
def ragged():
    return [(torch.zeros(2), 0), (torch.zeros(3), 0)]
def single():
    return [5, 6]
def three():
    return 1, 2, 3
def number():
    return 3
def broken():
    raise RuntimeError("the disk\\nis gone")
"""


@pytest.mark.parametrize(
    ("name", "args", "n"), [("Pairs", {"n": 6}, 6), ("ready", {}, 3), ("arrays", {"scale": 2}, 5), ("data", {}, 2)]
)
def test_a_users_own_data(tmp_path: Path, name: str, args: dict[str, float], n: int) -> None:
    (tmp_path / "mine.py").write_text(USER)
    assert len(load(f"mine.py:{name}", tmp_path, args).data) == n


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("odd", "there are no samples"),
        ("ragged", r"expected samples of shape \(2,\), got \(3,\) in item 1"),
        ("single", "expected item 0 to be a pair"),
        ("three", r"expected a pair \(x, y\), got 3 values"),
        ("number", "got int"),
        ("broken", "failed: RuntimeError: the disk is gone"),
        ("arrays", "needs the option 'scale'"),
    ],
)
def test_defects_of_a_users_own_data(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(USER)
    refused(f"mine.py:{name}", tmp_path, words)
