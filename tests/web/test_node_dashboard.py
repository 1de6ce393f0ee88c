"""A node's own dashboard: off unless asked for, on loopback or with a token, asking listed neighbours only."""

import asyncio
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from p2pfl.cli import main
from p2pfl.cli.node_dashboard import ASKED_MAX, TOKEN, addresses, served_by, token_in
from p2pfl.config import NodeConfig, load_node
from p2pfl.config.schema import parse_dashboard
from p2pfl.errors import ConfigError, HostError
from p2pfl.web.board import Board


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    """A node of a trial, whose run has begun."""
    assert main(["init", str(tmp_path / "trial"), "--nodes", "3"]) == 0
    found = load_node(tmp_path / "trial" / "nodes" / "n0" / "node.toml", ['dashboard="127.0.0.1:0"'])
    found.out.mkdir(parents=True, exist_ok=True)
    (found.out / "config.toml").write_text('name = "n0"\n')
    line = {"seconds": 1.0, "event": "round", "round": 7, "rounds": 9, "apart": 0.5}
    (found.out / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return found


def asked(config: NodeConfig, *requests: tuple[str, dict[str, str]]) -> tuple[list[str], list[tuple[int, str]]]:
    """What was said of where it is, and the answers."""
    said: list[str] = []

    async def check() -> list[tuple[int, str]]:
        found = []
        async with served_by(config, said.append)(), aiohttp.ClientSession() as session:
            base = said[0].split("dashboard at ")[1].partition("/?")[0].rstrip("/").replace("0.0.0.0", "127.0.0.1")
            for path, headers in requests:
                async with session.get(base + path, headers=headers) as reply:
                    found.append((reply.status, await reply.text()))
        return found

    return said, asyncio.run(check())


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "trial"), "--nodes", "3"]) == 0
    config = load_node(tmp_path / "trial" / "nodes" / "n0" / "node.toml")
    assert config.dashboard == "off"

    async def check() -> None:
        async with served_by(config, lambda text: pytest.fail(text))():
            pass

    asyncio.run(check())


def test_on_loopback_it_shows_the_node_and_whom_it_knows(config: NodeConfig) -> None:
    said, ((status, text),) = asked(config, ("/api/board", {}))
    assert status == 200
    nodes: dict[str, Any] = {node["name"]: node for node in json.loads(text)["nodes"]}
    assert (nodes["n0"]["round"], nodes["n0"]["apart"]) == (7, 0.5)
    assert "token" not in said[0]
    assert not (config.out / TOKEN).exists()


def test_beyond_this_machine_it_asks_for_the_token_of_the_run(config: NodeConfig) -> None:
    wide = replace(config, dashboard="0.0.0.0:0")
    token = token_in(config.out)
    said, answers = asked(wide, ("/", {}), ("/api/board", {}), ("/api/board", {"Authorization": f"Bearer {token}"}))
    assert [status for status, _ in answers] == [401, 401, 200]
    assert token not in said[0], "logs are read by others"
    assert str(config.out / TOKEN) in said[0]


def test_the_token_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    token = token_in(tmp_path)
    assert len(token) >= 20
    assert token_in(tmp_path) == token
    assert stat.S_IMODE((tmp_path / TOKEN).stat().st_mode) == 0o600
    with pytest.raises(HostError, match=r"cannot keep the dashboard's token"):
        token_in(tmp_path / "nowhere")


def test_where_it_cannot_listen_it_says_so(config: NodeConfig) -> None:
    with pytest.raises(HostError, match=r"dashboard: cannot listen on 192\.0\.2\.1:1"):
        asked(replace(config, dashboard="192.0.2.1:1"))


def test_of_a_large_network_only_neighbours_are_asked(config: NodeConfig) -> None:
    listed = config.network.nodes[0]
    entries = tuple(
        replace(listed, name=f"n{i}", key=bytes([i % 256, i // 256]) * 16, url=f"http://127.0.0.1:{2000 + i}")
        for i in range(ASKED_MAX + 9)
    )
    board = Board("test")
    for i in range(4):
        board.introduce(f"n{i}", f"{i:02x}00" * 16)
    board.link("n0", "n2", 1)
    assert len(addresses(config, board)) == 3
    large = replace(config, network=replace(config.network, nodes=entries))
    assert addresses(large, board) == ["http://127.0.0.1:2000", "http://127.0.0.1:2002"]


@pytest.mark.parametrize("text", ["none", "8090", "on", ":8090", "127.0.0.1:99999"])
def test_where_it_is_served_is_off_or_an_address(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_dashboard(text)
