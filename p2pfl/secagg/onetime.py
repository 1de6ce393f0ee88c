"""Which one-time keys have been used: a key that comes again is a replay. Knows public keys by author.

A mask key that serves two rounds gives both away once it is opened in one of them. So a member that says an old key in
a new cell is named, and the cell ends before anybody has dealt a share to it.
"""

from collections import OrderedDict

from p2pfl.core.ids import NodeId
from p2pfl.secagg.blame import Blame
from p2pfl.secagg.statements import Keys

KEYS_KEPT = 4096
"""Keys remembered, over all members, the oldest forgotten first."""


class SeenKeys:
    """One for a node's whole run."""

    def __init__(self) -> None:
        self._cells: OrderedDict[bytes, bytes] = OrderedDict()

    def check(self, author: NodeId, keys: Keys, cell: bytes) -> None:
        """Note the keys as used in this cell. Raises Blame if one has been used in another."""
        for key in (keys.mask, keys.seal):
            if self._cells.setdefault(key, cell) != cell:
                raise Blame(author, "replayed-key", "a one-time key that it has used in another cell")
        while len(self._cells) > KEYS_KEPT:
            self._cells.popitem(last=False)
