"""An underlay from what running nodes say of their lines. Pure: knows status documents, no address.

Both ends of a line measure it, from above (latency) and from below (bandwidth): the better figure is nearer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.files.drawing import check_name, check_usable
from p2pfl.topology.graphs.graph import Edge, Link, Topology, edge

FIGURE_MAX = 1e9
"""Milliseconds or Mbit/s: beyond what any line has."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one node said: its id, its name, and for each neighbour's id the line to it."""

    node: str
    name: str
    lines: Mapping[str, Link]


def read_report(status: Mapping[str, Any], source: str) -> Report:
    """Checks a status document, which may be anything. Raises ConfigError."""
    node, name, lines = status.get("node"), status.get("name"), status.get("lines")
    if not isinstance(node, str) or not isinstance(lines, list) or len(lines) > NEIGHBOURS_MAX:
        raise ConfigError(f"{source}: expected a node's status with its lines; is it a training node of this version?")
    check_name(name, source)
    found = {}
    for row in lines:
        if not isinstance(row, Mapping) or not isinstance(row.get("peer"), str):
            raise ConfigError(f"{source}: expected lines with a peer, got {row!r:.80}")
        found[row["peer"]] = Link(_number(row, "latency_ms", source), _number(row, "bandwidth_mbps", source))
    return Report(node, str(name), found)


def combine(reports: Sequence[Report]) -> tuple[Topology, int]:
    """The network of all lines between these nodes whose latency is known, and how many lead to others.

    Raises ConfigError for two nodes of one name and for a network in pieces.
    """
    names = {report.node: report.name for report in reports}
    if len(set(names.values())) < len(reports):
        raise ConfigError(f"expected nodes of different names, got {', '.join(report.name for report in reports)}")
    links: dict[Edge, Link] = {}
    strangers: set[str] = set()
    for report in reports:
        for peer, link in report.lines.items():
            if peer not in names:
                strangers.add(peer)
            elif peer != report.node:  # one end may know the latency, the other the bandwidth
                ends = edge(report.name, names[peer])
                links[ends] = _better(links.get(ends, link), link)
    links = {ends: link for ends, link in links.items() if link.latency_ms is not None}
    topology = Topology(tuple(sorted(names.values())), frozenset(links), links=links)
    return check_usable(topology, "the lines between these nodes"), len(strangers)


def _better(a: Link, b: Link) -> Link:
    latencies = [x for x in (a.latency_ms, b.latency_ms) if x is not None]
    widths = [x for x in (a.bandwidth_mbps, b.bandwidth_mbps) if x is not None]
    return Link(min(latencies, default=None), max(widths, default=None))


def _number(row: Mapping[str, Any], key: str, source: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= FIGURE_MAX:
        raise ConfigError(f"{source}: expected {key} to be a number of 0 to {FIGURE_MAX:g}, got {value!r:.80}")
    return float(value)
