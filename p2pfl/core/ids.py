"""Names of nodes and rounds. Knows nothing else."""

from typing import NewType

NodeId = NewType("NodeId", bytes)
"""An Ed25519 verify key, 32 bytes: a node's only identity."""

Round = NewType("Round", int)
"""Counts local phases of a node from 0."""


def short(node: bytes) -> str:
    """The first four bytes in hex, for messages to people."""
    return node[:4].hex()
