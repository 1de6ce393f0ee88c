"""One feed, walked from its first stored row to its last by somebody who believes nothing. Knows rows; reads no file.

After an entry that is not to be believed the next one is checked by itself and not blamed for its predecessor, so one
damaged byte is one report. The network, predecessor and totals are taken up again from the next sound entry.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from p2pfl.core.ids import short
from p2pfl.ledger.feeds.entry import NO_ENTRY, Entry
from p2pfl.ledger.feeds.kinds import ACCEPTED
from p2pfl.ledger.feeds.tally import receipts_of


@dataclass(slots=True)
class Walk:
    """The feed (author, incarnation) so far. `head` is None after an entry that is not to be believed."""

    author: bytes
    incarnation: int
    net: bytes | None = None
    head: bytes | None = NO_ENTRY
    next_seq: int = 0
    num_entries: int = 0
    last_id: bytes = NO_ENTRY
    whole: bool = True
    """No entry was missing or damaged so far: a sender that never appeared has totals of zero. Not so in a later
    incarnation, which goes on with the totals of a backup."""
    totals: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.whole = self.incarnation == 0

    def step(self, seq: int, entry: Entry | None) -> Iterator[str]:
        """Go to the row at `seq`, whose entry is None if it is not sound. Yields what is wrong with its place."""
        expected, self.next_seq = self.next_seq, seq + 1
        self.num_entries += 1
        if seq < expected:
            yield f"a second entry at one position: expected seq {expected}"
        elif seq > expected:
            missing = f"seq {expected}" if seq == expected + 1 else f"seq {expected} to {seq - 1}"
            yield f"the feed has a gap before it: {missing} missing"
        if seq != expected or entry is None:
            self._lose()
        if entry is not None:
            yield from self._follow(entry)

    def _lose(self) -> None:
        self.head, self.whole = None, False
        self.totals.clear()

    def _follow(self, entry: Entry) -> Iterator[str]:
        """What a sound entry says about the ones before it."""
        if self.head is not None and entry.prev != self.head:
            yield f"predecessor: expected {short(self.head)}, the entry says {short(entry.prev)}"
        if self.net is not None and entry.net != self.net:
            yield f"network: expected {short(self.net)}, the entry says {short(entry.net)}"
        self.head = self.last_id = entry.id
        self.net = entry.net
        yield from self._add_up(entry)

    def _add_up(self, entry: Entry) -> Iterator[str]:
        """Totals grow by each accepted message and by nothing else."""
        for index, row in enumerate(receipts_of(entry)):
            before = self.totals.get(row.sender, (0, 0) if self.whole else None)
            claimed = (row.num_accepted, row.total_bytes)
            self.totals[row.sender] = claimed
            if before is None:
                continue
            accepted = row.verdict == ACCEPTED
            expected = (before[0] + accepted, before[1] + accepted * row.size_bytes)
            if claimed != expected:
                yield f"receipt {index}: expected totals {expected}, the entry says {claimed}"
