"""The drawing of cells in the gossip job: how statements spread, and a window's value when it is needed. Knows
posts, retries and patience; what is said and what follows from it is secagg's (beacon.py).

Every node says its own statement to its neighbours in the graph and passes on the others', signed as they are, one
message to a neighbour at a time. A number is closed when everybody's is here, or when its time is over: four time-outs,
but half as long for each number in a row that somebody did not come. Who lost its way (a restart, rounds skipped) asks
its neighbours for all that there is.

The secret that all salts follow from is durable before the first commitment leaves, under `SPACE`/`KEY`: a node that
comes back opens what it has committed to.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX, SEND_ATTEMPTS_LOG2_MAX
from p2pfl.core.noise import Key
from p2pfl.core.party import Put, Restored, Take, Verdict
from p2pfl.errors import Reject
from p2pfl.horizontal.cells.sitting import CellSetting
from p2pfl.horizontal.model.work import Calculate
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.secagg.beacon import Book, Drawn, Salted, secret_of
from p2pfl.secagg.partition import Ground
from p2pfl.secagg.salt import SaltMessage, body_bytes_max, heads_in, open_quoted
from p2pfl.secagg.sheet import pack_heads
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.messages import Edge
from p2pfl.wire.post import Answer, Heard, Knock, Post, Refuse, Whole

SPACE = "beacon"
KEY = b"secret"
WAITS = 4.0
"""In time-outs: how long an absent member's statement is waited for."""
MISSED_LOG2_MAX = 3
ATTEMPT = 0.5
PAUSE_S = 0.05

Known = tuple[NodeId, int]
"""Which statement: author and number."""


class Drawing:
    """`ready` is called when a value that was wanted is known."""

    def __init__(self, setting: CellSetting, context: bytes, desk: Desk, ready: Callable[[], None]) -> None:
        self.setting, self.desk, self.ready = setting, desk, ready
        self.neighbours = tuple(setting.ground.around[setting.me])
        self.book = Book(context, setting.me, setting.ground.around, Key(bytes(32)))
        self.begun = False
        self.back = False  # from an earlier start
        self.wanted: int | None = None  # a window that is waited for
        self.waiting = -1  # the number whose patience runs
        self._mine: Salted | None = None  # my newest
        self._known: defaultdict[NodeId, set[Known]] = defaultdict(set)  # what each neighbour has
        self._flying: dict[NodeId, set[Known]] = {}
        self._failures: dict[NodeId, int] = {}
        self._asks: set[NodeId] = set()  # whom I ask for everything
        self._grounds: dict[int, Ground] = {}

    def start(self, restored: Restored) -> None:
        """With `desk.key` set. The secret of an earlier start is taken up."""
        kept = restored.get(SPACE, {}).get(KEY)
        self.back = kept is not None and len(kept) == 32
        self.book.secret = Key(kept) if kept is not None and self.back else secret_of(self.desk.key)

    # -------------------------------------------------------------------------------------------- values

    def drawn(self, window: int) -> Drawn | None:
        return self.book.drawn(window)

    def ground(self, window: int) -> Ground:
        """Of those who take part in a window whose value is known."""
        found = self.book.drawn(window)
        assert found is not None
        if window not in self._grounds:
            self._grounds = {w: g for w, g in self._grounds.items() if w >= window - 1}
            self._grounds[window] = self.setting.ground.among(found.members)
        return self._grounds[window]

    def want(self, window: int) -> bool:
        """Whether the window's value is known; else `ready` is called when it is."""
        if not self.begun or self.book.open < window:
            self._begin(window)
        self.wanted = window
        if not self._go_on():
            return False
        self.wanted = None
        return True

    def _begin(self, window: int) -> None:
        if not self.begun:
            self.desk.persist(Put(SPACE, KEY, self.book.secret))
        if self.begun or self.back or window:
            self._asks = set(self.neighbours)
        self.begun = True
        self._mine = self.book.begin(window)
        self._spread()

    def _go_on(self) -> bool:
        """Close what can be closed of what is wanted."""
        assert self.wanted is not None
        while self.book.open < self.wanted + 2:
            if self.book.missing():
                self._wait()
                return False
            self._close()
        return True

    def _close(self) -> None:
        window = self.book.open - 1
        self._mine = self.book.close()
        found = self.book.drawn(window)
        for peer in found.withheld if found is not None else ():
            self.desk.emit("withheld", peer=short(peer), window=window)
        for known in self._known.values():
            known -= {key for key in known if key[1] < window}
        self._spread()

    def _wait(self) -> None:
        number = self.book.open
        if self.waiting != number:
            self.waiting = number
            for k in range(MISSED_LOG2_MAX + 1):
                self.desk.timer(("patience", (number, "beacon", k)), WAITS * self.setting.timeout_s / 2**k)

    def overdue(self, number: int, halvings: int) -> None:
        """So much of the time is over that those who were absent so often are waited for no more."""
        book = self.book
        if self.wanted is None or number != book.open or self.waiting != number:
            return
        if all(book.absent.get(member, 0) >= halvings for member in book.missing()):
            self._close()
            self._look()

    def _look(self) -> None:
        if self.wanted is not None and self._go_on():
            self.wanted = None
            self.ready()

    # -------------------------------------------------------------------------------------------- saying

    def _spread(self) -> None:
        for peer in self.neighbours:
            self._serve(peer)

    def _serve(self, peer: NodeId) -> None:
        """What this neighbour does not have yet, in one message, unless one is on its way."""
        if self._mine is None or peer in self._flying or self._failures.get(peer):
            return
        me, known = self.setting.me, self._known[peer]
        news = [said for said in self.book.kept() if (said.author, said.number) not in known]
        if not news and peer not in self._asks:
            return
        own = next((said for said in news if said.author == me), self._mine)
        others = [said for said in news if said.author != me]
        body = pack_heads([said.head for said in others])
        self._flying[peer] = {(said.author, said.number) for said in (own, *others)}
        message: Any = SaltMessage(
            self.setting.recipe.digest, peer, own.number, own.salt, own.commitment, peer in self._asks
        )
        parts = (body,) if body else ()
        deadline = self.desk.now + ATTEMPT * self.setting.timeout_s
        self.desk.do(
            Post(("beacon", peer), peer, message, parts, chunk_digests(parts), 2 * CONTROL_BYTES_MAX, deadline)
        )

    def heard(self, event: Heard, peer: NodeId) -> None:
        if event.verdict not in (Verdict.ACCEPT, Verdict.IGNORE):
            self.failed(peer)
            return
        self._known[peer] |= self._flying.pop(peer, set())
        self._failures.pop(peer, None)
        self._asks.discard(peer)
        self._serve(peer)

    def failed(self, peer: NodeId) -> None:
        if self._flying.pop(peer, None) is None:
            return
        count = self._failures[peer] = min(self._failures.get(peer, 0) + 1, SEND_ATTEMPTS_LOG2_MAX)
        self.desk.timer(("retry", ("beacon", peer)), PAUSE_S * 2**count * self.desk.jitter("beacon", peer, count))

    def retry(self, peer: NodeId) -> None:
        count = self._failures.pop(peer, 0)
        self._serve(peer)
        if peer in self._flying:
            self._failures[peer] = count

    # -------------------------------------------------------------------------------------------- being told

    def knock(self, event: Knock, message: SaltMessage) -> None:
        limit = body_bytes_max(len(self.book.members))
        if event.head.author not in self.neighbours:
            self.desk.do(Refuse(event.token, Verdict.REJECT, "no-neighbour", "statements come along the graph"))
        elif event.head.body_len > limit:
            detail = f"expected at most {limit} bytes, got {event.head.body_len}"
            self.desk.do(Refuse(event.token, Verdict.REJECT, "size", detail))
        elif event.head.body_len:
            self.desk.do(Take(event.token))
        else:
            self._told(event, message, [])

    def whole(self, event: Whole, message: SaltMessage) -> None:
        body = bytes(event.body)
        self.desk.enqueue(lambda: self._reading(event, message, body))

    def _reading(self, event: Whole, message: SaltMessage, body: bytes) -> Procedure:
        known = {(said.author, said.number): said for said in self.book.kept()}
        setting, most = self.setting, body_bytes_max(len(self.book.members))

        def read() -> list[Salted]:
            return open_quoted(heads_in(body, most), setting.network, setting.recipe.digest, known)

        found: list[Salted] | Reject = yield Calculate(None, read)
        if isinstance(found, Reject):
            self.desk.emit("blamed", peer=short(event.head.author), code=found.code, round=message.number)
            self.desk.do(Refuse(event.token, Verdict.REJECT, found.code, found.detail))
            return
        self._told(event, message, found)

    def _told(self, event: Knock | Whole, message: SaltMessage, quoted: list[Salted]) -> None:
        peer = event.head.author
        if message.fresh:
            self._known[peer].clear()
        for said in (message.said_by(peer, event.head.raw), *quoted):
            self._note(said, peer)
        have: Any = Edge(message.recipe, peer, "have", 0, 0)
        self.desk.do(Answer(event.token, have))
        self._spread()
        self._look()

    def _note(self, said: Salted, via: NodeId) -> None:
        first = self.book.note(said)
        if first is None:
            return
        self._known[via].add((said.author, said.number))
        if not first.says(said):  # both heads are signed: a proof
            self.desk.emit("blamed", peer=short(said.author), code="two-salts", round=said.number)
