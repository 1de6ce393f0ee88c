"""Commands that need no tensor never load torch: it costs seconds."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfl.cli import main

STORE = Path(__file__).resolve().parents[1] / "vectors" / "store.v1.db.gz"
PROBE = """
import sys
from p2pfl.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "aiohttp", "sklearn", "matplotlib"} & set(sys.modules)
sys.exit(f"loaded {sorted(heavy)}" if heavy else code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["init", "fresh"],
        ["keys", "new", "other"],
        ["keys", "show", "trial/nodes/n0/key"],
        ["network", "show", "trial/network.toml"],
        ["network", "new", "another.toml"],
        ["deploy", "trial/network.toml", "--out", "files"],
        ["backup", "trial/node.db", "--out", "copy.db"],
        ["restore", "trial/node.db", "back"],
        ["migrate", "trial/node.db"],
        ["ledger", "recover", "trial/node.db"],
        ["network", "add", "zoe", "0" * 64, "https://z:1", "--file", "trial/network.toml"],
    ],
    ids=" ".join,
)
def test_no_torch(tmp_path: Path, arguments: list[str]) -> None:
    main(["init", str(tmp_path / "trial")])
    (tmp_path / "trial" / "node.db").write_bytes(gzip.decompress(STORE.read_bytes()))
    done = subprocess.run([sys.executable, "-c", PROBE, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
