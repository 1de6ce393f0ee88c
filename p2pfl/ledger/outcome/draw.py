"""Who values whom in one accounting window: a pure function of what is final. Knows states; no tensor, no clock.

The seed of a window is SHA-256 of the root that the window ended with and of the salts that were committed to before
that root was known and shown after. The leader who makes the last block knows no honest member's salt, so it cannot try
blocks until the draw suits it; whoever shows a salt late knows the root but has no choice of salt. What is left is to
withhold one's own: one bit, and it costs the part in that window.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.ledger.feeds.kinds import SUBJECTS_MAX
from p2pfl.ledger.outcome.members import Look, is_worker
from p2pfl.wire import canonical

DOMAIN = b"p2pfl/draw/v1\0"
EVALUATORS_MAX = 15
"""Evaluators of one window; each scores all subjects but itself."""
SUBJECTS_PER_AUDIT = 32
"""Of so many subjects one, on average, must show its whole model, and what it was compared with."""
AUDITORS = 2
"""Evaluators to whom it shows them."""
LISTENERS = 3
"""Evaluators to whom a subject's neighbours say what they did to its model."""
MILLION = 1_000_000
STANDING_START = MILLION // 4
"""Of a member who has not evaluated yet: its chance to be drawn is a quarter of that of the best."""
STANDING_MIN = MILLION // 100


class Draw(NamedTuple):
    """Of one window. `audits`: whom an audited subject shows its model to. `listeners`: of each subject."""

    evaluators: tuple[NodeId, ...]
    subjects: tuple[NodeId, ...]
    audits: Mapping[NodeId, tuple[NodeId, ...]]
    listeners: Mapping[NodeId, tuple[NodeId, ...]]


def salt_digest(salt: bytes) -> bytes:
    """What "update.commit" says of a salt before it is shown."""
    return sha256(b"p2pfl/salt/v1\0" + salt).digest()


def seed_of(root: bytes, salts: Mapping[NodeId, bytes]) -> bytes:
    """32 bytes that nobody chose alone."""
    rows = [[node, salts[node]] for node in sorted(salts)]
    return sha256(DOMAIN + canonical.packb([root, rows])).digest()


def draw_of(look: Look, window: int) -> Draw | None:
    """The draw of a window whose salts are in, as the state has it; None before that, or if nobody takes part."""
    value = look.get("draw", window)
    if value is None or len(value) != 2:
        return None
    seed = value[1]
    assert isinstance(seed, bytes)
    present = sorted(NodeId(author) for (of, author), _ in look.items("salt") if of == window)
    members = [node for node in present if is_worker(look, node)]
    return draw(seed, {node: standing_of(look, node)[0] for node in members})


def draw(seed: bytes, standings: Mapping[NodeId, int]) -> Draw:
    """Evaluators by standing, subjects evenly, among the members who showed their salts.

    A member may be both: it never scores itself.
    """
    members = sorted(standings)
    evaluators = _weighted(seed, standings, EVALUATORS_MAX)
    subjects = sorted(_ranked(seed, b"subject", members)[:SUBJECTS_MAX])
    others = {subject: [node for node in evaluators if node != subject] for subject in subjects}
    audits = {
        subject: tuple(_ranked(seed, b"auditor" + subject, others[subject])[:AUDITORS])
        for subject in subjects
        if _lot(seed, b"audit", subject) % SUBJECTS_PER_AUDIT == 0
    }
    listeners = {
        subject: tuple(_ranked(seed, b"listener" + subject, others[subject])[:LISTENERS]) for subject in subjects
    }
    return Draw(tuple(sorted(evaluators)), tuple(subjects), audits, listeners)


def standing_of(look: Look, node: bytes) -> tuple[int, int]:
    """An evaluator's weight in draws, in millionths, and how often in a row it was far off."""
    value = look.get("standing", node)
    if value is None:
        return STANDING_START, 0
    standing, off = value
    assert isinstance(standing, int)
    assert isinstance(off, int)
    return standing, off


def _lot(seed: bytes, label: bytes, node: NodeId) -> int:
    return int.from_bytes(sha256(DOMAIN + seed + label + node).digest(), "big")


def _ranked(seed: bytes, label: bytes, nodes: Sequence[NodeId]) -> list[NodeId]:
    return sorted(nodes, key=lambda node: _lot(seed, label, node))


def _weighted(seed: bytes, standings: Mapping[NodeId, int], count: int) -> list[NodeId]:
    """`count` different nodes, each drawn with a chance in proportion to its standing among those left."""
    left, chosen = sorted(standings), list[NodeId]()
    while left and len(chosen) < count:
        total = sum(standings[node] for node in left)
        lot = int.from_bytes(sha256(DOMAIN + seed + b"evaluator" + bytes([len(chosen)])).digest(), "big") % total
        for node in left:
            lot -= standings[node]
            if lot < 0:
                break
        chosen.append(node)
        left.remove(node)
    return chosen
