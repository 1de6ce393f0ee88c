"""How a gossip node leaves when its rounds are done: after its neighbours, not before. Knows who has said goodbye.

A node that is done tells each neighbour, repeats until it is heard, and goes on serving. It leaves when every
neighbour has said goodbye too, or cannot be reached: one that has said goodbye may be gone already; one that has not is
given `LINGER_S` of silence before it is counted as lost. Who said goodbye is remembered also while it is no neighbour:
it may become one again, and says it once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX, SEND_ATTEMPTS_LOG2_MAX
from p2pfl.core.party import Verdict
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.wire.messages import Bye
from p2pfl.wire.post import Answer, Heard, Knock, Post

LINGER_S = 15.0
ATTEMPT_S = 1.0
PAUSE_S = 0.2


@dataclass(eq=False)
class Farewell:
    """With one neighbour. `silent_since` is the time of the first of the failures in a row, if any."""

    told: bool = False
    heard: bool = False
    silent_since: float | None = None
    lost: bool = False
    attempts: int = 0

    @property
    def over(self) -> bool:
        return (self.told and self.heard) or self.lost


class Closing:
    """`done` is called once, when the node may leave."""

    def __init__(
        self, desk: Desk, recipe: bytes, neighbours: tuple[NodeId, ...], timeout_s: float, done: Callable[[], None]
    ):
        self.desk, self.recipe, self.timeout_s, self.done = desk, recipe, timeout_s, done
        self.known = {peer: Farewell() for peer in neighbours}  # whoever was a neighbour, or said goodbye
        self.farewells = dict(self.known)  # of the neighbours
        self.round = 0
        self.begun = False
        self.ended = False

    def meet(self, neighbours: tuple[NodeId, ...]) -> None:
        """The members have changed: goodbye is said to those that are neighbours now."""
        before, self.farewells = self.farewells, {}
        for peer in neighbours:
            farewell = self.farewells[peer] = self.known.setdefault(peer, Farewell())
            if self.begun and not self.ended and peer not in before and not farewell.over:
                self._tell(peer)
        self._check()

    def begin(self, round_: int) -> None:
        """My rounds are done and nothing of mine is in flight."""
        self.begun, self.round = True, round_
        for peer in self.farewells:
            self._tell(peer)
        self._check()

    def knock(self, event: Knock) -> None:
        """A neighbour says goodbye (perhaps again)."""
        peer = event.head.author
        farewell = self.known.setdefault(peer, Farewell())
        back = farewell.lost  # it was counted as lost, and nobody repeats to those
        farewell.heard, farewell.lost = True, False
        back = back and peer in self.farewells
        self.desk.do(Answer(event.token, Bye(self.recipe, peer, self.round)))
        if back and not farewell.told and not self.ended:
            farewell.silent_since, farewell.attempts = None, 0
            self._tell(peer)
        self._check()

    def heard(self, event: Heard, peer: NodeId) -> None:
        if event.verdict is Verdict.REJECT:  # it will have nothing to do with me: as good as silent
            self.failed(peer)
            return
        farewell = self.farewells.get(peer)
        if farewell is None:
            return
        farewell.silent_since = None
        if event.verdict is Verdict.ACCEPT:
            farewell.told = True
            if not farewell.heard:  # it is still at work; look now and then whether it is still there
                self.desk.timer(("bye", peer), LINGER_S / 3)
            self._check()
        else:
            self._later(peer)

    def failed(self, peer: NodeId) -> None:
        farewell = self.farewells.get(peer)
        if farewell is None:
            return
        if farewell.silent_since is None:
            farewell.silent_since = self.desk.now
        silent = self.desk.now - farewell.silent_since
        if farewell.heard and farewell.attempts >= 2:
            farewell.lost = True  # it has left, and it had nothing more to say
        elif silent >= LINGER_S:
            farewell.lost = True
            self.desk.emit("lost", peer=short(peer), silent_s=silent)
        if farewell.lost:
            self._check()
        else:
            self._later(peer)

    def again(self, peer: NodeId) -> None:
        if self.begun and not self.ended and peer in self.farewells and not self.farewells[peer].over:
            self._tell(peer)

    def _later(self, peer: NodeId) -> None:
        farewell = self.farewells[peer]
        farewell.attempts += 1
        pause = PAUSE_S * 2 ** min(farewell.attempts, 4) * self.desk.jitter("bye", peer, farewell.attempts)
        self.desk.timer(("bye", peer), pause)

    def _tell(self, peer: NodeId) -> None:
        message = Bye(self.recipe, peer, self.round)
        patience = ATTEMPT_S * 2 ** min(self.farewells[peer].attempts, SEND_ATTEMPTS_LOG2_MAX)
        deadline = self.desk.now + min(patience, self.timeout_s, LINGER_S)
        self.desk.do(Post(("bye", peer), peer, message, reply_limit=CONTROL_BYTES_MAX, deadline=deadline))

    def _check(self) -> None:
        if self.begun and not self.ended and all(farewell.over for farewell in self.farewells.values()):
            self.ended = True
            self.done()
