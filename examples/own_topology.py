"""A graph of one's own: a ring in which everybody also knows the node at the other side.

    [topology]
    file = "own_topology.py"
    params = { chord = 4 }

Any networkx graph will do: in one piece, undirected, without loops, the same whenever it is built. Look at it with
`p2pfl topology show examples/own_topology.py --n 16`.
"""

import networkx as nx


def build(n: int, chord: int | None = None) -> nx.Graph:
    """Nodes 0 to n - 1 stand for the network's nodes in their order. chord: so many steps further; half the ring."""
    return nx.circulant_graph(n, [1, chord or max(1, n // 2)])
