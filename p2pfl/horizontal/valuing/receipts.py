"""What final receipts say: whose message arrived where, and who is whose neighbour. Knows entries; no model.

A receipt is the receiver's word, so nobody can leave out a neighbour of its own, or make one up.
"""

from collections.abc import Iterable, Mapping

from p2pfl.core.ids import NodeId
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.tally import receipts_of

KEPT = 1 << 16

Digests = Mapping[tuple[bytes, bytes, int, int], bytes]
"""Of an accepted body, by (receiver, sender, epoch, seq)."""


class Receipts:
    """The newest `KEPT`."""

    def __init__(self) -> None:
        self._digests: dict[tuple[bytes, bytes, int, int], bytes] = {}
        self._met: dict[tuple[bytes, bytes], int] = {}  # the window in which a receipt was last final

    def take(self, entries: Iterable[Entry], window: int) -> None:
        """Entries that are final at a height of this window."""
        for entry in entries:
            if entry.kind == "receipts":
                for row in receipts_of(entry):
                    self._digests[entry.author, row.sender, row.epoch, row.seq] = row.digest
                    self._met.pop((entry.author, row.sender), None)
                    self._met[entry.author, row.sender] = window
        while len(self._digests) > KEPT:
            del self._digests[next(iter(self._digests))]
        while len(self._met) > KEPT:
            del self._met[next(iter(self._met))]

    def digests(self) -> Digests:
        return dict(self._digests)

    def neighbours(self, node: NodeId, since: int) -> frozenset[NodeId]:
        """Who has had a message of it, in this window of the ledger or a later one."""
        return frozenset(NodeId(to) for (to, of), window in self._met.items() if of == node and window >= since)
