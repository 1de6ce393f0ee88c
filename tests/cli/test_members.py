"""Tokens and orders at the command line: what is written is what a node takes, and nonsense is said to be that."""

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from p2pfl.cli import main
from p2pfl.config import load_node
from p2pfl.config.identity import genesis_of, network_id
from p2pfl.errors import ConfigError
from p2pfl.membership.statements import Statement, Tag, parse_statement
from p2pfl.membership.tokens import parse_text
from p2pfl.peer.order import Order
from p2pfl.runs.joining import presence_of
from p2pfl.runs.spool import Spool
from p2pfl.wire import keyfile


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """Three nodes whose network takes tokens; the first one has been started before."""
    assert main(["init", str(tmp_path / "t"), "--nodes", "3"]) == 0
    path = tmp_path / "t" / "network.toml"
    path.write_text(path.read_text().replace('# admission = "token"', 'admission = "token"', 1))
    (tmp_path / "t" / "nodes" / "n0" / "run").mkdir()
    return tmp_path / "t"


def said(capsys: pytest.CaptureFixture[str], *argv: object) -> Any:
    capsys.readouterr()
    assert main([*(str(arg) for arg in argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    capsys.readouterr()
    assert main([str(arg) for arg in argv]) == 2
    return capsys.readouterr().err


def orders(trial: Path) -> list[Order]:
    config = load_node(trial / "nodes" / "n0" / "node.toml")
    net = network_id(config.network, genesis_of(config.network))
    found, wrong = Spool(config.out, net, keyfile.load(config.key_file).node).look()
    assert not wrong
    assert all(isinstance(order, Order) for order in found)
    return [order for order in found if isinstance(order, Order)]


def test_a_token_is_issued_shown_and_delegated(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newcomer, clerk = (keyfile.create(trial / name).node for name in ("new.key", "clerk.key"))
    document, boss = ("--file", trial / "network.toml"), ("--key", trial / "nodes" / "n0" / "key")
    issue = ("network", "token", "issue")
    made = said(capsys, *issue, newcomer.hex(), trial / "a", *boss, *document, "--last-epoch", 4)
    assert (made["subject"], made["right"], made["last_epoch"]) == (newcomer.hex(), "join", 4)
    said(capsys, *issue, clerk.hex(), trial / "b", *boss, *document, "--delegate")
    by_clerk = ("--key", trial / "clerk.key", *document)
    assert "no authority" in refused(capsys, *issue, newcomer.hex(), trial / "c", *by_clerk)
    said(capsys, *issue, newcomer.hex(), trial / "c", *by_clerk, "--by", trial / "b")
    shown = said(capsys, "network", "token", "show", trial / "c")
    assert (shown["chain"], shown["issuer"]) == (2, clerk.hex())
    assert "cannot write" in refused(capsys, *issue, newcomer.hex(), trial / "c", *boss, *document)


def test_an_authoritys_word_goes_to_a_member(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node, boss = trial / "nodes" / "n0", ("--key", trial / "nodes" / "n0" / "key")
    newcomer = keyfile.create(trial / "new.key").node
    said(capsys, "network", "token", "issue", newcomer.hex(), trial / "a", *boss, "--file", trial / "network.toml")
    token = parse_text((trial / "a").read_text())
    where = (*boss, "--config", node / "node.toml")
    for what in (trial / "a", newcomer.hex()):
        said(capsys, "network", "token", "revoke", what, *where)
    said(capsys, "network", "token", "expire", 3, *where)
    words = [parse_statement(order.text) for order in orders(trial)]
    told = {(word.tag, word.about, word.number) for word in words if isinstance(word, Statement)}
    assert told == {(Tag.REVOKED, token.id, 0), (Tag.REVOKED, newcomer, 0), (Tag.EPOCH, bytes(32), 3)}
    stranger = ("--key", trial / "new.key", "--config", node / "node.toml")
    assert "no authority" in refused(capsys, "network", "token", "expire", 3, *stranger)


def test_orders_reach_the_run_folder(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--config", trial / "nodes" / "n0" / "node.toml")
    said(capsys, "kick", "n1", "--seconds", 5, *where)
    said(capsys, "ban", "n2", *where)
    said(capsys, "ban", "n2", "--undo", *where)
    said(capsys, "drain", *where)
    assert sorted(order.what for order in orders(trial)) == ["ban", "drain", "kick", "unban"]
    assert "by name, or a key" in refused(capsys, "kick", "nobody", *where)


def test_orders_need_a_node_that_watches(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has n1 been started" in refused(capsys, "drain", "--config", trial / "nodes" / "n1" / "node.toml")
    path = trial / "network.toml"
    text = path.read_text().replace("probe_s = 1.0", "probe_s = 0.0")
    path.write_text(text.replace('admission = "token"', '# admission = "token"'))
    assert "nobody watches" in refused(capsys, "drain", "--config", trial / "nodes" / "n0" / "node.toml")


def test_a_newcomer_needs_a_token_of_its_own(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = trial / "nodes" / "x"
    key = keyfile.create(home / "key").node
    keys = {"network": "../../network.toml", "name": "x", "key_file": "key", "listen": "127.0.0.1:9090", "out": "run"}
    (home / "node.toml").write_text(tomli_w.dumps({"format": 1, **keys}))
    config = load_node(home / "node.toml")
    assert (config.is_listed, config.reached_at) == (False, "http://127.0.0.1:9090")
    with pytest.raises(ConfigError, match="a join token is needed"):
        presence_of(config, key)
    boss = ("--key", trial / "nodes" / "n0" / "key", "--file", trial / "network.toml")
    said(capsys, "network", "token", "issue", key.hex(), home / "token", *boss)
    config = load_node(home / "node.toml", (f"token='{home / 'token'}'",))
    assert parse_text((home / "token").read_text()).raw == presence_of(config, key).token
    with pytest.raises(ConfigError, match="is for the key"):
        presence_of(config, load_node(trial / "nodes" / "n0" / "node.toml").network.nodes[0].key)
