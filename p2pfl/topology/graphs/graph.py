"""The graph of a network: who exchanges with whom, and when. Knows names of nodes; no keys, addresses or files.

Edges have no direction, because an exchange is a request and its reply: it happened at both ends or at neither.
A graph that changes with time has phases; round t uses phase t modulo their number, and `edges` holds all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from p2pfl.topology.graphs.colouring import colour_edges
from p2pfl.topology.graphs.digest import compute_digest
from p2pfl.topology.graphs.schedule import compute_schedule, count_news
from p2pfl.topology.graphs.spectrum import WeightRule, compute_contraction, compute_rounds, edge_weights, weight_matrix

Edge = tuple[str, str]
"""Two names in ascending order."""


def edge(a: str, b: str) -> Edge:
    """The edge between two nodes, whichever is named first."""
    return (a, b) if a <= b else (b, a)


@dataclass(frozen=True, slots=True)
class Link:
    """What is known of the line under an edge."""

    latency_ms: float | None = None
    bandwidth_mbps: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands, in degrees."""

    longitude: float
    latitude: float


@dataclass(frozen=True)
class Topology:
    """A simple undirected graph over named nodes. Raises ValueError for loops, unknown ends and unsorted edges.

    Being connected is not demanded here: a phase of a changing graph is not, nor is a network with a hole in it.
    `shares` are the weights that edges are given: one mapping per phase (one, if there are no phases), each over
    exactly the edges of its phase; without any, weights follow from the degrees. They are exact, because every machine
    computes them for itself. `links` and `places` describe the world and are no part of the graph's identity.
    """

    nodes: tuple[str, ...]
    edges: frozenset[Edge]
    phases: tuple[frozenset[Edge], ...] = ()
    links: Mapping[Edge, Link] = field(default_factory=dict, compare=False, repr=False)
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)
    shares: tuple[Mapping[Edge, Fraction], ...] = ()

    def __post_init__(self) -> None:
        known = set(self.nodes)
        if not known or len(known) != len(self.nodes):
            raise ValueError("expected one or more distinct nodes")
        for a, b in self.edges:
            if a >= b or a not in known or b not in known:
                raise ValueError(f"expected edges as ascending pairs of nodes, got {(a, b)!r}")
        if self.phases and frozenset().union(*self.phases) != self.edges:
            raise ValueError("expected edges to be the union of the phases")
        if self.shares:
            _check_shares(self.phases or (self.edges,), self.shares)

    # ------------------------------------------------------------------------------------------------ reading

    def neighbours(self, name: str) -> tuple[str, ...]:
        """In ascending order. Raises KeyError for an unknown node."""
        return self._beside[name]

    def degree(self, name: str) -> int:
        return len(self._beside[name])

    def at(self, round: int) -> "Topology":
        """The graph of one round; the graph itself unless it changes with time."""
        return self._frames[round % len(self._frames)] if self.phases else self

    def edge_list(self) -> list[Edge]:
        """All edges, ascending: the canonical order."""
        return sorted(self.edges)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes, equal if and only if nodes (in order), edges, phases and shares are. Format: docs/topology.md."""
        return compute_digest(self.nodes, self.edges, self.phases, self.shares)

    def renamed(self, names: Sequence[str]) -> "Topology":
        """The same graph over as many other names, in order. Raises ValueError if there are not as many."""
        new = dict(zip(self.nodes, names, strict=True))

        def move(edges: Iterable[Edge]) -> frozenset[Edge]:
            return frozenset(edge(new[a], new[b]) for a, b in edges)

        return Topology(
            tuple(names),
            move(self.edges),
            tuple(move(phase) for phase in self.phases),
            {edge(new[a], new[b]): link for (a, b), link in self.links.items()},
            {new[name]: place for name, place in self.places.items()},
            tuple({edge(new[a], new[b]): w for (a, b), w in share.items()} for share in self.shares),
        )

    # ------------------------------------------------------------------------------------------------ measures

    def components(self) -> list[tuple[str, ...]]:
        """The connected pieces, the largest first, each in the order of `nodes`."""
        piece_of: dict[str, int] = {}
        for start in self.nodes:
            stack = [start] if start not in piece_of else []
            while stack:
                name = stack.pop()
                if name not in piece_of:
                    piece_of[name] = self._number[start]
                    stack.extend(self._beside[name])
        pieces: dict[int, list[str]] = {}
        for name in self.nodes:
            pieces.setdefault(piece_of[name], []).append(name)
        return sorted((tuple(piece) for piece in pieces.values()), key=lambda piece: -len(piece))

    def is_connected(self) -> bool:
        return len(self.components()) == 1

    @cached_property
    def diameter(self) -> int:
        """The most steps between two nodes. Raises ValueError if the graph is not connected."""
        beside = [[self._number[other] for other in self._beside[name]] for name in self.nodes]
        # balls[v] is the set of nodes within `steps` of v, as bits of one integer: all searches advance together.
        balls, steps = [1 << v for v in range(len(beside))], 0
        full = (1 << len(beside)) - 1
        while any(ball != full for ball in balls):
            grown = list(balls)
            for v, others in enumerate(beside):
                for other in others:
                    grown[v] |= balls[other]
            if grown == balls:
                raise ValueError("a graph in pieces has no diameter")
            balls, steps = grown, steps + 1
        return steps

    def weights(self, rule: WeightRule = "metropolis-hastings") -> Mapping[str, Mapping[str, float]]:
        """w[i][j] for every node i and its neighbours j, and the rest w[i][i]. Symmetric; every row sums to 1.

        The given shares, if there are any and the graph does not change; for a phase's weights ask `at(round)`.
        """
        rows: dict[str, dict[str, float]] = {name: {} for name in self.nodes}
        for (a, b), w in zip(self.edge_list(), self._edge_weights(rule), strict=True):
            rows[a][b] = rows[b][a] = w
        for name, row in rows.items():
            row[name] = 1.0 - sum(row.values())
        return rows

    def matrix(self, rule: WeightRule = "metropolis-hastings") -> Any:
        """`weights` as a scipy sparse array (n, n) of float64, rows in the order of `nodes`."""
        return weight_matrix(len(self.nodes), self._pairs(self.edge_list()), self._edge_weights(rule))

    @cached_property
    def contraction(self) -> float:
        """The largest factor that one pass through the phases (one round, if there are none) leaves of disagreement."""
        frames = self._frames if self.phases else (self,)
        return compute_contraction([frame.matrix() for frame in frames])

    def spectral_gap(self) -> float:
        """1 - rho, rho the second largest |eigenvalue| of the Metropolis-Hastings weights.

        For a graph with T phases rho is the mean factor per round: the T-th root of `contraction`.
        """
        return 1.0 - float(self.contraction ** (1 / max(1, len(self.phases))))

    def rounds_to_consensus(self, wanted: float = 1e-3) -> int | None:
        """Rounds of plain averaging after which disagreement is surely at most `wanted` of the first; None if never."""
        return compute_rounds(self.contraction, max(1, len(self.phases)), wanted)

    def colouring(self) -> tuple[tuple[Edge, ...], ...]:
        """The edges as matchings: D of them if the graph is bipartite, else at most D + 1 (D the largest degree)."""
        return self._colours

    def schedule(self) -> tuple[tuple[Edge, ...], ...]:
        """Matchings, walked through again and again by rules that exchange in pairs; the colouring if nothing changes.

        A phase that is a matching is one round of it, any other as many as it has colours (schedule.py).
        """
        return self._schedule

    def news_rounds(self, pairs: bool) -> int:
        """Rounds within which what any node knows is known to all; an upper bound. Raises ValueError if never.

        pairs: everybody exchanges with one neighbour a round, by the schedule, instead of with all of the round's.
        """
        rounds = self.schedule() if pairs else [self.at(t).edge_list() for t in range(max(1, len(self.phases)))]
        return count_news(len(self.nodes), [self._pairs(edges) for edges in rounds])

    # ------------------------------------------------------------------------------------------------ kept

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.nodes)}

    @cached_property
    def _beside(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            found[a].append(b)
            found[b].append(a)
        return {name: tuple(sorted(others)) for name, others in found.items()}

    @cached_property
    def _frames(self) -> tuple["Topology", ...]:
        return tuple(
            Topology(self.nodes, phase, (), self.links, self.places, self.shares[t : t + 1])
            for t, phase in enumerate(self.phases)
        )

    @cached_property
    def _colours(self) -> tuple[tuple[Edge, ...], ...]:
        return self._named(colour_edges(len(self.nodes), self._pairs(self.edge_list())))

    @cached_property
    def _schedule(self) -> tuple[tuple[Edge, ...], ...]:
        if not self.phases:
            return self._colours
        return self._named(compute_schedule(len(self.nodes), [self._pairs(phase) for phase in self.phases]))

    def _named(self, matchings: Iterable[Iterable[tuple[int, int]]]) -> tuple[tuple[Edge, ...], ...]:
        return tuple(tuple(sorted(edge(self.nodes[u], self.nodes[v]) for u, v in m)) for m in matchings)

    def _edge_weights(self, rule: WeightRule) -> list[float]:
        """One per edge, in their order."""
        edges = self.edge_list()
        if self.shares and not self.phases:
            return [float(self.shares[0][e]) for e in edges]
        return edge_weights(len(self.nodes), self._pairs(edges), rule)

    def _pairs(self, edges: Iterable[Edge]) -> list[tuple[int, int]]:
        """Edges by position, each with the smaller one first."""
        number = self._number
        return [(min(number[a], number[b]), max(number[a], number[b])) for a, b in edges]


def _check_shares(phases: Sequence[frozenset[Edge]], shares: Sequence[Mapping[Edge, Fraction]]) -> None:
    if len(shares) != len(phases):
        raise ValueError(f"expected shares for each of {len(phases)} phases, got {len(shares)}")
    for phase, share in zip(phases, shares, strict=True):
        if share.keys() != phase:
            raise ValueError("expected a share for every edge of a phase, and for no other")
        given: dict[str, Fraction] = {}
        for (a, b), w in share.items():
            if w <= 0:
                raise ValueError(f"expected shares above 0, got {w} for {a} - {b}")
            given[a], given[b] = given.get(a, Fraction(0)) + w, given.get(b, Fraction(0)) + w
        for name, total in given.items():
            if total > 1:
                raise ValueError(f"expected the shares of a node to sum to at most 1, got {total} for {name}")
