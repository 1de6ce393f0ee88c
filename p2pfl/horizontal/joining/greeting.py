"""How a fresh gossip node begins: together with its neighbours. Knows who has been seen.

Machines come up seconds apart, and a small model trains hundreds of rounds in that time. So a node that begins a run
first says hello to each neighbour, repeats until it is heard, and starts when everybody is there or `gather_s` is over.
A node that comes back in mid-run does not wait.

The answer to a hello says in which round the other one is. A node that finds its neighbours at work already is late,
and waits no longer than `LATE_S` for those that have not answered.
"""

from collections.abc import Callable

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX, ROUNDS_MAX, SEND_ATTEMPTS_LOG2_MAX
from p2pfl.core.party import Verdict
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.wire.messages import Edge, Message, Row, Snapshot, Update
from p2pfl.wire.post import Answer, Heard, Knock, Post

PAUSE_S = 0.4
ATTEMPT_S = 0.5
ATTEMPT_S_MAX = 5.0
LATE_S = 1.0
LATE_ROUNDS = 2
"""Neighbours that are no further have just begun, too."""


class Greeting:
    """`ready` is called once: everybody is there, or the time is up. `at_work`: neighbours that are in mid-run, and in
    which round; `newcomers`: those that are late themselves. `round_` gives one's own, 0 before the first.
    """

    def __init__(
        self,
        desk: Desk,
        recipe: bytes,
        neighbours: tuple[NodeId, ...],
        gather_s: float,
        ready: Callable[[], None],
        round_: Callable[[], int] = lambda: 0,
    ):
        self.desk, self.recipe, self.gather_s, self.ready, self.round_ = desk, recipe, gather_s, ready, round_
        self.at_work: dict[NodeId, int] = {}
        self.newcomers: dict[NodeId, int] = {}
        self.known = set(neighbours)
        self.missing = set(neighbours)
        self.begun = False
        self.over = False
        self.failures: dict[NodeId, int] = {}

    def begin(self) -> None:
        self.begun = True
        for peer in sorted(self.missing):
            self._greet(peer)
        self.desk.timer(("gather",), self.gather_s)
        self._check()

    def meet(self, neighbours: tuple[NodeId, ...]) -> None:
        """The members have changed while this node waits for its neighbours."""
        if self.over:
            return
        known, self.known = self.known, set(neighbours)
        self.missing &= self.known
        for peer in sorted(self.known - known):
            self.missing.add(peer)
            if self.begun:
                self._greet(peer)
        self._check()

    def skip(self) -> None:
        self.over = True

    def knock(self, event: Knock) -> None:
        """A neighbour says hello; it is there."""
        peer = event.head.author
        self.desk.do(Answer(event.token, Edge(self.recipe, peer, "hello", self.heard_of, self.round_())))
        self.seen(peer)

    def heard(self, event: Heard, peer: NodeId) -> None:
        if event.verdict is Verdict.ACCEPT:
            if isinstance(event.message, Edge):
                if event.message.epoch > LATE_ROUNDS and event.message.seq == 0:
                    self.newcomers[peer] = min(event.message.epoch, ROUNDS_MAX)
                self.met(peer, event.message.seq)
            else:
                self.seen(peer)
        else:
            if event.verdict is Verdict.REJECT:
                self.desk.emit("refused_by", peer=short(peer), code=event.code)
            self.failed(peer)

    def failed(self, peer: NodeId) -> None:
        if not self.over:
            failures = self.failures[peer] = self.failures.get(peer, 0) + 1
            self.desk.timer(("hello", peer), PAUSE_S * self.desk.jitter("hello", peer, failures))

    def again(self, peer: NodeId) -> None:
        if not self.over and peer in self.missing:
            self._greet(peer)

    def time_up(self) -> None:
        if not self.over:
            for peer in sorted(self.missing):
                self.desk.emit("absent", peer=short(peer), waited_s=self.gather_s)
            self.missing.clear()
            self._check()

    def _greet(self, peer: NodeId) -> None:
        message = Edge(self.recipe, peer, "hello", 0, 0)
        patience = min(ATTEMPT_S * 2 ** min(self.failures.get(peer, 0), SEND_ATTEMPTS_LOG2_MAX), ATTEMPT_S_MAX)
        deadline = self.desk.now + patience
        self.desk.do(Post(("hello", peer), peer, message, reply_limit=CONTROL_BYTES_MAX, deadline=deadline))

    @property
    def heard_of(self) -> int:
        """The latest round that this node has heard of: what a newcomer passes on to another."""
        return max(0, *self.at_work.values(), *self.newcomers.values(), 0)

    @property
    def givers(self) -> tuple[NodeId, ...]:
        """Whom to ask for the model: those at work first."""
        return (*sorted(self.at_work), *sorted(self.newcomers.keys() - self.at_work.keys()))

    def met(self, peer: NodeId, round_: int) -> None:
        """It is there, and in that round."""
        if round_ > LATE_ROUNDS and not self.over:
            if not self.at_work:
                self.desk.timer(("gather",), min(LATE_S, self.gather_s))
            self.at_work[peer] = round_
        self.seen(peer)

    def seen(self, peer: NodeId) -> None:
        """Whatever it said: it is there."""
        self.missing.discard(peer)
        self._check()

    def _check(self) -> None:
        if self.begun and not self.over and not self.missing:
            self.over = True
            self.ready()


def round_of(message: Message) -> int:
    """The round that a message shows its author to be in; 0 if it shows none. A new epoch comes in mid-run only."""
    match message:
        case Update() | Row():
            return int(message.averages[0])
        case Snapshot():
            return LATE_ROUNDS + 1
    return 0
