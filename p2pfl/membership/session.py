"""Replay protection: each message of a session is taken once. Pure; knows numbers, asks no clock.

A session is one life of a process; its name is drawn at the start and stands in the signed record. A message names its
sender's session and its receiver's, and a number that grows: what was meant for an earlier life of either, or has been
taken before, is refused. Numbers may come in any order within a window of WINDOW_BITS (RFC 6479); nothing needs to be
kept over a restart, since a restart is another session.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import PEERS_MAX
from p2pfl.errors import Ignore
from p2pfl.membership.bounds import WINDOW_BITS


@dataclass(slots=True)
class Window:
    """Of one session: the highest number taken, and which of those below it were."""

    session: bytes
    top: int = -1
    bits: int = 0

    def take(self, seq: int) -> bool:
        """Whether this number is taken for the first time, and not too old to know."""
        if seq > self.top:
            self.bits = (self.bits << min(seq - self.top, WINDOW_BITS) | 1) & ((1 << WINDOW_BITS) - 1)
            self.top = seq
            return True
        behind = self.top - seq
        if behind >= WINDOW_BITS or self.bits >> behind & 1:
            return False
        self.bits |= 1 << behind
        return True


@dataclass(eq=False)
class Windows:
    """Of all who talk to this node: one each, for its present session."""

    _of: OrderedDict[NodeId, Window] = field(default_factory=OrderedDict)

    def take(self, author: NodeId, session: bytes, seq: int) -> None:
        """Raises Ignore for what was taken before."""
        window = self._of.get(author)
        if window is None or window.session != session:
            window = self._of[author] = Window(session)
        self._of.move_to_end(author)
        while len(self._of) > PEERS_MAX:
            self._of.popitem(last=False)
        if not window.take(seq):
            raise Ignore("replayed", "this message was taken before")
