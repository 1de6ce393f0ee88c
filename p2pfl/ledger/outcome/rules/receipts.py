"""The first rule: a message counts if its receiver says so. Knows pairs; knows nothing of what a message was worth.

shares of a sender = sum over its receivers of min(`cap`, messages to that receiver), or 0 if fewer than `receivers`
different members confirm any. The window's supply is split in proportion to the shares, by largest remainder.

What it stops: two keys of one person that confirm each other for ever earn at most `cap` messages each, and nothing at
all alone. What it does not stop: `receivers` + 1 colluding members; that is for sponsors, and for scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.outcome.rules import Window, split
from p2pfl.ledger.outcome.state import State


@dataclass(frozen=True, slots=True)
class Receipts:
    """`cap`: messages of one pair that count in one window. `receivers`: how many different ones must confirm."""

    name: ClassVar[str] = "receipts"
    cap: int = 64
    receivers: int = 2

    def __call__(self, state: State, window: Window) -> Mapping[NodeId, int]:
        return split(window.supply, self.shares(window))

    def shares(self, window: Window) -> dict[NodeId, int]:
        """Messages that count, by sender; senders without any are left out."""
        shares: dict[NodeId, int] = {}
        confirmed: dict[NodeId, set[NodeId]] = {}
        for pair in window.pairs:
            if pair.num_messages > 0 and pair.sender != pair.receiver:
                shares[pair.sender] = shares.get(pair.sender, 0) + min(self.cap, pair.num_messages)
                confirmed.setdefault(pair.sender, set()).add(pair.receiver)
        return {sender: share for sender, share in shares.items() if len(confirmed[sender]) >= self.receivers}

    def reasons(self, state: State, window: Window, node: NodeId) -> list[str]:
        mine = [
            pair for pair in window.pairs if pair.sender == node and pair.num_messages > 0 and pair.receiver != node
        ]
        shares = self.shares(window)
        lines = []
        for pair in mine:
            capped = f", of which {self.cap} count (the cap of a pair)" if pair.num_messages > self.cap else ""
            lines.append(f"{short(pair.receiver)} confirms {pair.num_messages} messages{capped}")
        if not mine:
            lines.append("no message of this window is confirmed by a member: nothing counts")
        elif node not in shares:
            lines.append(f"{len(mine)} of {self.receivers} needed receivers confirm: nothing counts")
        else:
            total, paid = sum(shares.values()), split(window.supply, shares)[node]
            floor = window.supply * shares[node] // total
            rounding = ", and 1 more of what rounding left over (largest remainder)" if paid > floor else ""
            lines.append(
                f"{shares[node]} of {total} counting messages, of {window.supply} credits: {floor}{rounding}: {paid}"
            )
        return lines
