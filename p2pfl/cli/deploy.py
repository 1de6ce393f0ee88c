"""`p2pfl deploy`: files that keep nodes running, made from the network document. Writes text; starts nothing."""

import os
import re
import shutil
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import click

from p2pfl.cli.deploy_templates import COMPOSE_HEAD, DOCKERFILE, SERVICE, UNIT
from p2pfl.cli.show import json_option, print_json
from p2pfl.config import NetworkConfig, NodeEntry, load_network, load_node
from p2pfl.config.graph import load_graph
from p2pfl.config.schema import NETWORK_FILE, NODE_FILE, listens_on
from p2pfl.core.urls import NOWHERE, is_loopback
from p2pfl.errors import ConfigError

INSIDE = "/network"
"""Where a container sees the documents, in the order that they have outside."""


@click.command()
@click.argument("network", type=click.Path(path_type=Path), default=Path(NETWORK_FILE))
@click.option("--out", "out", type=click.Path(path_type=Path), required=True, help="The folder, new or empty.")
@click.option("--node", "names", multiple=True, help="Only this node in compose.yaml (repeatable); else all of them.")
@json_option
def deploy(network: Path, out: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Write a systemd unit, a Dockerfile and a compose file for the nodes.

    NETWORK is the network document; a node that goes into compose.yaml has its node.toml in nodes/NAME beside it, as
    `p2pfl init` makes them. The systemd unit serves any node. All files are for people to read and change.
    """
    config = load_network(network)
    entries = [config.node(name) for name in names] or list(config.nodes)
    homes = [network.resolve().parent / "nodes" / entry.name for entry in entries]
    entries, homes = _there(entries, homes, bool(names))
    files = _files_needed(config)
    texts = {
        "p2pfl@.service": UNIT.substitute(program=shutil.which("p2pfl") or "/usr/local/bin/p2pfl", files=files),
        "Dockerfile": DOCKERFILE,
    }
    if entries:
        texts["compose.yaml"] = _compose(config, entries, homes, files, out)
    _write(out, texts)
    if as_json:
        print_json({"folder": str(out), "files": list(texts), "nodes": [entry.name for entry in entries]})
        return
    for name in texts:
        click.echo(f"{out / name}")
    click.echo("Each says at its top how it is used; see docs/operations.md")


def _there(entries: Sequence[NodeEntry], homes: Sequence[Path], asked: bool) -> tuple[list[NodeEntry], list[Path]]:
    """Those with a document here. Raises ConfigError if one was asked for that has none."""
    found = [(entry, home) for entry, home in zip(entries, homes, strict=True) if (home / NODE_FILE).is_file()]
    if asked and len(found) < len(entries):
        missing = next(home for home in homes if not (home / NODE_FILE).is_file())
        raise ConfigError(f"expected the node's document at {missing / NODE_FILE}, found none")
    return [entry for entry, _ in found], [home for _, home in found]


def _files_needed(config: NetworkConfig) -> int:
    from p2pfl.hosts.open_files import files_needed

    graph = load_graph(config.topology, [entry.name for entry in config.nodes])
    return files_needed(max((graph.degree(entry.name) for entry in config.nodes), default=0))


def _compose(config: NetworkConfig, entries: Sequence[NodeEntry], homes: Sequence[Path], files: int, out: Path) -> str:
    project = re.sub(r"[^a-z0-9_-]", "-", config.name.lower())
    text = COMPOSE_HEAD.substitute(name=config.name, project=f"p2pfl-{project}", folder=out)
    outer = config.path.resolve().parent
    shared = [path for path in sorted(outer.iterdir()) if path.suffix in (".toml", ".py") and path.is_file()]
    for entry, home in zip(entries, homes, strict=True):
        text += _service(entry, home, shared, files)
    volumes = "".join(f"  state-{entry.name}:\n" for entry in entries)
    return f"{text}volumes:\n{volumes}"


def _service(entry: NodeEntry, home: Path, shared: Sequence[Path], files: int) -> str:
    """One container. A network on loopback uses the machine's own; any other has a network of containers."""
    node = load_node(home / NODE_FILE)
    address = listens_on(node.listen)
    on_host = entry.url != NOWHERE and is_loopback(entry.url)
    words = ["node", "--config", f"{INSIDE}/nodes/{entry.name}/{NODE_FILE}", "--out", "/run-of-node/run", "--resume"]
    words += ["--log", "json"]
    if address is not None and not on_host:
        words += ["--set", f"listen=0.0.0.0:{address[1]}"]
    mounts = [f"{path}:{INSIDE}/{path.name}:ro" for path in shared] + [f"{home}:{INSIDE}/nodes/{entry.name}:ro"]
    scheme = "http" if entry.url == NOWHERE else urlsplit(entry.url).scheme
    return SERVICE.substitute(
        node=entry.name,
        user=f"{os.getuid()}:{os.getgid()}",
        command=", ".join(f'"{word}"' for word in words),
        mounts="\n".join(f'      - "{mount}"' for mount in mounts),
        health=f"{scheme}://127.0.0.1:{address[1] if address else 0}",
        files=files,
        reach=_reach(entry, address, on_host),
    )


def _reach(entry: NodeEntry, address: tuple[str, int] | None, on_host: bool) -> str:
    if on_host:
        return "    network_mode: host\n"
    if address is None or entry.url == NOWHERE:
        return ""
    outer = urlsplit(entry.url)
    text = f'    ports: ["{outer.port or address[1]}:{address[1]}"]\n'
    if _is_name(outer.hostname or ""):  # so that the nodes of one machine find each other by it
        text += f"    networks:\n      default:\n        aliases: [{outer.hostname}]\n"
    return text


def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _write(out: Path, texts: dict[str, str]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ConfigError(f"{out}: expected a new or empty folder; nothing is overwritten")
        for name, text in texts.items():
            (out / name).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write into {out}: {error.strerror}") from None
