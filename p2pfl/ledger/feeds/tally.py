"""Running totals of receipts: how many messages, and bytes, the author accepted from each sender. Pure.

Receipts are cumulative because that makes any one of them enough: a reader who holds the last knows the sum, and a
total that ever shrinks or jumps convicts the book-keeping.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import ACCEPTED, Receipt


class Total(NamedTuple):
    num_accepted: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """The totals after some receipts, by sender."""

    totals: Mapping[bytes, Total] = field(default_factory=dict)

    def add(
        self, sender: bytes, epoch: int, seq: int, digest: bytes, size_bytes: int, verdict: int
    ) -> tuple["Tally", Receipt]:
        """The receipt for one message, and the totals after it. Only accepted messages count."""
        total = self.totals.get(sender, Total())
        if verdict == ACCEPTED:
            total = Total(total.num_accepted + 1, total.total_bytes + size_bytes)
        receipt = Receipt(sender, epoch, seq, digest, size_bytes, verdict, *total)
        return Tally({**self.totals, sender: total}), receipt


def receipts_of(entry: Entry) -> tuple[Receipt, ...]:
    """The rows of a "receipts" entry; none for other kinds."""
    if entry.kind != "receipts":
        return ()
    return tuple(Receipt(*row) for row in entry.payload)  # type: ignore[misc]  # shape checked by parse


def tally_from(entries: Iterable[Entry]) -> Tally:
    """The totals that a feed's entries end with: where a restarted node goes on counting."""
    totals: dict[bytes, Total] = {}
    for entry in entries:
        for row in receipts_of(entry):
            totals[row.sender] = Total(row.num_accepted, row.total_bytes)
    return Tally(totals)
