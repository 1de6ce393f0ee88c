"""Who voted once and does not now: so that leaving is no way out of a proof. Pure; knows drafts, no vote and no block.

A key that leaves the set of validators keeps a row with the last epoch in which it voted: two conflicting votes of that
epoch or an earlier one convict it for as long as the row is there. Of more than `FORMER_MAX` the oldest goes, the
smaller key first; a convicted one needs no row.
"""

from collections.abc import Iterable

from p2pfl.core.ids import NodeId
from p2pfl.ledger.outcome.state import Draft, State

FORMER_MAX = 1024
"""At less than a third of the voters an epoch, hundreds of epochs."""


def retire(draft: Draft, before: Iterable[NodeId], after: Iterable[NodeId], epoch: int) -> None:
    """At the end of `epoch`, in which `before` voted; in the next one `after` do."""
    gone = sorted(set(before) - set(after))
    for node in gone:
        if draft.get("frozen", node) is None:
            draft.put((epoch,), "voted", node)
    if gone:
        rows = sorted((value[0], parts[0]) for parts, value in draft.items("voted"))
        for _, node in rows[: max(len(rows) - FORMER_MAX, 0)]:
            draft.remove("voted", node)


def voted_in(state: State, node: NodeId, epoch: int) -> bool:
    """Whether the node, no validator any more, may have been one in `epoch`."""
    last = state.get("voted", node)
    return last is not None and epoch <= int(last[0])  # type: ignore[arg-type]  # a number, by state.md
