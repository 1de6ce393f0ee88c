"""Proper edge colourings: which edges may be exchanged at the same time. Knows numbered nodes only.

A colouring splits the edges into matchings, so a lockstep schedule that walks through the colours never asks a node
to speak with two neighbours at once. Fewer colours are a shorter walk; at least D, the largest degree, are needed.

Bipartite graphs (even rings, even tori, hypercubes) get D colours: König 1916, by alternating paths. All others get at
most D + 1: Misra and Gries 1992, "A constructive proof of Vizing's theorem". Differs from the paper in: a last step
tries to empty the smallest colour by alternating paths, which often brings D + 1 down to D. Complete graphs
are coloured as round-robin tournaments are drawn up: D colours for even n, D + 1 for odd n, which is the fewest.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

Pair = tuple[int, int]


def colour_edges(n: int, pairs: Sequence[Pair]) -> list[list[Pair]]:
    """The edges `pairs` (distinct, no loops, nodes 0 to n-1) as matchings, the largest first. Deterministic."""
    if len(pairs) == n * (n - 1) // 2:
        return _round_robin(n)
    degrees = [0] * n
    for u, v in pairs:
        degrees[u] += 1
        degrees[v] += 1
    painter = _Painter(n, max(degrees, default=0))
    bipartite = is_bipartite(n, pairs)
    if not bipartite:
        painter.palette += 1
    for u, v in sorted(pairs):
        if bipartite:
            painter.add_by_path(u, v)
        else:
            painter.add_by_fan(u, v)
    if not bipartite:
        _empty_smallest(painter)
    return sorted((m for m in painter.matchings() if m), key=lambda m: (-len(m), m))


def _round_robin(n: int) -> list[list[Pair]]:
    """Everybody against everybody: all but the last walk around a table, and face another one in each step."""
    around = n - 1 if n % 2 == 0 else n
    steps: list[list[Pair]] = []
    for step in range(around if n > 1 else 0):
        faced = [((step + i) % around, (step - i) % around) for i in range(1, (around + 1) // 2)]
        if n % 2 == 0:
            faced.append((step, n - 1))
        steps.append(sorted((min(pair), max(pair)) for pair in faced))
    return sorted(steps)


def is_bipartite(n: int, pairs: Sequence[Pair]) -> bool:
    """Whether two sides exist with no edge inside either."""
    beside: list[list[int]] = [[] for _ in range(n)]
    for u, v in pairs:
        beside[u].append(v)
        beside[v].append(u)
    side = [-1] * n
    for start in range(n):
        if side[start] >= 0:
            continue
        side[start] = 0
        stack = [start]
        while stack:
            u = stack.pop()
            for v in beside[u]:
                if side[v] == side[u]:
                    return False
                if side[v] < 0:
                    side[v] = 1 - side[u]
                    stack.append(v)
    return True


class _Painter:
    """A partial colouring. `at[u][c]` is the neighbour of u over colour c; each edge is in it from both ends."""

    def __init__(self, n: int, palette: int) -> None:
        self.at: list[dict[int, int]] = [{} for _ in range(n)]
        self.palette = palette

    def free(self, u: int) -> Iterator[int]:
        """The colours no edge at u has, ascending."""
        return (c for c in range(self.palette) if c not in self.at[u])

    def paint(self, u: int, v: int, colour: int) -> None:
        assert colour not in self.at[u]
        assert colour not in self.at[v]
        self.at[u][colour] = v
        self.at[v][colour] = u

    def wipe(self, u: int, v: int, colour: int) -> None:
        del self.at[u][colour], self.at[v][colour]

    def path(self, u: int, first: int, second: int) -> list[tuple[int, int, int]]:
        """The edges met from u over colours `first`, `second`, `first`, ...; `second` must be free at u."""
        edges, colour = [], first
        while colour in self.at[u]:
            v = self.at[u][colour]
            edges.append((u, v, colour))
            u, colour = v, first + second - colour
        return edges

    def flip(self, edges: list[tuple[int, int, int]], first: int, second: int) -> None:
        """Exchange the two colours along a path."""
        for u, v, colour in edges:
            self.wipe(u, v, colour)
        for u, v, colour in edges:
            self.paint(u, v, first + second - colour)

    def add_by_path(self, u: int, v: int) -> None:
        """Colour (u, v) in a bipartite graph: the alternating path from v cannot end at u, so one flip is enough."""
        a, b = next(self.free(u)), next(self.free(v))
        if a in self.at[v]:
            self.flip(self.path(v, a, b), a, b)
        self.paint(u, v, a)

    def add_by_fan(self, u: int, v: int) -> None:
        """Colour (u, v) with D + 1 colours at hand: flip a path, then shift the colours of a fan's prefix."""
        fan, colours = self._fan(u, v)
        c, d = next(self.free(u)), next(self.free(fan[-1]))
        if c != d:
            self.flip(self.path(u, d, c), d, c)
        colours = {w: colour for colour, w in self.at[u].items()}  # the flip may have changed one of the fan's
        end = 0
        while d in self.at[fan[end]]:
            # Vizing's lemma: before the prefix stops being a fan, one of its nodes has d free.
            assert colours[fan[end + 1]] not in self.at[fan[end]]
            end += 1
        for w in fan[1 : end + 1]:
            self.wipe(u, w, colours[w])
        for w, successor in pairwise(fan[: end + 1]):
            self.paint(u, w, colours[successor])
        self.paint(u, fan[end], d)

    def _fan(self, u: int, v: int) -> tuple[list[int], dict[int, int]]:
        """A maximal fan of u from v: each next edge's colour is free at the node before it."""
        fan, colours = [v], {w: colour for colour, w in sorted(self.at[u].items())}
        left = dict(colours)
        while True:
            w = next((w for w, colour in left.items() if colour not in self.at[fan[-1]]), None)
            if w is None:
                return fan, colours
            fan.append(w)
            del left[w]

    def matchings(self) -> list[list[Pair]]:
        found: list[list[Pair]] = [[] for _ in range(self.palette)]
        for u, row in enumerate(self.at):
            for colour, v in row.items():
                if u < v:
                    found[colour].append((u, v))
        return [sorted(m) for m in found]


def _empty_smallest(painter: _Painter) -> None:
    """Move the edges of the smallest colour to the others where one flip allows it, while that makes progress."""
    matchings = painter.matchings()
    spare = min(range(painter.palette), key=lambda c: (len(matchings[c]), c), default=0)
    left = matchings[spare] if matchings else []
    moved = True
    while left and moved:
        stuck = [(u, v) for u, v in left if not _move(painter, u, v, spare)]
        moved, left = len(stuck) < len(left), stuck


def _move(painter: _Painter, u: int, v: int, spare: int) -> bool:
    """Give the edge (u, v) of colour `spare` another colour. False if no single alternating path makes room."""
    painter.wipe(u, v, spare)
    for a in [c for c in painter.free(u) if c != spare]:
        if a not in painter.at[v]:
            painter.paint(u, v, a)
            return True
        for b in [c for c in painter.free(v) if c != spare]:
            edges = painter.path(v, a, b)
            if edges[-1][1] != u:
                painter.flip(edges, a, b)
                painter.paint(u, v, a)
                return True
    painter.paint(u, v, spare)
    return False
