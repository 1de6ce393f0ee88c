"""A leader that chooses among roots: with the salts of others in the seed it chooses blindly."""

from hashlib import sha256
from statistics import mean

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.draw import MILLION, draw, seed_of

MEMBERS = tuple(NodeId(sha256(bytes([number])).digest()) for number in range(24))
ME = MEMBERS[0]
STANDINGS = dict.fromkeys(MEMBERS, MILLION // 2)
WINDOWS, TRIES = 150, 16


def luck(root: bytes, salts: dict[NodeId, bytes]) -> int:
    """What this draw is worth to the leader: to evaluate, and not to be audited."""
    drawn = draw(seed_of(root, salts), STANDINGS)
    return (ME in drawn.evaluators) - (ME in drawn.audits)


def test_to_grind_the_root_gains_nothing() -> None:
    honest, blind, seeing = [], [], []
    for window in range(WINDOWS):
        roots = [sha256(bytes([window, number])).digest() for number in range(TRIES)]
        salts = {node: sha256(node + bytes([window])).digest() for node in MEMBERS}
        honest.append(luck(roots[0], salts))
        blind.append(luck(max(roots, key=lambda root: luck(root, {})), salts))
        seeing.append(max(luck(root, salts) for root in roots))
    assert mean(seeing) > mean(honest) + 0.3, "if it knew the salts it would pay"
    assert abs(mean(blind) - mean(honest)) < 0.15
