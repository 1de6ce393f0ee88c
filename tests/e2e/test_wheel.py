"""The wheel holds the package and nothing else, and works with no checkout around."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOES_IN = ("pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def run(*words: object, **more: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=540, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: building leaves files beside the source."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in GOES_IN:
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "p2pfl", source / "p2pfl", ignore=shutil.ignore_patterns("__pycache__"))
    try:
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", built, source)
    except AssertionError as error:
        if "setuptools" in str(error) and "No matching distribution" in str(error):
            pytest.skip("the build needs setuptools from the package index, which is not reached")
        raise
    (found,) = built.glob("*.whl")
    return found


def test_it_holds_what_it_should_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = ROOT / "p2pfl"
    wanted = {*package.rglob("*.py"), *(package / "web" / "static").iterdir(), package / "py.typed"}
    assert held == {str(path.relative_to(ROOT)) for path in wanted}
    about = {name.partition(".dist-info/")[2] for name in zipfile.ZipFile(wheel).namelist()} - {""}
    assert about == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it. Its dependencies are those installed here: a path file names their
    folder, in which editable installs (also files of that kind) then do not count."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def test_a_demo_runs_with_no_checkout_around(bare: Path, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    there = {"cwd": tmp_path, "env": kept}
    where = run(bare / "bin" / "python", "-c", "import p2pfl; print(p2pfl.__file__)", **there)
    assert Path(where.strip()).is_relative_to(bare)
    told = json.loads(run(bare / "bin" / "p2pfl", "demo", "--nodes", "3", "--rounds", "20", "--json", **there))
    assert len(told["per_node"]) == 3
    assert min(row["accuracy"] for row in told["per_node"]) > 0.5
    assert "page" in run(bare / "bin" / "p2pfl", "dashboard", "--help", **there)
