"""How this node speaks: numbers its lines, adds its own record where it may be news, and other news. Sends nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.core.party import ReplyToken, Verdict
from p2pfl.membership.bounds import NEWS_BYTES, Pace
from p2pfl.membership.effects import Asked, Out, Purpose, Respond
from p2pfl.membership.roster import Roster
from p2pfl.membership.standing import State
from p2pfl.membership.talk import Line, Sync, Synced, Words


@dataclass(eq=False)
class Voice:
    """`told`: which incarnation of this node's record each member is known to have."""

    roster: Roster
    out: Out
    pace: Pace
    told: dict[NodeId, int] = field(default_factory=dict)
    _seq: int = -1

    @property
    def session(self) -> bytes:
        return self.roster.me.session

    def ask(
        self,
        to: NodeId,
        words: Words,
        purpose: Purpose,
        within_s: float,
        about: object = None,
        first: Sequence[bytes] = (),
    ) -> None:
        """A question, or news that nobody needs to answer."""
        known = self.roster.members.get(to)
        yours = known.record.session if known is not None and not isinstance(words, Sync) else b""
        asked = Asked(to, words, purpose, about, self.roster.me.incarnation)
        self.out.ask(asked, self._line(to, words, yours, b"", first).raw, within_s)

    def answer(self, token: ReplyToken, to: NodeId, digest: bytes, words: Words, first: Sequence[bytes] = ()) -> None:
        """The answer to the question with this digest."""
        line = self._line(to, words, b"", digest, first)  # the question's digest says whose life it is for
        self.out.do(Respond(token, Verdict.ACCEPT, line.raw))

    def refuse(self, token: ReplyToken, verdict: Verdict, code: str = "", detail: str = "") -> None:
        self.out.do(Respond(token, verdict, b"", code, detail))

    def accusations(self, node: NodeId) -> list[bytes]:
        """What is held against somebody: the first that it should hear (Lifeguard's buddy)."""
        known = self.roster.members.get(node)
        return known.statements()[1:] if known is not None and known.state is not State.ALIVE else []

    def _line(self, to: NodeId, words: Words, yours: bytes, re: bytes, first: Sequence[bytes]) -> Line:
        self._seq += 1
        me = self.roster.me
        mine = [me.raw] if self.told.get(to, -1) < me.incarnation or isinstance(words, Sync | Synced) else []
        news = [*mine, *self.accusations(to), *first]
        copies = self.pace.copies(self.roster.num_here())
        room = NEWS_BYTES - sum(len(raw) for raw in news)
        news += [raw for raw in self.roster.rumours.take(copies, room) if raw not in news]
        return Line(self.session, self._seq, yours, re, tuple(news), words)
