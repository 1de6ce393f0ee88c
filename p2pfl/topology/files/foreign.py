"""Graphs in others' forms: networkx objects and declared tables, made into Drawings. Pure; reads no file."""

from collections.abc import Mapping
from typing import Any

from p2pfl.core.limits import NEIGHBOURS_MAX, NODES_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.files.drawing import Drawing, check_name, compute_link, compute_place
from p2pfl.topology.graphs.graph import Link
from p2pfl.topology.graphs.params import suggest
from p2pfl.topology.graphs.phases import draw_phases, merge_phases

EDGES_MAX = NODES_MAX * NEIGHBOURS_MAX // 2
"""More edges than this cannot pass the checks, so they are not even listed."""


def draw_networkx(graph: Any, source: str) -> Drawing:
    """A networkx graph. Labels 0 to n-1 (as numbers or digits), or labels that are no text at all, are anonymous."""
    import networkx as nx

    if not isinstance(graph, nx.Graph):
        raise ConfigError(f"{source}: expected an nx.Graph, got {type(graph).__name__}")
    if graph.is_directed():
        raise ConfigError(f"{source}: exchanges go both ways: expected an undirected graph, got a directed one")
    if graph.number_of_nodes() > NODES_MAX:
        raise ConfigError(f"{source}: expected at most {NODES_MAX} nodes, got {graph.number_of_nodes()}")
    if graph.number_of_edges() > EDGES_MAX:
        raise ConfigError(f"{source}: expected at most {EDGES_MAX} edges, got {graph.number_of_edges()}")
    labels, anonymous = _labels(list(graph.nodes))
    order = sorted(graph.nodes, key=lambda node: int(labels[node])) if anonymous else list(graph.nodes)
    edges = tuple(
        (labels[u], labels[v], compute_link(data, f"{source}: edge {labels[u]} - {labels[v]}"))
        for u, v, data in graph.edges(data=True)
    )
    places = {labels[node]: place for node, data in graph.nodes(data=True) if (place := compute_place(data))}
    return Drawing(source, tuple(labels[node] for node in order), edges, anonymous, places)


def draw_table(table: Mapping[str, Any], source: str) -> Drawing:
    """A declared graph: `nodes` (names, or tables with a name and coordinates), `edges` (pairs), `edge` (tables).

    One that changes with time has `phase` tables instead of `edges`; `edge` tables then describe the links of some.
    """
    _check_keys(table, ("nodes", "edges", "edge", "phase"), source)
    places = {}
    nodes: list[str] = []
    for row in _rows(table, "nodes", source):
        if isinstance(row, Mapping):
            _check_keys(row, ("name", "longitude", "latitude"), f"{source}: nodes")
            place, row = compute_place(row), row.get("name")
            if place and isinstance(row, str):
                places[row] = place
        check_name(row, source)
        nodes.append(str(row))
    edges = [_pair(row, source) for row in _rows(table, "edges", source)]
    edges += [_edge(row, source) for row in _rows(table, "edge", source)]
    phases = draw_phases(_rows(table, "phase", source), source)
    if phases:
        edges = merge_phases(phases, edges, source)
    if not edges:
        raise ConfigError(f'{source}: expected edges = [["a", "b"], ...] or [[edge]] tables, got none')
    if not nodes:
        nodes = list(dict.fromkeys(end for a, b, _ in edges for end in (a, b)))
    return Drawing(source, tuple(nodes), tuple(edges), False, places, phases)


def _labels(nodes: list[Any]) -> tuple[dict[Any, str], bool]:
    """A label for each node, and whether the labels are mere numbers."""
    texts = {node: str(node) for node in nodes}
    if set(texts.values()) == {str(i) for i in range(len(nodes))}:
        return texts, True
    if any(isinstance(node, str) for node in nodes):
        return texts, False
    ordered = sorted(nodes) if all(isinstance(node, int) for node in nodes) else nodes
    return {node: str(i) for i, node in enumerate(ordered)}, True


def _rows(table: Mapping[str, Any], key: str, source: str) -> list[Any]:
    rows = table.get(key, [])
    if not isinstance(rows, list):
        raise ConfigError(f"{source}: expected {key} to be a list, got {type(rows).__name__}")
    if len(rows) > EDGES_MAX:
        raise ConfigError(f"{source}: expected at most {EDGES_MAX} {key}, got {len(rows)}")
    return rows


def _pair(row: Any, source: str) -> tuple[str, str, Link | None]:
    if not isinstance(row, list) or len(row) != 2 or not all(isinstance(end, str) for end in row):
        raise ConfigError(f"{source}: expected each of edges to be a pair of names, got {row!r:.80}")
    return row[0], row[1], None


def _edge(row: Any, source: str) -> tuple[str, str, Link | None]:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{source}: expected [[edge]] tables with a and b, got {row!r:.80}")
    _check_keys(row, ("a", "b", "latency_ms", "bandwidth_mbps"), f"{source}: [[edge]]")
    a, b = row.get("a"), row.get("b")
    if not isinstance(a, str) or not isinstance(b, str):
        raise ConfigError(f"{source}: expected names a and b in each [[edge]], got {dict(row)!r:.80}")
    return a, b, compute_link(row, f"{source}: edge {a} - {b}")


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{suggest(key, known)}; expected {', '.join(known)}")
