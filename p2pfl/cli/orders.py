"""What an operator tells the node of this machine, through its run's folder. Knows documents and names; no Party."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from p2pfl.config import NodeConfig, load_node
from p2pfl.config.identity import genesis_of, network_id
from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError, Reject
from p2pfl.runs.spool import Spool
from p2pfl.wire import keyfile

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("node.toml"),
    show_default=True,
    help="The document of the node that is told.",
)
out_option = click.option("--out", type=click.Path(path_type=Path), help="Its run folder, if not node.toml's `out`.")


def tell(
    config_path: Path, out: Path | None, what: str, arguments: Sequence[Any], members: bool = True
) -> tuple[NodeConfig, Path]:
    """Leave an order for the node; the file that it takes up within a second while it runs. Raises ConfigError.

    members: whether it is about them, so somebody must watch them.
    """
    config = load_node(config_path)
    folder = out or config.out
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such run folder; has {config.name} been started?")
    if members and not config.network.membership.probe_s:
        raise ConfigError(f"{config.network.path.name}: nobody watches the members; set membership.probe_s")
    net = network_id(config.network, genesis_of(config.network))
    spool = Spool(folder, net, keyfile.load(config.key_file).node)
    try:
        return config, spool.put(what, list(arguments))
    except Reject as reject:
        raise ConfigError(f"cannot say that: {reject}") from None


def key_of(config_path: Path, text: str) -> NodeId:
    """A member by the name that the network document gives it, or by its key (64 hex digits). Raises ConfigError."""
    network = load_node(config_path).network
    for entry in network.nodes:
        if entry.name == text:
            return entry.key
    try:
        return keyfile.parse_public(text)
    except ConfigError:
        raise ConfigError(
            f"expected a node of {network.path.name} by name, or a key of 64 hex digits, got {text[:70]!r}"
        ) from None
