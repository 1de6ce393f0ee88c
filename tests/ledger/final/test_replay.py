"""One recorded log gives one state root at each height, whatever the hash seed, the msgpack or the interpreter."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

REPLAY = """
import sys
from pathlib import Path
import msgpack
assert (msgpack.Packer.__module__ == "msgpack.fallback") == (sys.argv[2] == "pure")
from p2pfl.ledger.check.explain import replay
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.check.source import FileSource, View
with open_reader(Path(sys.argv[1])) as reader:
    for played in replay(View(FileSource(reader))):
        print(played.block.height, played.outcome.state.root().hex())
"""


def roots(path: Path, python: str, seed: str, msgpack: str) -> list[str]:
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    if msgpack == "pure":
        env["MSGPACK_PUREPYTHON"] = "1"
    done = subprocess.run(
        [python, "-c", REPLAY, str(path), msgpack], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def recorded(make_played: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    network = make_played(9)
    path = network.write(tmp_path_factory.mktemp("replay") / "node.db")
    return path, [f"{height} {state.root().hex()}" for height, state in enumerate(network.states)][1:]


@pytest.mark.parametrize(("seed", "msgpack"), [("0", "c"), ("1", "c"), ("4242", "pure")])
def test_the_same_roots_at_each_height(recorded: tuple[Path, list[str]], seed: str, msgpack: str) -> None:
    path, expected = recorded
    assert roots(path, sys.executable, seed, msgpack) == expected


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_same_roots_on_other_interpreters(recorded: tuple[Path, list[str]], version: str) -> None:
    python = shutil.which(f"python{version}")
    probe = [str(python), "-c", "import msgpack, nacl, blake3"]
    if python is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"no python{version} with msgpack, nacl and blake3 here")
    path, expected = recorded
    assert roots(path, python, "7", "c") == expected
