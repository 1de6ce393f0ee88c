"""Who worked for whom: the effects of delta.reveal and receipts, and what a window adds up to.

Pure; knows drafts and these two kinds, no rule. Per pair (sender, receiver) the state keeps how many messages the
sender says it sent and how many the receiver says it took, since the beginning. A message counts when both have said
so, in the window in which the later word becomes final: min(sent, taken) grows, whatever the order. So neither can
count for the other, and a receipt that comes late is late and not lost.
"""

from collections.abc import Iterator
from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import ACCEPTED, Reveal
from p2pfl.ledger.feeds.tally import receipts_of
from p2pfl.ledger.outcome.members import Look, is_worker, present
from p2pfl.ledger.outcome.rules import Pair
from p2pfl.ledger.outcome.state import Draft


class Flow(NamedTuple):
    """The value at ["pair", sender, receiver]: totals, and how much of them earlier windows have counted."""

    sent: int = 0
    taken: int = 0
    refused: int = 0
    taken_bytes: int = 0
    counted: int = 0
    counted_bytes: int = 0

    @property
    def news(self) -> int:
        """Messages that both ends have named since the last window closed."""
        return min(self.sent, self.taken) - self.counted


def flow_of(look: Look, sender: bytes, receiver: bytes) -> Flow:
    value = look.get("pair", sender, receiver)
    return Flow(*value) if value else Flow()  # type: ignore[arg-type]  # only `_put` writes it


def reveal(draft: Draft, entry: Entry) -> str | None:
    """The author says what it sent, and to whom."""
    sent: dict[NodeId, int] = {}
    for row in entry.payload:
        to = NodeId(Reveal(*row).to)  # type: ignore[misc]  # shape checked by parse
        sent[to] = sent.get(to, 0) + 1
    strangers = 0
    for to, count in sorted(sent.items()):
        if _counts(draft, entry.author, to):
            flow = flow_of(draft, entry.author, to)
            draft.put(tuple(flow._replace(sent=flow.sent + count)), "pair", entry.author, to)
        else:
            strangers += 1
    return _vain(strangers, len(sent))


def receipts(draft: Draft, entry: Entry) -> str | None:
    """The author says what it took, and from whom."""
    took: dict[NodeId, tuple[int, int, int]] = {}
    for row in receipts_of(entry):
        count, size, refused = took.get(NodeId(row.sender), (0, 0, 0))
        if row.verdict == ACCEPTED:
            took[NodeId(row.sender)] = (count + 1, size + row.size_bytes, refused)
        else:
            took[NodeId(row.sender)] = (count, size, refused + 1)

    strangers = 0
    for sender, (count, size, refused) in sorted(took.items()):
        if _counts(draft, sender, entry.author):
            flow = flow_of(draft, sender, entry.author)
            totals = (flow.taken + count, flow.refused + refused, flow.taken_bytes + size)
            draft.put((flow.sent, *totals, flow.counted, flow.counted_bytes), "pair", sender, entry.author)
        else:
            strangers += 1
    return _vain(strangers, len(took))


def _counts(look: Look, sender: bytes, receiver: bytes) -> bool:
    """Between two different members; the author of the entry is known to be one."""
    return sender != receiver and is_worker(look, sender) and is_worker(look, receiver)


def _vain(strangers: int, num_peers: int) -> str | None:
    return "none of the peers that it names is a member" if strangers == num_peers else None


def collect(look: Look) -> tuple[Pair, ...]:
    """What this window adds up to, ascending by pair: messages that both ends have named by now, and members only.

    A rotated key counts as the one that took over from it.
    """
    sums: dict[tuple[NodeId, NodeId], tuple[int, int]] = {}
    for sender, receiver, flow in flows(look):
        ends = (present(look, sender), present(look, receiver))
        if flow.news > 0 and ends[0] != ends[1] and is_worker(look, ends[0]) and is_worker(look, ends[1]):
            count, size = sums.get(ends, (0, 0))
            sums[ends] = (count + flow.news, size + flow.taken_bytes - flow.counted_bytes)
    return tuple(Pair(*ends, *sums[ends]) for ends in sorted(sums))


def count_off(draft: Draft) -> None:
    """What was named until now belongs to the window that closes, and to no other."""
    for sender, receiver, flow in flows(draft):
        if flow.news > 0:
            flow = flow._replace(counted=min(flow.sent, flow.taken), counted_bytes=flow.taken_bytes)
            draft.put(tuple(flow), "pair", sender, receiver)


def flows(look: Look) -> Iterator[tuple[NodeId, NodeId, Flow]]:
    """All pairs, ascending."""
    for (sender, receiver), value in look.items("pair"):
        yield NodeId(sender), NodeId(receiver), Flow(*value)  # type: ignore[arg-type]
