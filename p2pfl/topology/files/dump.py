"""A Topology as the text of a .toml file that `load_topology` reads back as the same graph. Writes no file."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import tomli_w

from p2pfl.topology.graphs.graph import Edge, Topology


def dump_topology(topology: Topology, comment: str = "") -> str:
    """Nodes, places, edges, links, phases and weights. `comment` (any number of lines) goes to the top.

    Law: load(dump(t)) == t, with equal links, places and digest.
    """
    table: dict[str, object] = {"nodes": [_node(topology, name) for name in topology.nodes]}
    known = [e for e in topology.edge_list() if e in topology.links]
    if topology.phases or topology.shares:
        frames = topology.phases or (topology.edges,)
        table["phase"] = [
            _phase(sorted(f), topology.shares[t] if topology.shares else {}) for t, f in enumerate(frames)
        ]
    else:
        table["edges"] = [list(e) for e in topology.edge_list() if e not in topology.links]
    table["edge"] = [_link(topology, e) for e in known]
    top = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    kept = {key: value for key, value in table.items() if value}
    return top + ("\n" if top else "") + tomli_w.dumps(kept)


def _node(topology: Topology, name: str) -> object:
    place = topology.places.get(name)
    if place is None:
        return name
    return {"name": name, "longitude": place.longitude, "latitude": place.latitude}


def _link(topology: Topology, e: Edge) -> dict[str, object]:
    link = topology.links[e]
    values = {"latency_ms": link.latency_ms, "bandwidth_mbps": link.bandwidth_mbps}
    return {"a": e[0], "b": e[1]} | {key: value for key, value in values.items() if value is not None}


def _phase(edges: Sequence[Edge], shares: Mapping[Edge, Fraction]) -> dict[str, object]:
    found: dict[str, object] = {"edges": [list(e) for e in edges]}
    if shares:
        found["weights"] = [str(shares[e]) for e in edges]
    return found
