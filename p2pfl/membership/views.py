"""Which members count, as the job is told: when it has settled, and not too often. Pure; its owner keeps the timer.

A flapping node must not reshuffle everybody: a view comes `settle_s` after the last change, and `view_s` after the view
before it. Listed nodes that nobody has heard of yet count as there until `grace_s` after the start: a network begins
with its document, not with nobody.
"""

from math import inf

from p2pfl.core.ids import NodeId
from p2pfl.membership.bounds import Pace
from p2pfl.membership.effects import View
from p2pfl.membership.record import Flag
from p2pfl.membership.roster import Roster

AWAY = Flag.DRAINING | Flag.OBSERVER
"""Who is a member, but takes no part."""


class Views:
    """`changed` whenever membership may have; `due` says when to call `next_view`."""

    def __init__(self, roster: Roster, listed: frozenset[NodeId], pace: Pace, now: float) -> None:
        self.roster, self.listed, self.pace = roster, listed, pace
        self.started = now
        self.number = 0
        self.alive: tuple[NodeId, ...] = ()
        self._said_at = -inf
        self._since = inf  # the first change that no view has told yet
        self.due = inf

    def changed(self, now: float) -> None:
        """Something is otherwise than it was; the next view waits for it to settle."""
        self._since = min(self._since, now)
        settled = min(now + self.pace.settle_s, self._since + self.pace.view_s)  # however much flaps, a view comes
        self.due = max(self._said_at + self.pace.view_s, settled)

    def compute(self, now: float) -> tuple[NodeId, ...]:
        """Who counts at this moment, by key."""
        roster = self.roster
        here = {node for node in roster.here() if not roster.members[node].record.flags & AWAY}
        if now < self.started + self.pace.grace_s:
            here |= {node for node in self.listed if node not in roster.members and node not in roster.admission.banned}
        return tuple(sorted({roster.me.node, *here}))

    def next_view(self, now: float) -> View | None:
        """The view that is due; nothing if it is as it was."""
        if now < self.due:
            return None
        self.due = self._since = inf
        alive = self.compute(now)
        if alive == self.alive:
            return None
        departed = tuple(sorted(set(self.alive) - set(alive)))
        self.number, self.alive, self._said_at = self.number + 1, alive, now
        return View(self.number, alive, departed)
