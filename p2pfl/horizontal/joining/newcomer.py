"""Coming late: a node without a past takes the model from several neighbours at once. Knows donors, parts and
time-outs; tensors are the work's.

Theory of operation
-------------------
| event                      | what follows                                                                         |
|----------------------------|--------------------------------------------------------------------------------------|
| begin                      | ask `COPIES` neighbours, by lot, for their lists of parts                             |
| a list, its digests hold   | it is a donor: from then on it is asked for one part after the other                  |
| a part, its digest holds   | kept; the donor is asked for the next part that too few bring                         |
| BUSY                       | the donor is left alone for as long as it asked for; another is asked                 |
| anything else              | counted against this donor; after `FAULTS_MAX` in a row it is asked no more           |
| all parts are here         | the model is put together; progress is the donors' middle one                        |
| no donor is left, or late  | the node begins as if it were the first                                               |

Each part comes whole from one donor and is checked against the list that this donor signed, so none can pass off
another's. It comes from `COPIES` donors if there are so many, and their coordinate-wise median counts: between two
exchanges a node's model says more of its own data than of what the network has learned, which several even out; and one
liar among three moves no coordinate out of the others' reach. A donor with fewer newcomers to serve is asked first, and
one that is slow or silent is given up like one that errs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median_low

import torch
from torch import Tensor

from p2pfl.compress import Codec
from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.core.party import Verdict
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import Reject
from p2pfl.horizontal.model.parts import DIGEST_BYTES, check_list, decode_part, joined, middle, part_bytes_max, runs_of
from p2pfl.horizontal.model.work import Calculate
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.pace.patience import Patience, asked_for
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.wire.envelope import HEAD_BYTES_MAX
from p2pfl.wire.messages import Fetch, State
from p2pfl.wire.post import Heard, Post

DONORS_MAX = 8
COPIES = 3
FAULTS_MAX = 5
PAUSE_S = 0.1
NEWEST = bytes(DIGEST_BYTES)


@dataclass(eq=False)
class Giver:
    """One neighbour that may be a donor. root empty: its list is not here yet."""

    root: bytes = b""
    digests: bytes = b""
    stated: Stated | None = None
    load: int = 0
    faults: int = 0
    asked: int | None = None  # the part that it is asked for
    resting: bool = False
    busy: bool = False  # it said so last
    brought: int = 0


@dataclass(frozen=True)
class Joined:
    """What a newcomer begins with, and what it cost."""

    x: Tensor
    progress: float
    samples: float
    bytes_fetched: int
    donors: int
    seconds: float


@dataclass(eq=False)
class Joining:
    """`done(joined)` is called once; with None if nobody had anything to give. patience_s: without a new part."""

    recipe: bytes
    codec: Codec
    schema: ParamSchema
    desk: Desk
    timeout_s: float
    patience_s: float
    done: Callable[[Joined | None], None]
    givers: dict[NodeId, Giver] = field(default_factory=dict)
    parts: dict[int, dict[NodeId, Tensor]] = field(default_factory=dict)
    bytes_fetched: int = 0
    begun_at: float = 0.0
    over: bool = True
    like: Tensor = field(default_factory=lambda: torch.empty(0))
    patience: Patience = field(default_factory=lambda: Patience(0.0, 0))

    def begin(self, neighbours: tuple[NodeId, ...], like: Tensor) -> None:
        """like: a model of the right size and dtype."""
        self.over, self.begun_at, self.like = False, self.desk.now, like
        self.patience = Patience(self.timeout_s, part_bytes_max(self.codec, self.schema))
        self.desk.timer(("join",), self.patience_s)
        self.givers = {peer: Giver() for peer in neighbours[:DONORS_MAX]}
        self._go_on()

    # -------------------------------------------------------------------------------------------- asking

    def _ask(self, peer: NodeId) -> None:
        """The next thing that this neighbour can bring, if there is one."""
        giver = self.givers[peer]
        if self.over or giver.resting or giver.asked is not None or giver.faults >= FAULTS_MAX:
            return
        if not giver.root and self._engaged >= COPIES:  # a place at a donor is for those who use it
            return
        part = 0 if not giver.root else self._wanted(peer)
        if part is None:
            return
        giver.asked = part
        message = Fetch(self.recipe, peer, giver.root or NEWEST, part)
        limit = HEAD_BYTES_MAX + max(part_bytes_max(self.codec, self.schema), self._list_bytes, CONTROL_BYTES_MAX)
        deadline = self.patience.ask(peer, self.desk.now)
        self.desk.do(Post(("fetch", peer, part), peer, message, reply_limit=limit, deadline=deadline))

    @property
    def _engaged(self) -> int:
        """Donors that are at work for this newcomer."""
        return sum(g.asked is not None or (bool(g.root) and not g.resting) for g in self.givers.values())

    @property
    def _list_bytes(self) -> int:
        return DIGEST_BYTES * len(runs_of(self.schema))

    @property
    def _numbers(self) -> range:
        return range(1, len(runs_of(self.schema)) + 1)

    @property
    def _copies(self) -> int:
        """From how many donors each part is to come: no more than have time for it."""
        return min(COPIES, sum(giver.faults < FAULTS_MAX and not giver.busy for giver in self.givers.values()))

    def _wanted(self, peer: NodeId) -> int | None:
        """A part (from 1) of which too few copies are here or on their way, and this neighbour has brought none."""
        for number in self._numbers:
            here = self.parts.get(number, {})
            coming = sum(giver.asked == number for giver in self.givers.values())
            if peer not in here and len(here) + coming < self._copies:
                return number
        return None

    def heard(self, event: Heard, peer: NodeId, part: int) -> None:
        giver = self.givers.get(peer)
        if giver is None or self.over or giver.asked != part:
            return
        giver.asked = None
        self.patience.answered(peer, self.desk.now)
        giver.busy = event.verdict is Verdict.BUSY
        if giver.busy:
            self._rest(peer, asked_for(event.after_s) or PAUSE_S)
            self._go_on()
        elif isinstance(event.message, State) and event.verdict is Verdict.ACCEPT:
            state, body = event.message, bytes(event.body)
            self.bytes_fetched += len(body)
            self.desk.enqueue(lambda: self._take(peer, giver, state, body, part))
        else:  # its copy is gone, or it wants nothing of me
            giver.root = giver.digests = b""
            self._fault(peer, event.code or "no state")

    def failed(self, peer: NodeId, part: int, reason: str) -> None:
        giver = self.givers.get(peer)
        if giver is not None and giver.asked == part:
            giver.asked = None
            self._fault(peer, reason)

    def retry(self, peer: NodeId) -> None:
        """Its rest is over."""
        giver = self.givers.get(peer)
        if giver is not None:
            giver.resting = giver.busy = False
            self._ask(peer)

    def _take(self, peer: NodeId, giver: Giver, state: State, body: bytes, part: int) -> Procedure:
        if part == 0:
            found = yield Calculate(self, lambda: _checked(state, body, self.schema))
        elif state.root != giver.root or state.part != part:
            found = Reject("part", f"expected part {part} of what was asked for, got part {state.part}")
        else:
            number, digests = part - 1, giver.digests
            found = yield Calculate(
                self, lambda: decode_part(number, state.sections[0], body, digests, self.codec, self.schema)
            )
        if self.over:
            return
        if isinstance(found, Reject):
            self.desk.emit("rejected", peer=short(peer), code=found.code)
            self.desk.report.refused(peer, found.code)
            giver.root = giver.digests = b""
            for here in self.parts.values():
                here.pop(peer, None)
            self._fault(peer, found.code)
            return
        giver.faults = 0
        self.patience.arrived(peer)
        giver.load = state.load
        if part == 0:
            giver.root, giver.digests, giver.stated = state.root, body, Stated(*state.averages)
        else:
            self.parts.setdefault(part, {})[peer] = found
            self.desk.timer(("join",), self.patience_s)
            giver.brought += 1
        self._go_on()

    def _go_on(self) -> None:
        for peer in sorted(self.givers, key=lambda p: (self.givers[p].load, self.desk.jitter("donor", p))):
            self._ask(peer)
        self._check()

    def _rest(self, peer: NodeId, seconds: float) -> None:
        self.givers[peer].resting = True
        jitter = self.desk.jitter("fetch", peer, self.bytes_fetched, int(self.desk.now * 1000))
        self.desk.timer(("refetch", peer), seconds * (0.5 + jitter))

    def _fault(self, peer: NodeId, reason: str) -> None:
        giver = self.givers[peer]
        giver.faults += 1
        self.patience.failed(peer)
        if giver.faults >= FAULTS_MAX:
            self.desk.emit("no_donor", peer=short(peer), reason=reason)
        else:
            self._rest(peer, self.patience.pause_s(peer))
        self._go_on()

    # -------------------------------------------------------------------------------------------- the end

    def _check(self) -> None:
        if self.over:
            return
        copies = max(self._copies, 1)
        if all(len(self.parts.get(number, ())) >= copies for number in self._numbers):
            self._finish()
        elif all(giver.faults >= FAULTS_MAX for giver in self.givers.values()):
            self.time_up()

    def time_up(self) -> None:
        """No part has come for long: what is here has to do, if it is all there once."""
        if self.over:
            return
        if all(self.parts.get(number) for number in self._numbers):
            self._finish()
        else:
            self.over = True
            self.done(None)

    def _finish(self) -> None:
        self.over = True
        stated = [giver.stated for giver in self.givers.values() if giver.stated is not None]
        x = joined([middle(list(self.parts[number].values())) for number in self._numbers], self.like)
        donors = sum(giver.brought > 0 for giver in self.givers.values())
        progress = median_low([one.progress for one in stated])
        samples = median_low([one.samples for one in stated])
        self.done(Joined(x, progress, samples, self.bytes_fetched, donors, self.desk.now - self.begun_at))


def _checked(state: State, body: bytes, schema: ParamSchema) -> State:
    """A list that can be believed. Raises Reject."""
    check_list(state.root, body, state.parts, schema)
    return state
