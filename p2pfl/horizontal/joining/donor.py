"""Giving the model to newcomers: one copy, cut once, for all who ask within a while. Knows who is being served; tensors
are the work's.

A donor serves `SERVED_MAX` newcomers at a time. One more is told BUSY and for how long, and goes to another donor: so
however many join at once, each donor does the work of two, and its own rounds go on. A newcomer that has not asked for
`IDLE_S`, or has had every part, is served no longer; a copy that nobody asked for in as long is dropped.
"""

from collections.abc import Callable

from p2pfl.compress import Codec
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import derive
from p2pfl.core.party import ReplyToken, Verdict
from p2pfl.core.vectors import ParamSchema
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.parts import Cut, cut
from p2pfl.horizontal.model.work import Calculate
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.messages import Fetch, State
from p2pfl.wire.post import Answer, Knock, Refuse

SERVED_MAX = 2
IDLE_S = 2.0
AGE_MAX_ROUNDS = 3
"""A copy older than that is given to nobody new."""
AFTER_S = 0.25


class Donor:
    """`may_give`: whether this node's model is worth having at present."""

    def __init__(
        self, recipe: bytes, codec: Codec, schema: ParamSchema, desk: Desk, local: Local, may_give: Callable[[], bool]
    ) -> None:
        self.recipe, self.codec, self.schema, self.desk, self.local = recipe, codec, schema, desk, local
        self.may_give = may_give
        self.served: dict[NodeId, float] = {}  # and when it last asked
        self.given = 0  # parts
        self._owed: dict[NodeId, set[int]] = {}  # which parts a newcomer has not had yet
        self._copy: Cut | None = None
        self._stated: Stated | None = None
        self._round = 0  # of the copy

    def knock(self, event: Knock) -> None:
        """A newcomer asks for the list, or for a part."""
        fetch, token, peer = event.message, event.token, event.head.author
        assert isinstance(fetch, Fetch)
        if not self.may_give():
            self.desk.do(Refuse(token, Verdict.BUSY, "joining", "this node is new itself", AFTER_S))
            return
        self._forget()
        if peer not in self.served and len(self.served) >= SERVED_MAX:
            self.desk.do(Refuse(token, Verdict.BUSY, "serving", f"{SERVED_MAX} newcomers at a time", AFTER_S))
            return
        self.served[peer] = self.desk.now
        if not any(fetch.root):
            self.desk.enqueue(lambda: self._list(peer, token))
        elif self._copy is None or self._copy.root != fetch.root or not 0 < fetch.part <= len(self._copy.parts):
            self.desk.do(Refuse(token, Verdict.IGNORE, "no-such-state"))
        else:
            self._give(peer, token, fetch.part)

    def _forget(self) -> None:
        self.served = {peer: at for peer, at in self.served.items() if self.desk.now - at < IDLE_S}
        self._owed = {peer: owed for peer, owed in self._owed.items() if peer in self.served}
        if not self.served:
            self._copy = None

    def _list(self, peer: NodeId, token: ReplyToken) -> Procedure:
        old = self._copy is None or self.local.round - self._round > AGE_MAX_ROUNDS
        if old:
            x, key = self.local.x, derive(self.desk.key, "state", self.local.steps)
            self._stated, self._round = self.local.averages.stated(), self.local.round
            self._copy = yield Calculate(self, lambda: cut(x, self.schema, self.codec, key))
        assert self._copy is not None
        self._owed[peer] = set(range(1, len(self._copy.parts) + 1))
        digests = self._copy.digests
        self.desk.do(Answer(token, self._state(peer, 0), (digests,), chunk_digests((digests,))))

    def _give(self, peer: NodeId, token: ReplyToken, part: int) -> None:
        assert self._copy is not None
        body = self._copy.parts[part - 1].body
        self.given += 1
        self.desk.do(Answer(token, self._state(peer, part), (body,), chunk_digests((body,))))
        owed = self._owed.get(peer, set())
        owed.discard(part)
        if not owed:
            self.served.pop(peer, None)

    def _state(self, peer: NodeId, part: int) -> State:
        copy, stated = self._copy, self._stated
        assert copy is not None
        assert stated is not None
        sections = (copy.parts[part - 1].section,) if part else ()
        return State(self.recipe, peer, copy.root, part, len(copy.parts), stated, len(self.served), sections)
