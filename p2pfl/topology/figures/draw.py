"""A picture of a Topology. Knows matplotlib (the `plot` extra), imported only here and only when called."""

from collections import Counter
from math import cos, pi, radians, sin
from typing import Any

from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Edge, Topology

LABELS_MAX = 64
COLOURS_MAX = 6
LAYOUT_MAX = 400
"""Above so many nodes a force layout takes too long and shows nothing; they stand on a circle."""

INK, QUIET, LINE, NODE = "#1f2937", "#6b7280", "#94a3b8", "#0f4c81"
PALETTE = ("#2a78b5", "#e07b39", "#3a9d6e", "#b5486b", "#7a5ea8", "#8c7a3b")

Spot = tuple[float, float]


def draw(topology: Topology, title: str) -> Any:
    """A matplotlib Figure: at their places if all are known, else on a circle or laid out by forces.

    Edges are coloured by round, or by matching, if there are few: those of one colour go at the same time.
    Raises ConfigError if matplotlib is not installed.
    """
    figure_of = need_matplotlib()
    spots = compute_layout(topology)
    figure = figure_of(figsize=(8, 8 * _aspect(spots) + 0.9), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.margins(0.09)
    if said := _draw_edges(axes, topology, spots):
        figure.supxlabel(said, fontsize=9, color=QUIET)
    _draw_nodes(axes, topology, spots)
    figure.suptitle(title, fontsize=15, fontweight="bold", color=INK)
    axes.set_title(_summary(topology), fontsize=10, color=QUIET)
    return figure


def need_matplotlib() -> Any:
    """matplotlib's Figure. Raises ConfigError if it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("pictures need matplotlib; install the plot extra: pip install 'p2pfl-node[plot]'") from None
    return Figure


def compute_layout(topology: Topology) -> dict[str, Spot]:
    """A spot in the plane for every node. Deterministic."""
    names = topology.nodes
    if all(name in topology.places for name in names):
        return _map(topology)
    if len(names) > LAYOUT_MAX or _is_circular(topology):
        return _circle(names)
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(names)
    # Those that meet often stand near each other.
    often = count_rounds(topology)
    most = max(often.values())
    graph.add_edges_from((a, b, {"weight": most / often[a, b]}) for a, b in topology.edge_list())
    spots = nx.kamada_kawai_layout(graph, pos=_circle(names))
    return {name: (float(x), float(y)) for name, (x, y) in spots.items()}


def count_rounds(topology: Topology) -> Counter[Edge]:
    """In how many phases each edge is; once, if the graph does not change."""
    return Counter(e for phase in topology.phases or (topology.edges,) for e in phase)


def _map(topology: Topology) -> dict[str, Spot]:
    """Equirectangular: degrees of longitude shrink with the cosine of the middle latitude."""
    latitudes = [place.latitude for place in topology.places.values()]
    shrink = cos(radians((min(latitudes) + max(latitudes)) / 2))
    return {name: (topology.places[name].longitude * shrink, topology.places[name].latitude) for name in topology.nodes}


def _circle(names: tuple[str, ...]) -> dict[str, Spot]:
    """Clockwise from the top."""
    turn = 2 * pi / len(names)
    return {name: (sin(i * turn), cos(i * turn)) for i, name in enumerate(names)}


def _is_circular(topology: Topology) -> bool:
    """Whether the order of nodes is a walk around the graph, or most edges are short on that circle."""
    n = len(topology.nodes)
    number = {name: i for i, name in enumerate(topology.nodes)}
    steps = [abs(number[a] - number[b]) for a, b in topology.edges]
    around = [min(step, n - step) for step in steps]
    half_degree = max(1, len(steps) // n)
    return around.count(1) == n or 4 * sum(step <= half_degree for step in around) >= 3 * len(around)


def _aspect(spots: dict[str, Spot]) -> float:
    """Height over width, within what still looks like a page."""
    width = max(x for x, _ in spots.values()) - min(x for x, _ in spots.values())
    height = max(y for _, y in spots.values()) - min(y for _, y in spots.values())
    return max(0.4, min(1.2, height / max(width, 1e-9)))


def _draw_edges(axes: Any, topology: Topology, spots: dict[str, Spot]) -> str:
    """What the colours or widths say; nothing, if they say nothing."""
    from matplotlib.collections import LineCollection

    width = max(0.35, min(2.2, 60 / max(1, len(topology.edges)) ** 0.75))
    often = count_rounds(topology)
    most = max(often.values(), default=1)
    groups, said = _colour(topology, often)
    for edges, colour in groups:
        lines = [(spots[a], spots[b]) for a, b in edges]
        widths = [width * (0.35 + 0.65 * often[e] / most) for e in edges]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=widths, alpha=0.8, zorder=1))
    return said


def _colour(topology: Topology, often: Counter[Edge]) -> tuple[list[tuple[tuple[Edge, ...], str]], str]:
    """Edges by colour, and what it says: how often they are used, in which round, or which go together."""
    most = max(often.values(), default=1)
    counts = set(often.values())
    if len(counts) > 1:
        return [
            (tuple(e for e in often if often[e] == count), LINE if count < most else PALETTE[0]) for count in counts
        ], "thick: edges that are used most often; thin: seldom"
    busy = [tuple(sorted(phase)) for phase in topology.phases if phase]
    if most == 1 and 1 < len(busy) <= COLOURS_MAX:
        return list(zip(busy, PALETTE, strict=False)), "edges of one colour are exchanged in the same round"
    matchings = topology.colouring() if len(topology.edges) <= 2000 and not busy else ()
    if 1 < len(matchings) <= COLOURS_MAX:
        return list(zip(matchings, PALETTE, strict=False)), "edges of one colour can be exchanged at the same time"
    return [(tuple(topology.edge_list()), LINE)], ""


def _draw_nodes(axes: Any, topology: Topology, spots: dict[str, Spot]) -> None:
    n = len(topology.nodes)
    size = max(6.0, min(240.0, (3000 if topology.places else 5200) / n))
    xs, ys = zip(*(spots[name] for name in topology.nodes), strict=True)
    axes.scatter(xs, ys, s=size, color=NODE, edgecolors="white", linewidths=1.2 if n <= 128 else 0.3, zorder=2)
    if n > LABELS_MAX:
        return
    middle = (sum(xs) / n, sum(ys) / n)
    for name in topology.nodes:
        x, y = spots[name]
        # Labels point away from the middle, where fewer edges are.
        left, below = x < middle[0] - 1e-9, y < middle[1] - 1e-9
        reach = size**0.5 / 2 + 2
        axes.annotate(
            name,
            (x, y),
            xytext=(-reach if left else reach, -reach if below else reach),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top" if below else "bottom",
            fontsize=9 if n <= 32 else 7.5,
            color=INK,
            zorder=3,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )


def _summary(topology: Topology) -> str:
    rounds = topology.rounds_to_consensus()
    parts = [
        f"{len(topology.nodes)} nodes",
        f"{len(topology.edges)} edges",
        f"diameter {topology.diameter}",
        f"spectral gap {topology.spectral_gap():.3g}",
    ]
    return "   ".join([*parts, f"{rounds} round{'s' * (rounds > 1)} to consensus"] if rounds else parts)
