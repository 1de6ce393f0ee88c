"""The `[[phase]]` tables of a declared graph that changes with time. Pure; reads no file.

    [[phase]]
    edges = [["a", "b"], ["c", "d"]]
    weights = ["1/2", "1/3"]         # optional, one per edge, exact; in all phases or in none

A phase without edges is a round in which nobody exchanges.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Link
from p2pfl.topology.graphs.params import suggest

PHASES_MAX = 4096
"""Rounds after which a changing graph begins again."""

PHASE_EDGES_MAX = 1 << 20
"""Edges of all phases together."""

WEIGHT_CHARS_MAX = 64

Weighed = tuple[tuple[str, str, Fraction | None], ...]
Linked = tuple[str, str, Link | None]


def draw_phases(tables: Sequence[Any], source: str) -> tuple[Weighed, ...]:
    """Each phase's edges with their weights. Raises ConfigError."""
    phases = tuple(_phase(table, f"{source}: phase {t}") for t, table in enumerate(tables))
    check_length(source, len(phases), sum(len(phase) for phase in phases))
    weighed = {weight is not None for phase in phases for _, _, weight in phase}
    if len(weighed) > 1:
        raise ConfigError(f"{source}: expected weights in all phases or in none, got them in some")
    return phases


def merge_phases(phases: Sequence[Weighed], described: Sequence[Linked], source: str) -> list[Linked]:
    """All edges, once each, with the links that `described` knows of. Raises ConfigError."""
    links = {frozenset((a, b)): link for a, b, link in described}
    if len(links) < len(described) or any(link is None for link in links.values()):
        raise ConfigError(
            f"{source}: with [[phase]] tables, expected edges to be listed there and [[edge]] to say links"
        )
    union = {frozenset((a, b)): (a, b) for phase in phases for a, b, _ in phase}
    for a, b, _ in described:
        if frozenset((a, b)) not in union:
            raise ConfigError(f"{source}: edge {a} - {b} is in no phase")
    return [(a, b, links.get(ends)) for ends, (a, b) in union.items()]


def check_length(source: str, phases: int, edges: int) -> None:
    """Raises ConfigError for a changing graph that is too long."""
    if phases > PHASES_MAX or edges > PHASE_EDGES_MAX:
        raise ConfigError(
            f"{source}: expected at most {PHASES_MAX} phases with {PHASE_EDGES_MAX} edges together, "
            f"got {phases} with {edges}"
        )


def _phase(table: Any, where: str) -> Weighed:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table with edges, got {table!r:.80}")
    for key in table:
        if key not in ("edges", "weights"):
            raise ConfigError(f"{where}: unknown key {key!r}{suggest(key, ('edges', 'weights'))}")
    edges, weights = table.get("edges"), table.get("weights")
    if not isinstance(edges, list):
        raise ConfigError(f'{where}: expected edges = [["a", "b"], ...], got {edges!r:.80}')
    if weights is not None and (not isinstance(weights, list) or len(weights) != len(edges)):
        raise ConfigError(f"{where}: expected {len(edges)} weights, one for each edge, got {weights!r:.80}")
    seen: set[frozenset[str]] = set()
    found = []
    for i, pair in enumerate(edges):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(end, str) for end in pair):
            raise ConfigError(f"{where}: expected each of edges to be a pair of names, got {pair!r:.80}")
        if frozenset(pair) in seen:
            raise ConfigError(f"{where}: edge {pair[0]} - {pair[1]} is listed twice")
        seen.add(frozenset(pair))
        found.append((pair[0], pair[1], None if weights is None else _weight(weights[i], where)))
    return tuple(found)


def _weight(text: Any, where: str) -> Fraction:
    """An exact weight: every machine must read the same number, so it is text, not a float."""
    try:
        weight = Fraction(text) if isinstance(text, str) and len(text) <= WEIGHT_CHARS_MAX else None
    except (ValueError, ZeroDivisionError):
        weight = None
    if weight is None or not 0 < weight <= 1:
        raise ConfigError(f'{where}: expected a weight like "1/3", above 0 and at most 1, got {text!r:.80}')
    return weight
