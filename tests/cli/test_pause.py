"""`p2pfl pause` and `resume`: what is written is what the node takes; where it cannot be, one line says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.config import load_node
from p2pfl.config.identity import genesis_of, network_id
from p2pfl.peer.order import Order
from p2pfl.runs.spool import Spool
from p2pfl.wire import keyfile


@pytest.fixture
def node(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path / "t"), "--nodes", "3"]) == 0
    (tmp_path / "t" / "nodes" / "n0" / "run").mkdir()
    return tmp_path / "t" / "nodes" / "n0" / "node.toml"


def orders(path: Path) -> set[tuple[str, int]]:
    config = load_node(path)
    net = network_id(config.network, genesis_of(config.network))
    found, wrong = Spool(config.out, net, keyfile.load(config.key_file).node).look()
    assert not wrong
    return {(order.what, order.number) for order in found if isinstance(order, Order)}


def test_orders_lie_where_the_node_looks(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", "--config", str(node)]) == 0
    assert "n0 is told to pause" in capsys.readouterr().out
    assert main(["pause", "--config", str(node), "--seconds", "60"]) == 0
    capsys.readouterr()
    assert main(["resume", "--config", str(node), "--json"]) == 0
    said: Any = json.loads(capsys.readouterr().out)
    assert (said["node"], said["order"]) == ("n0", "resume")
    assert orders(node) == {("pause", 0), ("pause", 60), ("resume", 0)}


def test_members_need_not_be_watched(node: Path) -> None:
    network = node.parent.parent.parent / "network.toml"
    network.write_text(network.read_text().replace("probe_s = 1", "probe_s = 0"))
    assert not load_node(node).network.membership.probe_s
    assert main(["pause", "--config", str(node)]) == 0


@pytest.mark.parametrize("seconds", ["0", "-5", "99999999999", "soon"])
def test_a_pause_has_bounds(node: Path, seconds: str) -> None:
    assert main(["pause", "--config", str(node), "--seconds", seconds]) == 2
    assert not orders(node)


def test_in_lockstep_nobody_pauses(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = node.parent.parent.parent / "network.toml"
    network.write_text(network.read_text().replace("[pace]", '[pace]\nmode = "lockstep"', 1))
    assert main(["pause", "--config", str(node)]) == 2
    assert "in lockstep everybody waits for everybody" in capsys.readouterr().err


def test_a_node_that_was_never_started_is_told_nothing(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (node.parent / "run").rmdir()
    assert main(["pause", "--config", str(node)]) == 2
    assert "no such run folder" in capsys.readouterr().err
