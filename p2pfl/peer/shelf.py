"""What a node has said and heard of the ledger, in memory, for neighbours that are far behind. Knows bytes; no disk.

A Party reads no store while it runs. So what the store held at the start and what was written since is kept here, the
newest `SHELF_BYTES_MAX` of it. A neighbour that lacks more than that catches up from another one, or from a copy of a
store.
"""

from collections import OrderedDict
from collections.abc import Iterable

from p2pfl.core.limits import MIB
from p2pfl.core.party import Put, Restored
from p2pfl.ledger.blocks.block import Head
from p2pfl.ledger.blocks.log import index_key
from p2pfl.ledger.feeds.bounds import ENTRIES_SENT_BYTES_MAX, ENTRIES_SENT_MAX, FINALS_MAX
from p2pfl.ledger.feeds.records import ENTRY, entry_key
from p2pfl.ledger.finality.archive import Archive
from p2pfl.ledger.finality.journal import FINAL, parse_decided
from p2pfl.ledger.finality.talk import Entries, Talk

SHELF_BYTES_MAX = 64 * MIB


class Shelf:
    """Final blocks and entries by the keys of their spaces."""

    def __init__(self, bytes_max: int = SHELF_BYTES_MAX) -> None:
        self._kept: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._bytes, self._bytes_max = 0, bytes_max

    def restore(self, restored: Restored) -> None:
        for space in (ENTRY, FINAL):
            self.take(Put(space, key, value) for key, value in restored.get(space, {}).items())

    def take(self, puts: Iterable[Put]) -> None:
        """What is being written."""
        for put in puts:
            place = (put.space, put.key)
            if put.space not in (ENTRY, FINAL) or put.value is None or place in self._kept:
                continue
            self._kept[place] = put.value
            self._bytes += len(put.value)
            while self._bytes > self._bytes_max:
                self._bytes -= len(self._kept.popitem(last=False)[1])

    def finals(self, height: int) -> list[Talk]:
        """Final blocks from `height` on, as many as one message takes; nothing if they are not here any more."""
        rows = []
        for number in range(height, height + FINALS_MAX):
            raw = self._kept.get((FINAL, index_key(number)))
            if raw is None:
                break
            rows.append(parse_decided(raw))
        return Archive(rows).after(height - 1) if rows else []

    def entries(self, head: Head, after: int) -> list[Talk]:
        """Entries of the main branch with after < seq <= the head's, the first ones if there are too many."""
        found: list[bytes] = []
        room = ENTRIES_SENT_BYTES_MAX
        for seq in range(after + 1, min(head.seq, after + ENTRIES_SENT_MAX) + 1):
            raw = self._kept.get((ENTRY, entry_key(head.author, head.incarnation, seq)))
            if raw is None or len(raw) > room:
                break
            found.append(raw)
            room -= len(raw)
        return [Entries(tuple(found))] if found else []
