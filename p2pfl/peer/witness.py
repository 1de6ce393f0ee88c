"""Checkpoints of one node: cosigns what became final here, and gathers what others cosigned. Pure; knows no vote.

A validator cosigns a size once, when it is final here, so never two roots of one size. A checkpoint travels until it
has as many signatures as a proof needs; after that it is news to nobody. So that not all speak where a few are enough,
it is at each height another few validators' turn, one more than needed; the others speak if that was not enough
(`unfinished`, and when the next height is final).
"""

from collections import OrderedDict
from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Buffer, Put
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.checkpoint import Checkpoint, Signed, cosign, cosignatures_needed, parse_checkpoint
from p2pfl.ledger.finality.tip import put_checkpoint
from p2pfl.wire.envelope import Signs

POINTS_KEPT = 64
"""Heights whose checkpoints still gather signatures."""
AHEAD_MAX = 64
"""Checkpoints of sizes that are not final here yet."""


@dataclass(eq=False)
class Point:
    """The checkpoint after one height, and whose signatures count."""

    height: int
    voters: frozenset[NodeId]
    signed: Signed
    signers: frozenset[NodeId]

    @property
    def enough(self) -> bool:
        return len(self.signers) >= cosignatures_needed(len(self.voters))


class Witness:
    def __init__(self, signer: Signs, net: bytes) -> None:
        self.signer, self.net = signer, net
        self.last: Point | None = None
        self._points: OrderedDict[int, Point] = OrderedDict()
        self._ahead: OrderedDict[int, Signed] = OrderedDict()

    def final(
        self, height: int, checkpoint: Checkpoint, voters: frozenset[NodeId], time_ms: int
    ) -> tuple[Put, bytes | None]:
        """This height is final. What to write, and what to say to all neighbours."""
        mine = (cosign(self.signer, checkpoint, time_ms),) if self.signer.node in voters else ()
        signers = frozenset(c.validator for c in mine)
        point = self.last = self._points[checkpoint.size] = Point(height, voters, Signed(checkpoint, mine), signers)
        while len(self._points) > POINTS_KEPT:
            self._points.popitem(last=False)
        early = self._ahead.pop(checkpoint.size, None)
        if early is not None and early.checkpoint == checkpoint:
            self._merge(point, early)
        mute = point.enough if early is not None else not self._my_turn(point)
        return put_checkpoint(height, point.signed), None if mute else point.signed.note

    def unfinished(self) -> bytes | None:
        """The last checkpoint, if it needs more signatures than are here and has some."""
        point = self.last
        return None if point is None or point.enough or not point.signers else point.signed.note

    def _my_turn(self, point: Point) -> bool:
        """The validators in order take turns; also those of them who hold more signatures than their own."""
        me, voters = self.signer.node, sorted(point.voters)
        if me not in point.signers:
            return False
        turn = (voters.index(me) - point.height) % len(voters)
        return turn <= cosignatures_needed(len(voters))

    def told(self, note: Buffer) -> tuple[Put | None, bytes | None]:
        """A neighbour's checkpoint: what to write, and what to say to the others. Raises Reject."""
        signed = parse_checkpoint(note)
        checkpoint = signed.checkpoint
        if checkpoint.net != self.net:
            raise Reject("network", "a checkpoint of another network")
        point = self._points.get(checkpoint.size)
        if point is None:
            if self.last is None or checkpoint.size > self.last.signed.checkpoint.size:
                self._ahead[checkpoint.size] = signed
                if len(self._ahead) > AHEAD_MAX:
                    self._ahead.popitem(last=False)
            return None, None
        if point.signed.checkpoint != checkpoint:
            raise Reject("checkpoint", f"another root for the size {checkpoint.size} than the one that is final here")
        before = point.enough
        if before or not self._merge(point, signed):
            return None, None
        return put_checkpoint(point.height, point.signed), point.signed.note

    def _merge(self, point: Point, other: Signed) -> bool:
        """Whether validators' good signatures came in that were not there."""
        new = [c for c in other.cosignatures if c.validator in point.voters and c.validator not in point.signers]
        good = tuple(c for c in new if c.is_good(point.signed.checkpoint))
        point.signed = point.signed.merged(Signed(point.signed.checkpoint, good))
        point.signers |= {c.validator for c in good}
        return bool(good)


def text_of(note: bytes) -> bytes:
    """What the signatures of a note are under."""
    return note.partition(b"\n\n")[0]
