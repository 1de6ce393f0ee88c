"""The vectors that are averaged, and how far they are from what they should be. Knows numbers; needs torch only.

Every node begins with the same random vector; before each round node i of N adds i - (N - 1) / 2 to all of its values,
which leaves the mean alone. So after any round a node's vector is the random one plus one number (`expected`), which is
0 for an exact average; and a round in which nothing was averaged is seen at once.
"""

import torch
from torch import Tensor


def start(size: int) -> Tensor:
    """(size,) float32, the same everywhere."""
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


def drift(node: int, nodes: int) -> float:
    return node - (nodes - 1) / 2


def expected(nodes: int, rounds: int, reach: int) -> list[float]:
    """By what number each node's vector is off after so many rounds of the mean over a node and its neighbours, which
    are those within `reach` on a ring; half of the nodes or more is the complete graph."""
    off = [0.0] * nodes
    around = range(-reach, reach + 1) if 2 * reach < nodes else range(nodes)
    for _ in range(rounds):
        moved = [value + drift(node, nodes) for node, value in enumerate(off)]
        off = [sum(moved[(node + step) % nodes] for step in around) / len(around) for node in range(nodes)]
    return off


def away(x: Tensor, begun: Tensor) -> dict[str, float]:
    """By what number x is off, and by how much single values are off that: rounding, if all is well."""
    off = x - begun
    mean = float(off.mean(dtype=torch.float64))
    return {"off": mean, "uneven": float((off - mean).abs().max())}
