"""Closing a window: its rows of the feed and the snapshot they belong to, durable together. Knows no message.

`own` gives the entries that a window has beside reveals and receipts (a privacy budget's, say).
"""

from collections.abc import Callable, Mapping

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Pack
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.records.edge import Edge
from p2pfl.horizontal.records.journal import Journal
from p2pfl.wire.post import Append


class Windows:
    """`rounds`: of one window. edges: whose state is written down with the model."""

    def __init__(
        self,
        rounds: int,
        desk: Desk,
        local: Local,
        journal: Journal,
        edges: Mapping[NodeId, Edge],
        own: Callable[[int], tuple[Append, ...]],
    ) -> None:
        self.rounds, self.desk, self.local, self.journal = rounds, desk, local, journal
        self.edges, self.own = edges, own
        self._closed = 0
        self._unwritten: tuple[Append, ...] = ()  # the entries of a window that is being packed

    def resume(self, round_: int) -> None:
        self._closed = round_ // self.rounds

    def round_over(self, round_: int) -> None:
        window = round_ // self.rounds
        if window > self._closed:
            self._closed = window
            self.desk.enqueue(lambda: self.close(round_))

    def close(self, round_: int) -> Procedure:
        self._unwritten = self._entries(round_)
        pack = self.journal.packer(self.local, self.edges)
        number = self.journal.number
        puts = yield Pack(None, pack)
        self.desk.persist(*puts, entries=self._unwritten)
        self.journal.forget(number)
        self._unwritten = ()

    def write_down(self, final: bool) -> None:
        """The same at the end, where nobody waits for the loop any more; a window that is half-way is written too."""
        entries = (*self._unwritten, *self._entries(self.local.round))
        if final:
            digest = blake3(self.local.x.detach().cpu().numpy().data.cast("B")).digest()
            entries = (*entries, Append("model", self.local.round, [digest, 1]))
        self.desk.persist(*self.journal.packer(self.local, self.edges)(), entries=entries)

    def _entries(self, round_: int) -> tuple[Append, ...]:
        reveals, receipts = self.journal.close_window()
        rows = (("delta.reveal", list(reveals)), ("receipts", list(receipts)))
        return (*(Append(kind, round_, values) for kind, values in rows if values), *self.own(round_))
