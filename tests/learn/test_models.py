"""Ready-made models give the right shape for every kind of input; names lead to the user's own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from p2pfl.errors import ConfigError
from p2pfl.learn.models import build
from p2pfl.learn.names import resolve


@pytest.mark.parametrize("shape", [(1, 28, 28), (28, 28), (1, 8, 8), (3, 32, 32)])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("linear", {}),
        ("mlp", {}),
        ("mlp", {"hidden": [], "dropout": 0.5}),
        ("cnn", {}),
        ("cnn", {"norm": "group", "channels": [6, 10], "hidden": 16, "dropout": 0.1}),
        ("cnn", {"norm": "batch"}),
    ],
)
def test_outputs(name: str, args: dict[str, object], shape: tuple[int, ...]) -> None:
    assert tuple(build(name, Path(), shape, 7, args)()(torch.zeros(2, *shape)).shape) == (2, 7)


def test_sizes_known_from_the_study() -> None:
    assert sum(p.numel() for p in build("mlp", Path(), (64,), 10)().parameters()) == 50_826
    assert sum(p.numel() for p in build("mlp", Path(), (784,), 10, {"hidden": [128, 64]})().parameters()) == 109_386


@pytest.mark.parametrize(
    ("name", "shape", "args", "words"),
    [
        ("mpl", (4,), {}, "unknown model 'mpl', did you mean 'mlp'"),
        ("mlp", (4,), {"hiden": [3]}, "no option 'hiden', did you mean 'hidden'"),
        ("mlp", (4,), {"hidden": [0]}, "expected hidden as whole numbers above 0"),
        ("mlp", (4,), {"dropout": 1.0}, "dropout"),
        ("cnn", (4,), {}, r"expected images of shape \(C, H, W\) or \(H, W\), got \(4,\)"),
        ("cnn", (3, 3), {}, "3 x 3 cannot be halved 2 times"),
        ("cnn", (8, 8), {"norm": "layer"}, "expected norm"),
        ("mine.py:net", (4,), {}, "there is no file"),
        ("no_such_place:net", (4,), {}, "there is no module 'no_such_place' on this machine"),
        ("math:pi", (4,), {}, "expected a function or class, got float"),
        ("math:sqroot", (4,), {}, "math has no attribute 'sqroot', did you mean 'sqrt'"),
        ("math:", (4,), {}, "expected module:attribute"),
    ],
)
def test_names_and_options_that_lead_nowhere(
    name: str, shape: tuple[int, ...], args: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build(name, Path(), shape, 3, args)()


USER = """
from torch import nn

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 3)

def shaped(input_shape, num_classes, width=5):
    return nn.Sequential(nn.Linear(input_shape[0], width), nn.Linear(width, num_classes))

def none():
    return None
"""


def test_a_users_own_model(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(USER)
    assert isinstance(build("nets.py:Plain", tmp_path, (4,), 3)(), nn.Module)
    module = build("nets.py:shaped", tmp_path, (4,), 3, {"width": 9})()
    assert tuple(module(torch.zeros(1, 4)).shape) == (1, 3)
    with pytest.raises(ConfigError, match=r"expected a torch\.nn\.Module, got NoneType"):
        build("nets.py:none", tmp_path, (4,), 3)()


def test_a_file_is_run_once(tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text("class A:\n    class B:\n        pass\n")
    assert resolve("once.py:A", tmp_path) is resolve("once.py:A", tmp_path)
    assert resolve("once.py:A.B", tmp_path).__name__ == "B"


@pytest.mark.parametrize("text", ["import no_such_place", "x = 1 +", "1 / 0"])
def test_a_file_that_cannot_be_imported(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.py cannot be imported: \w+Error") as caught:
        resolve("bad.py:a", tmp_path)
    assert "\n" not in str(caught.value)


def test_names_do_not_need_torch() -> None:
    code = "import sys, p2pfl.learn.names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
