"""`p2pfl doctor`: looks at one node from where it stands, and names causes instead of symptoms. Changes nothing.

The order is the order in which a node needs things: documents, key, data, folder, disk, store, files, port, the parts
that the document names, its own address, its neighbours, the clock. A later check that an earlier failure makes
meaningless is left out, so the first line that failed is where to begin.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from p2pfl.config import NodeConfig, load_node
from p2pfl.config.graph import load_graph
from p2pfl.config.schema import NODE_FILE, NodeEntry
from p2pfl.core.urls import NOWHERE
from p2pfl.errors import ConfigError, P2PFLError
from p2pfl.runs.doctor_ask import Heard, ask, ask_all
from p2pfl.runs.doctor_machine import FreeBytes, check_machine, check_port, is_running
from p2pfl.runs.doctor_peers import Own, check_clock, check_members, check_neighbour, check_own_address
from p2pfl.runs.finding import Finding, failed, ok, warning
from p2pfl.runs.folder import CONFIG

NEIGHBOURS_ASKED_MAX = 64
Asker = Callable[[Sequence[str]], list[Heard]]


def document_at(path: Path) -> Path:
    """The node's document: `path` itself, or in that folder, or the one that a run kept. Raises ConfigError."""
    if path.is_file():
        return path
    for name in (NODE_FILE, CONFIG):
        if (path / name).is_file():
            return path / name
    raise ConfigError(f"{path}: expected a {NODE_FILE}, a folder with one, or a run's folder; found none of these")


def examine(path: Path, asker: Asker = ask_all, free_bytes: FreeBytes | None = None) -> list[Finding]:
    """All that can be found out about the node whose document is at `path`. Raises ConfigError if there is none."""
    document = document_at(path)
    try:
        config = load_node(document)
        neighbours = _neighbours(config)
    except ConfigError as error:
        return [failed("documents", str(error), "correct that line; every key is in docs/configuration.md")]
    found = [ok("documents", f"{document} and {config.network.path}")]
    found += check_machine(config, len(neighbours), free_bytes)
    running = is_running(config.out)
    found.append(ok("process", "running") if running else ok("process", "not running"))
    if not running:
        found.append(check_port(config))
    own, about = _assembled(config)
    return [*found, about, *_ask_around(config, neighbours, own, running, asker)]


def examine_url(url: str, asker: Callable[[str], Heard] = ask) -> list[Finding]:
    """A running node, from outside."""
    heard = asker(url)
    if heard.why_not:
        return [failed("address", f"{url}: {heard.why_not}", heard.do)]
    found = [ok("address", f"{url} is {heard.status.get('name')}")]
    why = heard.ready.get("why")
    if heard.ready:
        version = f"p2pfl {heard.ready.get('version')}"
        do = "see the table in docs/operations.md"
        found.append(warning("taking part", f"{version}, {why}", do) if why else ok("taking part", version))
    found += [*_edges_of(heard), *check_members(heard.status)]
    return [*found, check_clock([heard])]


def _neighbours(config: NodeConfig) -> list[NodeEntry]:
    """Of this node, in the first rounds' graph and all later ones. Raises ConfigError."""
    graph = load_graph(config.network.topology, [entry.name for entry in config.network.nodes])
    return [config.network.node(name) for name in graph.neighbours(config.name)]


def _assembled(config: NodeConfig) -> tuple[Own, Finding]:
    """What the document's parts come to: only then can digests be compared. Loads torch."""
    from p2pfl.assemble.network import assemble

    key = config.network.node(config.name).key
    try:
        shared = assemble(config.network, "cpu")
        recipe, network = shared.recipe.digest.hex(), shared.network.hex()
    except P2PFLError as error:
        about = failed("parts", str(error), "install what is missing, or correct network.toml")
        return Own(config.name, key, "", ""), about
    return Own(config.name, key, network, recipe), ok("parts", f"recipe {recipe[:8]}, network {network[:8]}")


def _ask_around(
    config: NodeConfig, neighbours: Sequence[NodeEntry], own: Own, running: bool, asker: Asker
) -> Iterator[Finding]:
    mine = config.network.node(config.name)
    near = [entry for entry in neighbours if entry.url != NOWHERE][:NEIGHBOURS_ASKED_MAX]
    asked = near if mine.url == NOWHERE else [mine, *near]
    heard = asker([entry.url for entry in asked])
    if mine.url != NOWHERE:
        yield check_own_address(mine, heard[0], running)
        yield from check_members(heard[0].status)
        heard = heard[1:]
    if not neighbours:
        yield warning("neighbours", "the graph gives this node none", "p2pfl topology show, and check [topology]")
    for entry, answer in zip(near, heard, strict=True):
        yield from check_neighbour(entry, answer, own)
    if near:
        yield check_clock(heard)


def _edges_of(heard: Heard) -> Iterator[Finding]:
    edges: Any = heard.status.get("edges")
    rows = [edge for edge in edges if isinstance(edge, dict)] if isinstance(edges, list) else []
    silent = [str(edge.get("peer"))[:8] for edge in rows if edge.get("failed_attempts")]
    if silent:
        yield warning("its neighbours", f"does not reach {', '.join(silent[:8])}", "run p2pfl doctor on that machine")
    elif rows:
        yield ok("its neighbours", f"reaches all {len(rows)}")
