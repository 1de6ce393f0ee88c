"""Whose turn it is: when a node asks, whom, and when it turns to somebody else. Knows paces and patience; no message.

Async pace: nobody waits. A node asks the neighbour it exchanged with longest ago when its own steps are done and
nothing of its own is in flight. With three neighbours or more, steps are counted since the last exchange in any role
("lazy"), with fewer since its own last start. Where the graph changes with time, "longest ago" is in units of how
seldom the schedule has the edge: no round numbers agree there.

Lockstep pace: in round t the edges of step t of the schedule (a colour of the graph, or a phase of a changing one)
exchange; the end with the smaller id asks. The result does not depend on timing; used to compare hosts and engines.

A node whose own request is out does not train on for more than `LEAD` phases without an exchange, and for no more than
`LEAD_FAILED` once an attempt has failed: past that, local steps are worth less than waiting (docs/log.md). The wait
ends with the answer, or when the attempts are used up.

An attempt that fails is repeated after a growing pause. After `ATTEMPTS` failures, or when the hard deadline has passed
since the first of them, the node turns to other neighbours: the circuit breaker is open (`patience`). A word without a
body then asks from time to time whether the neighbour is there, beside everything else, so that one who has vanished
costs the others nothing more. A busy neighbour is left alone for as long as it asks for.
"""

from collections.abc import Callable
from math import inf

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import derive
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import body_bytes_max
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.patience import ATTEMPTS, Patience, asked_for
from p2pfl.horizontal.pace.probes import Probes
from p2pfl.horizontal.pairs.setting import Setting
from p2pfl.horizontal.records.edge import Edge, Position

LEAD = 3
LEAD_FAILED = 1

MISSED_LOG2_MAX = 3
"""Each time in a row that a lockstep partner does not come it is awaited half as long, so many times."""


class Turns:
    """`request(peer)`: say this node's half to that neighbour now. `proceed()`: a lockstep round's exchange is over."""

    def __init__(
        self,
        setting: Setting,
        desk: Desk,
        local: Local,
        request: Callable[[NodeId], None],
        proceed: Callable[[], None],
    ):
        self.setting, self.desk, self.local = setting, desk, local
        self.request, self.proceed = request, proceed
        self.in_flight: NodeId | None = None
        self.awaited: NodeId | None = None  # lockstep: whom this round's exchange is with, while it is due
        self.patience = Patience(setting.timeout_s, body_bytes_max(setting.codec, setting.schema))
        self.probes = Probes(setting.recipe.digest, desk, self.patience, lambda peer: None)  # it waits for its turn
        self.paused = False
        self._resting: set[NodeId] = set()  # whose next attempt waits for its timer
        self._last: dict[NodeId, int] = {}
        self._count = 0
        self._renewals: dict[NodeId, int] = {}  # epochs in a row in which nothing was exchanged
        self._missed: dict[NodeId, int] = {}  # lockstep: how often in a row a partner did not come

    @property
    def num_reachable(self) -> int:
        """Neighbours whose last attempts were not all in vain."""
        return sum(self.patience.reachable(peer) for peer in self.setting.nb.neighbours)

    def trained(self) -> bool:
        """A local phase has ended. Returns whether the next one may begin at once."""
        if self.setting.recipe.mode == "async":
            self.maybe_ask()
            self.paused = self.local.since_any >= self._lead() * self.local.phase_steps
            return not self.paused
        partner = self.setting.nb.partner(self.local.round - 1 + self.local.extra)
        if partner is None:
            return True
        self.awaited = partner
        missed = min(self._missed.get(partner, 0), MISSED_LOG2_MAX)
        self.desk.timer(("patience", self.local.round), 4 * self.setting.timeout_s / 2**missed)
        if self.setting.nb.me < partner:
            self.ask(partner)
        return False

    def _lead(self) -> float:
        """How many phases without an exchange are worth training: any number, while nothing is asked."""
        if self.in_flight is None:
            return inf
        return LEAD_FAILED if self.patience.failures(self.in_flight) else LEAD

    # -------------------------------------------------------------------------------------------- asking

    def maybe_ask(self) -> None:
        if self.in_flight is not None or self.local.finished:
            return
        assert self.local.pair is not None
        needed = self.setting.rule.phase_steps(self.local.pair, self.local.phase_steps)
        peers = self.setting.nb.neighbours
        lazy = len(peers) >= 3
        since = self.local.since_any if lazy else self.local.since_own
        if since < needed:
            return
        free = [p for p in peers if self.patience.may_ask(p, self.desk.now)]
        if free:
            self.ask(min(free, key=lambda p: (self._due(p), derive(self.desk.key, "tie", p))))

    def _due(self, peer: NodeId) -> float:
        """The exchange, counted over all edges, by which it is this neighbour's turn again."""
        return self._last.get(peer, -1) + self.setting.nb.intervals.get(peer, 0.0)

    def _note(self, peer: NodeId) -> None:
        self._count += 1
        self._last[peer] = self._count

    def ask(self, peer: NodeId) -> None:
        self.in_flight = peer
        self._resting.discard(peer)
        self.local.since_own = 0.0
        self._note(peer)
        self.request(peer)

    def may_repeat(self, peer: NodeId) -> bool:
        """Whether what I said to it, and have given up, may go out once more: it shows that it has had it."""
        return self.in_flight != peer and self.patience.is_late(peer, self.desk.now)

    def is_open(self, edge: Edge, asked: Position | None) -> bool:
        """Whether I still wait for the answer to what I asked at that position; if not, its answer tells nothing."""
        return asked == (edge.epoch, edge.seq) and edge.requested and self.in_flight == edge.peer

    def too_early(self, peer: NodeId) -> bool:
        """Lockstep: my own steps of this round are not done, or this round is somebody else's turn."""
        if self.setting.recipe.mode == "async" or (self.local.finished and self.awaited is None):
            return False
        return self.awaited != peer

    # -------------------------------------------------------------------------------------------- what came of it

    def again(self, edge: Edge, reason: str) -> None:
        """An attempt came to nothing: repeat it after a pause, or turn to somebody else for a while."""
        peer = edge.peer
        if self.in_flight != peer:
            return
        count = self.patience.failed(peer)
        pause = self.patience.pause_s(peer) * self.desk.jitter(peer, edge.seq, count)
        if self._is_patient(peer) or not self.patience.exhausted(peer, self.desk.now):
            self._resting.add(peer)
            self.desk.timer(("retry", peer), pause)
            return
        self.desk.report.late(peer)
        if self.local.finished:  # `Pairs.settle` asks again, or gives it up for good
            self.desk.emit("unreachable", peer=short(peer), reason=reason, attempts=count)
        else:
            self.probes.give_up(peer, reason)
        self._turn_away()

    def _is_patient(self, peer: NodeId) -> bool:
        """Whether there is nothing better to do than to try again: its turn in lockstep, or all training is done."""
        if self.setting.recipe.mode == "lockstep" and self.awaited == peer:
            return True
        return self.local.finished and self.patience.failures(peer) % ATTEMPTS != 0

    def busy(self, edge: Edge, reason: str, after_s: float) -> None:
        """The neighbour is there and has too much to do: it is left alone as long as it asks for."""
        peer = edge.peer
        if self.in_flight != peer:
            return
        if after_s <= 0:
            self.again(edge, reason)
            return
        pause = asked_for(after_s) * (1 + self.desk.jitter(peer, edge.seq, "busy"))  # not all at once then
        if self._is_patient(peer):
            self._resting.add(peer)
            self.desk.timer(("retry", peer), pause)
        else:
            self.patience.leave(peer, self.desk.now + pause)
            self._turn_away()

    def _turn_away(self) -> None:
        """From the one that was asked, to somebody else."""
        self.in_flight = None
        self.maybe_ask()
        self._resume()

    def retry(self, peer: NodeId) -> None:
        """The pause is over, unless something else has ended it: then an attempt is under way."""
        if self.in_flight == peer and peer in self._resting:
            self._resting.discard(peer)
            self.request(peer)

    def drop(self, peer: NodeId) -> None:
        """It is no neighbour any more."""
        self._resting.discard(peer)
        self._missed.pop(peer, None)
        self._renewals.pop(peer, None)
        self.patience.close(peer)
        if self.awaited == peer:
            self._over()
        elif self.in_flight == peer:
            self._turn_away()

    def exchanged(self, peer: NodeId) -> None:
        """Both halves of an exchange are applied, whoever asked."""
        self._missed.pop(peer, None)
        self._renewals.pop(peer, None)
        self._note(peer)
        self.patience.arrived(peer)
        if self.in_flight == peer:
            self.in_flight = None

    def go_on(self, peer: NodeId) -> None:
        """What the exchange with that neighbour has led to is said."""
        if self.awaited == peer:
            self._over()
        else:
            self.maybe_ask()
            self._resume()

    def release(self, edge: Edge) -> None:
        """What was in flight on this edge is void; whoever's turn it is may ask again.

        At once, but for the edge where one epoch follows another and nothing is exchanged: it waits like a failure.
        """
        peer = edge.peer
        if self.in_flight != peer:
            return
        self._renewals[peer] = self._renewals.get(peer, 0) + 1
        if self._renewals[peer] > ATTEMPTS:
            self.again(edge, "new epoch")
            return
        self.in_flight = None
        if self.awaited == peer:
            self.ask(peer)
        else:
            self.maybe_ask()
            self._resume()

    def overdue(self, round_: int) -> None:
        """Lockstep: the partner of that round did not come."""
        if self.awaited is not None and round_ == self.local.round:
            self._missed[self.awaited] = self._missed.get(self.awaited, 0) + 1
            self.desk.emit("late", peer=short(self.awaited), round=round_)
            self.desk.report.late(self.awaited)
            self._over()

    def _over(self) -> None:
        """Lockstep: this round's exchange is done, or given up."""
        if self.in_flight == self.awaited:
            self.in_flight = None
        self.awaited = None
        self.proceed()

    def _resume(self) -> None:
        """Train on, if training waits for an exchange."""
        if self.paused:
            self.paused = False
            self.proceed()
