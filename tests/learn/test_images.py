"""Zips of pictures: what comes out, and every defect of a file that others made as one clear line."""

import io
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.learn import images
from p2pfl.learn.datasets import load

Image = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install 'p2pfl-node[images]'")


def picture(value: int, size: tuple[int, int] = (4, 3), kind: str = "PNG") -> bytes:
    """Of one colour: red `value`, green 0, blue 255."""
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255)).save(file, kind)
    return file.getvalue()


def write(path: Path, **entries: bytes) -> None:
    with ZipFile(path, "w") as archive:
        for name, raw in entries.items():
            archive.writestr(name.replace("__", "/").replace("_png", ".png").replace("_jpg", ".jpg"), raw)


def refused(folder: Path, words: str, **args: object) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load("images", folder, {"path": "a.zip", **args})
    assert "\n" not in str(caught.value)


def test_train_and_test_folders(tmp_path: Path) -> None:
    write(
        tmp_path / "a.zip",
        train__dog__2_png=picture(51),
        train__cat__1_png=picture(255),
        train__cat__0_png=picture(102),
        test__dog__9_png=picture(0),
        notes=b"left alone",
    )
    source = load("images", tmp_path, {"path": "a.zip"})
    assert source.data.classes == ("cat", "dog")
    assert tuple(source.data.x.shape) == (3, 3, 3, 4)
    assert source.data.y.tolist() == [0, 0, 1]
    np.testing.assert_allclose(source.data.x[:, 0, 0, 0], [0.4, 1.0, 0.2], rtol=1e-6)
    assert source.data.x[:, 2].min() == 1
    assert source.test is not None
    assert source.test.y.tolist() == [1]
    first = load("images", tmp_path, {"path": "a.zip", "limit": 1, "channels": 1}).data
    assert tuple(first.x.shape) == (2, 1, 3, 4)


def test_class_folders_alone_and_jpeg(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", cat__a_jpg=picture(255, kind="JPEG"), dog__b_jpg=picture(0, kind="JPEG"))
    source = load("images", tmp_path, {"path": "a.zip"})
    assert source.test is None
    assert abs(float(source.data.x[0, 0].mean()) - 1) < 0.02


def test_defects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path, "there is no file")
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    refused(tmp_path, "expected a zip of pictures")
    write(tmp_path / "a.zip", readme=b"")
    refused(tmp_path, r"expected pictures \(.jpg, .png\) in folders CLASS/ or train/CLASS/, got none")
    write(tmp_path / "a.zip", cat__a_png=picture(1), dog__b_png=picture(1, (3, 3)))
    refused(tmp_path, r"expected all pictures of one size \(4, 3\), got \(3, 3\) in dog/b.png")
    write(tmp_path / "a.zip", cat__a_png=picture(1), dog__b_png=picture(1)[:40])
    refused(tmp_path, "dog/b.png: cannot be read as a picture")
    write(tmp_path / "a.zip", cat__a_png=b"GIF89a")
    refused(tmp_path, "cannot be read as a picture")
    write(tmp_path / "a.zip", cat__a_png=picture(1), dog__b_png=picture(1))
    refused(tmp_path, "expected 1 or 3 channels, got 2", channels=2)
    refused(tmp_path, "expected a limit of at least 1", limit=0)
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole.replace(picture(1)[-30:-12], bytes(18)))
    refused(tmp_path, "expected a zip of pictures: Bad CRC")
    write(tmp_path / "a.zip", cat__a_png=picture(1), dog__b_png=picture(1))
    for bound, words in (
        ("PICTURES_MAX", "expected at most 1 pictures, got 2"),
        ("PICTURE_BYTES_MAX", "expected pictures of at most 1 bytes, got cat/a.png"),
        ("PIXELS_MAX", r"expected at most 1 pixels, got \(4, 3\)"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(images, bound, 1)
            refused(tmp_path, words)


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.zip", cat__a_png=picture(1))
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    refused(tmp_path, r"needs Pillow; install it with: pip install 'p2pfl-node\[images\]'")


def test_cifar_subset(data_dir: Path) -> None:
    source = load("images", data_dir / "cifar10-subset", {"path": "cifar10_jpeg_subset.zip", "limit": 2})
    assert source.data.classes[:3] == ("airplane", "automobile", "bird")
    assert tuple(source.data.x.shape) == (20, 3, 32, 32)
    assert source.test is not None
    assert tuple(source.test.x.shape) == (2000, 3, 32, 32)
