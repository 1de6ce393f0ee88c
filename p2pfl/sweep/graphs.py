"""A graph as SVG text. Knows Topology and its layout; the page's style gives the colours."""

from html import escape

from p2pfl.topology import Topology
from p2pfl.topology.figures.draw import compute_layout

SIDE, MARGIN = 300, 18
EDGES_MAX = 6000
"""Above, a sample of the edges is drawn: more are one grey disc."""


def graph_picture(title: str, topology: Topology) -> str:
    """An <svg> of nodes and edges, each node with its name on a pointer."""
    spots = compute_layout(topology)
    xs, ys = [x for x, _ in spots.values()], [y for _, y in spots.values()]
    reach = max(max(xs) - min(xs), max(ys) - min(ys), 1e-9)
    scale = (SIDE - 2 * MARGIN) / reach
    left, top = (min(xs) + max(xs) - reach) / 2, (min(ys) + max(ys) + reach) / 2
    at = {name: (MARGIN + (x - left) * scale, MARGIN + (top - y) * scale) for name, (x, y) in spots.items()}
    edges = topology.edge_list()
    drawn = edges[:: -(-len(edges) // EDGES_MAX)]
    path = "".join(f"M{at[a][0]:.1f} {at[a][1]:.1f}L{at[b][0]:.1f} {at[b][1]:.1f}" for a, b in drawn)
    width = max(0.2, min(1.4, 40 / max(1, len(edges)) ** 0.75))
    radius = max(1.1, min(5.0, 90 / len(at)))
    dots = "".join(
        f'<circle class="node" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(name)}</title></circle>'
        for name, (x, y) in at.items()
    )
    label = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {SIDE} {SIDE}" class="graph" role="img" aria-label="{label}">'
        f'<path class="edge" stroke-width="{width:.2f}" d="{path}"/>{dots}</svg>'
    )


def graph_words(topology: Topology) -> str:
    """Its size and speed in one line."""
    gap = topology.spectral_gap()
    parts = [f"{len(topology.nodes)} nodes", f"{len(topology.edges)} edges", f"diameter {topology.diameter}"]
    return ", ".join([*parts, f"spectral gap {gap:.3g}"])
