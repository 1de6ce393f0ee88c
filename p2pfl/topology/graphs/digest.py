"""The digest of a graph: what nodes with different graphs notice at the door. Format: docs/topology.md."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import msgpack
from blake3 import blake3

Edge = tuple[str, str]


def compute_digest(
    nodes: Sequence[str],
    edges: Iterable[Edge],
    phases: Sequence[Iterable[Edge]],
    shares: Sequence[Mapping[Edge, Fraction]],
) -> bytes:
    """32 bytes: version 1 for graphs whose weights follow from their degrees, version 2 for those with given weights.

    Weights are hashed as two whole numbers, never as a float.
    """
    value: list[object] = [list(nodes), _listed(edges), [_listed(phase) for phase in phases]]
    if not shares:
        return blake3(b"p2pfl/topology/v1\0" + msgpack.packb(value)).digest()
    value.append([[[w.numerator, w.denominator] for _, w in sorted(share.items())] for share in shares])
    return blake3(b"p2pfl/topology/v2\0" + msgpack.packb(value)).digest()


def _listed(edges: Iterable[Edge]) -> list[list[str]]:
    return [list(e) for e in sorted(edges)]
