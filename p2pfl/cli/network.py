"""`p2pfl network`: the shared document, edited as text so that its comments stay. Knows no key but public ones."""

import os
import tempfile
from pathlib import Path
from typing import Any

import click
import tomli_w

from p2pfl.cli.network_token import token
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.templates import SAMPLES, network_text
from p2pfl.config import NetworkConfig, NodeEntry, load_network, parse_network, to_plain
from p2pfl.config.graph import load_graph
from p2pfl.config.schema import NETWORK_FILE, check_guarded, parse_name, parse_url
from p2pfl.core.ids import short
from p2pfl.core.urls import NOWHERE
from p2pfl.errors import ConfigError
from p2pfl.wire.keyfile import parse_public

RECIPE_SECTIONS = ("model", "mix", "compress", "pace", "topology")

file_option = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default=NETWORK_FILE,
    show_default=True,
    help="The network document.",
)


@click.group()
def network() -> None:
    """Edit and check the shared network document."""


network.add_command(token)


@network.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", default="trial", show_default=True, help="The network's name.")
@json_option
def new(path: Path, name: str, as_json: bool) -> None:
    """Write a commented network document without nodes to FILE."""
    text = network_text(parse_name(name), SAMPLES["digits"], "ring")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; choose another file") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    if as_json:
        print_json({"path": str(path), "name": name})
    else:
        click.echo(f"{path} written. Each machine runs `p2pfl keys new key` and sends you what it prints; then:")
        click.echo(f"  p2pfl network add NAME PUBLIC_KEY URL --file {path}")


@network.command()
@click.argument("name")
@click.argument("public_key")
@click.argument("url")
@file_option
@json_option
def add(name: str, public_key: str, url: str, path: Path, as_json: bool) -> None:
    """Add a node: its NAME, its PUBLIC_KEY (64 hex digits) and the URL where other nodes reach it.

    "none" stands for a node that cannot be reached: it fetches from its neighbours.
    """
    entry = NodeEntry(name=parse_name(name), key=parse_public(public_key), url=parse_url(url))
    if load_network(path).tls == "auto":
        check_guarded(entry)
    text = appended(path.read_text("utf-8"), entry)
    config = parse_network(text, path)
    _replace(path, text)
    if as_json:
        print_json({"path": str(path), "added": to_plain(entry), "num_nodes": len(config.nodes)})
    else:
        click.echo(f"{path}: {entry.name} ({short(entry.key)}) added, {len(config.nodes)} nodes")


@network.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), default=NETWORK_FILE)
@json_option
def show(path: Path, as_json: bool) -> int:
    """Show the nodes, what they agree on, and whether the graph is sound. Exit code 1 if it is not."""
    config = load_network(path)
    graph, problem = _check_graph(config)
    if as_json:
        agreed = {name: to_plain(getattr(config, name)) for name in RECIPE_SECTIONS}
        nodes = [to_plain(entry) for entry in config.nodes]
        print_json(
            {"name": config.name, "seed": config.seed, **agreed, "nodes": nodes, "graph": graph, "problem": problem}
        )
    else:
        _print(config, graph)
        if problem is not None:
            click.echo(f"graph: {problem}", err=True)
    return 0 if problem is None else 1


def appended(text: str, entry: NodeEntry) -> str:
    """The document with one more [[nodes]] at its end; nothing else is touched."""
    gap = "" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}{tomli_w.dumps({'nodes': [to_plain(entry)]})}"


def _replace(path: Path, text: str) -> None:
    """All or nothing: a reader never sees half a document."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _check_graph(config: NetworkConfig) -> tuple[dict[str, Any], str | None]:
    """What the graph over the nodes is like, and what is wrong with it (None: nothing)."""
    if not config.nodes:
        return {}, "no nodes yet; add them with: p2pfl network add NAME PUBLIC_KEY URL"
    try:
        topology = load_graph(config.topology, [entry.name for entry in config.nodes])
    except ConfigError as error:
        return {}, str(error)
    hidden = {entry.name for entry in config.nodes if entry.url == NOWHERE}
    dead = [f"{a}-{b}" for a, b in topology.edges if a in hidden and b in hidden]
    degrees = [topology.degree(name) for name in topology.nodes]
    return {
        "edges": len(topology.edges),
        "neighbours_min": min(degrees),
        "neighbours_max": max(degrees),
        "diameter": topology.diameter,
        "spectral_gap": topology.spectral_gap(),
    }, None if not dead else f"{', '.join(dead[:8])}: neither end can be reached (url none): one of them has to listen"


def _print(config: NetworkConfig, graph: dict[str, Any]) -> None:
    click.echo(f"{config.name}: {len(config.nodes)} nodes, seed {config.seed}")
    print_table(("name", "key", "url"), [(entry.name, f"{short(entry.key)}..", entry.url) for entry in config.nodes])
    rows = [
        (name, ", ".join(f"{key} = {value}" for key, value in to_plain(getattr(config, name)).items() if value != {}))
        for name in RECIPE_SECTIONS
    ]
    print_table(("agreed", "settings"), rows)
    if graph:
        print_table(tuple(graph), [tuple(graph.values())])
