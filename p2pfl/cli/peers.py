"""`p2pfl peers`, `kick`, `ban` and `drain`: who is there, as a node sees it, and whom it is to refuse."""

from pathlib import Path
from typing import Any

import click

from p2pfl.cli.orders import config_option, key_of, out_option, tell
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.status import fetch_status
from p2pfl.core.ids import NodeId, short
from p2pfl.errors import HostError
from p2pfl.peer.order import KICK_S_MAX

COLUMNS = ("node", "state", "incarnation", "url", "heard_s", "software")


@click.command()
@click.argument("url")
@click.option("--timeout", "timeout_s", default=5.0, show_default=True, help="Seconds to wait for an answer.")
@json_option
def peers(url: str, timeout_s: float, as_json: bool) -> None:
    """Show the members of a network as one node sees them.

    URL is the node's base address. States: alive, suspect (a probe was not answered), dead, left, draining; or why it
    may not be a member: revoked, expired, banned, kicked.
    """
    status = fetch_status(url, timeout_s)
    members = status.get("membership")
    if not isinstance(members, dict):
        raise HostError(f"{url}: this node watches no members; set membership.probe_s in network.toml")
    if as_json:
        print_json({"name": status.get("name"), **members})
        return
    told = ("view", "alive", "joined", "incarnation", "health", "epoch", "admission", "draining")
    print_table(told, [[members.get(key) for key in told]])
    click.echo()
    print_table(COLUMNS, [_row(row) for row in members.get("members", [])])


def _row(row: dict[str, Any]) -> list[object]:
    cells = {key: "" if value is None else value for key, value in row.items()}
    return [str(cells.get("node"))[:8], *(cells.get(key) for key in COLUMNS[1:])]


@click.command()
@click.argument("node")
@click.option("--seconds", type=click.IntRange(1, KICK_S_MAX), default=60, show_default=True, help="For how long.")
@config_option
@out_option
@json_option
def kick(node: str, seconds: int, config_path: Path, out: Path | None, as_json: bool) -> None:
    """Have this machine's node refuse a member for a while.

    NODE is a name in the network document, or a key. The others go on with it.
    """
    key = key_of(config_path, node)
    _say(*tell(config_path, out, "kick", [key, seconds]), key, f"kicked for {seconds} s", as_json)


@click.command()
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let it in again.")
@config_option
@out_option
@json_option
def ban(node: str, undo: bool, config_path: Path, out: Path | None, as_json: bool) -> None:
    """Have this machine's node refuse a key for good.

    NODE is a name in the network document, or a key. The others go on with it; to shut a key out of a whole network,
    an authority revokes it: p2pfl network token revoke.
    """
    key = key_of(config_path, node)
    _say(*tell(config_path, out, "unban" if undo else "ban", [key]), key, "let in again" if undo else "banned", as_json)


@click.command()
@config_option
@out_option
@json_option
def drain(config_path: Path, out: Path | None, as_json: bool) -> None:
    """Have this machine's node take no part any more, and end.

    It says so first, waits until the others have closed their graph over it, writes its state, and leaves. Start it
    again with `p2pfl node --resume`.
    """
    config, path = tell(config_path, out, "drain", [])
    if as_json:
        print_json({"node": config.name, "order": "drain", "file": str(path)})
    else:
        click.echo(f"{config.name} is told to drain; it ends by itself in some seconds")


def _say(config: Any, path: Path, key: NodeId, what: str, as_json: bool) -> None:
    if as_json:
        print_json({"node": config.name, "peer": key, "order": what, "file": str(path)})
    else:
        click.echo(f"{config.name} is told: {short(key)} is {what}")
