"""Who passes on what somebody signed, so that everybody gets it and few get it twice. Pure; knows the neighbourhood.

Everybody says what it signs to all its neighbours. For a neighbour X of mine that does not hear the author A from A:

    A is my neighbour         of all that are beside both A and X, the first `copies` in an order drawn from (A, X) pass
                              it on to X: all of them are known to all of them, so all draw the same order
    a neighbour of mine is    that one, or another such, passes it on to X
      beside both
    neither                   I pass it on: nobody known is nearer to A

A neighbour that does not answer is left out of this; who is not beside it does not know, and there the ticks help.

So where nobody is farther than two steps from anybody, what X gets of A it gets `copies` times. `copies` is 1 for what
can wait until neighbours compare notes, 2 for votes. What is lost where a relay is down comes with the ticks of sync,
or is asked for when a block names it.
"""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b

from p2pfl.core.ids import NodeId

NOT_I = 1 << 30
"""A place behind all copies."""


class Relay:
    """`around`: whom each neighbour hears directly; without it everything goes to everybody."""

    def __init__(self, me: NodeId, neighbours: Iterable[NodeId], around: Mapping[NodeId, Collection[NodeId]]) -> None:
        self.me = me
        self.beside = {peer: frozenset((peer, *around.get(peer, ()))) for peer in neighbours}
        self._away: frozenset[NodeId] = frozenset()
        self._known: dict[tuple[NodeId, NodeId], int] = {}

    def meet(self, neighbours: Iterable[NodeId], around: Mapping[NodeId, Collection[NodeId]]) -> None:
        """From now on these are the neighbours; of those that are not in `around` nobody knows whom they hear."""
        self.beside = {peer: frozenset((peer, *around.get(peer, ()))) for peer in neighbours}
        self._known.clear()

    def without(self, away: frozenset[NodeId]) -> None:
        """These neighbours do not answer: what they would pass on is for the next ones."""
        if away != self._away:
            self._away = away
            self._known.clear()

    def targets(self, authors: Collection[NodeId], but: NodeId | None, copies: int) -> list[NodeId]:
        """To whom of my neighbours: to whoever should get the words of one of the authors from me."""
        return [
            peer
            for peer in self.beside
            if peer != but and (not authors or any(self._place(author, peer) < copies for author in authors))
        ]

    def _place(self, author: NodeId, peer: NodeId) -> int:
        """My place among those who pass on the author's words to the peer."""
        key = (author, peer)
        if key not in self._known:
            self._known[key] = self._find(author, peer)
        return self._known[key]

    def _find(self, author: NodeId, peer: NodeId) -> int:
        hears = self.beside[peer]
        if author in hears:
            return NOT_I
        if author not in self.beside:
            near = (hears & self.beside.keys()) - {peer} - self._away
            return NOT_I if any(author in self.beside[other] for other in near) else 0
        between = (hears & self.beside[author]) - {author, peer} - self._away | {self.me}
        return sorted(between, key=lambda node: blake2b(author + peer + node).digest()).index(self.me)
