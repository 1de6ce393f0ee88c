"""Requests in a run's folder: written whole, read by this node only, and gone when they are done."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from p2pfl.errors import ConfigError, Reject
from p2pfl.peer.request import REQUESTS_MAX
from p2pfl.runs.spool import FOLDER, REQUEST_BYTES_MAX, Spool
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "request.json").read_text())
NET = bytes.fromhex(VECTORS["network"])
ME, OTHER = Signer(b"\1" * 32).node, Signer(b"\2" * 32).node


def test_a_request_is_found_once_and_gone_when_it_is_done(tmp_path: Path) -> None:
    spool = Spool(tmp_path, NET, ME)
    assert spool.waiting() == ([], [])
    path = spool.put("join", [1])
    assert spool.put("join", [1]) == path, "asked twice is asked once"
    spool.put("endorse", [OTHER, 3])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    requests, refused = spool.waiting()
    assert ({r.kind for r in requests}, refused) == ({"join", "endorse"}, [])
    for request in requests:
        spool.done(request.name)
        spool.done(request.name)
    assert spool.waiting() == ([], [])
    assert not list((tmp_path / FOLDER).iterdir())


def test_what_must_not_be_asked_is_refused_before_it_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path, NET, ME)
    for kind, payload in (("receipts", []), ("join", [4]), ("join", []), ("endorse", [b"short", 1])):
        with pytest.raises(Reject):
            spool.put(kind, payload)
    assert not (tmp_path / FOLDER).exists()


def test_a_strange_file_is_set_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path, NET, ME)
    path = Spool(tmp_path, NET, OTHER).put("join", [1])
    (path.parent / "long.request").write_bytes(bytes(REQUEST_BYTES_MAX + 1))
    (path.parent / "half.half").write_bytes(b"")
    requests, refused = spool.waiting()
    assert requests == []
    assert len(refused) == 2
    assert "another node" in "".join(refused)
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".half", ".refused", ".refused"]
    assert spool.waiting() == ([], [])


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, NET, ME)
    spool.put("join", [1])
    for number in range(REQUESTS_MAX - 1):
        (tmp_path / FOLDER / f"{number}.refused").touch()
    with pytest.raises(ConfigError, match="holds 256 files"):
        spool.put("leave", [1])


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: vector["kind"])
def test_golden_requests(tmp_path: Path, vector: dict[str, Any]) -> None:
    payload = [bytes.fromhex(item) if isinstance(item, str) else item for item in vector["payload"]]
    spool = Spool(tmp_path, NET, ME)
    assert spool.put(vector["kind"], payload).read_bytes().hex() == vector["raw"]
    ((request,), _) = spool.waiting()
    assert (request.kind, list(request.payload)) == (vector["kind"], payload)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_refused_requests(tmp_path: Path, vector: dict[str, Any]) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "x.request").write_bytes(bytes.fromhex(vector["raw"]))
    requests, (why,) = Spool(tmp_path, NET, ME).waiting()
    assert requests == []
    assert vector["code"] in why
