"""What a request must pass before its words count: whose it is, which life's, and that it was not said before.

One key on two machines. A record of a new session, brought by its subject from another address while the old session
still counts as there, is a restart, or a copy of the key. So the old address is asked first, with the new session's
name as a challenge: if the old session answers, its signed answer goes to the newcomer, which reads in it that its key
is in use (nobody else can sign that), and stops. If nobody answers there, the newcomer is the same node, restarted.
Without an address to ask, a session that comes back after another had taken its place tells the same.
"""

from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId, short
from p2pfl.core.party import ReplyToken
from p2pfl.errors import Ignore, Reject
from p2pfl.membership.effects import Asked
from p2pfl.membership.record import Record, is_record, parse_record
from p2pfl.membership.session import Windows
from p2pfl.membership.standing import Standing
from p2pfl.membership.talk import Ack, Conflict, Line, Ping, Sync, Synced, parse_line
from p2pfl.membership.voice import Voice
from p2pfl.wire.envelope import open_head
from p2pfl.wire.messages import MemberTalk

RIVALS_MAX = 16
"""Newcomers whose keys are being looked after at one time."""
PAST_SESSIONS_MAX = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A member's request as it came; `digest` names it."""

    token: ReplyToken
    author: NodeId
    digest: bytes
    line: Line


@dataclass(eq=False)
class Doorstep:
    voice: Voice
    windows: Windows = field(default_factory=Windows)
    rivals: dict[NodeId, Request] = field(default_factory=dict)
    past: dict[NodeId, list[bytes]] = field(default_factory=dict)

    def enter(self, request: Request) -> bool:
        """Takes in who says it. False: it was answered, or waits for the holder of its key. Raises Reject or Ignore."""
        author, line = request.author, request.line
        roster = self.voice.roster
        roster.admission.check_key(author)
        hello = _own_record(line, author)
        if hello is not None and self._is_other_life(hello, request):
            return False
        self._check_session(request)
        return True

    def let_in(self, request: Request) -> bool:
        """As `enter`, once nobody else answers for the key. Raises Reject or Ignore."""
        hello = _own_record(request.line, request.author)
        known = self.voice.roster.members.get(request.author)
        assert hello is not None
        if known is not None and self._take_over(known, hello, request):
            return False
        self._check_session(request)
        return True

    def _check_session(self, request: Request) -> None:
        author, line = request.author, request.line
        roster = self.voice.roster
        known = roster.members.get(author)
        if known is None or line.session != known.record.session:
            raise Ignore("session", "say first who you are: a push-pull with your record")
        roster.admission.check(known.record)
        if line.yours != self.voice.session and not isinstance(line.words, Sync):
            raise Ignore("session", "meant for an earlier life of this node")
        self.windows.take(author, line.session, line.seq)
        if line.yours:
            roster.heard_at[author] = roster.out.now

    # -------------------------------------------------------------------------------------------- one key, two lives

    def _is_other_life(self, hello: Record, request: Request) -> bool:
        """Whether this is not the session that counts: then it was answered, or its key is being looked after."""
        known = self.voice.roster.members.get(hello.node)
        if known is None or hello.session == known.record.session:
            self._hear(hello)
            return False
        if hello.session in self.past.get(hello.node, ()) and hello.incarnation > known.incarnation:
            raise Reject("key-in-use", "a session came back after another had taken its place: one key, two machines?")
        if _answers_elsewhere(known, hello):
            self._ask_holder(known, hello, request)
            return True
        return self._take_over(known, hello, request)

    def _take_over(self, known: Standing, hello: Record, request: Request) -> bool:
        """The new life counts if it is later; if not, it is told of the earlier one, and can be. Whether it was told.

        Only a push-pull is told: whatever else such a life says, it says to nobody yet.
        """
        if hello.incarnation > known.incarnation:
            self._hear(hello)
            return False
        if not isinstance(request.line.words, Sync):
            raise Ignore("session", "say first who you are: a push-pull with your record")
        words = Synced(False)
        self.voice.answer(request.token, request.author, request.digest, words, known.statements())
        return True

    def _ask_holder(self, known: Standing, hello: Record, request: Request) -> None:
        if hello.node in self.rivals or len(self.rivals) >= RIVALS_MAX:
            raise Ignore("busy", "whether your key is in use elsewhere is being found out")
        self.rivals[hello.node] = request
        self.voice.ask(known.node, Ping(hello.session), "rival", self.voice.pace.timeout_s)

    def judged(self, asked: Asked, proof: bytes | None) -> Request | None:
        """The holder of a key answered (`proof` is its signed answer), or did not: then the request goes on."""
        request = self.rivals.pop(asked.to)
        if proof is None:
            return request
        self.voice.out.emit("member.key_in_use", peer=short(asked.to))
        self.voice.answer(request.token, request.author, request.digest, Conflict(proof))
        return None

    def _hear(self, hello: Record) -> None:
        roster = self.voice.roster
        known = roster.members.get(hello.node)
        roster.hear([hello.raw], hello.node)
        if known is not None and known.record.session != hello.session:
            self.past[hello.node] = [*self.past.get(hello.node, []), known.record.session][-PAST_SESSIONS_MAX:]


def is_proof(proof: bytes, me: Record) -> str | None:
    """Where somebody else uses this node's key, if the proof shows that; None if it does not."""
    try:
        head = open_head(proof)
        if head.kind != MemberTalk.KIND or (head.author, head.network) != (me.node, me.network):
            return None
        line = parse_line(MemberTalk.from_fields(head.fields).line)
        if not head.authentic() or line.session == me.session or line.words != Ack(me.session):
            return None
        record = _own_record(line, me.node)
    except Reject:
        return None
    return record.urls[0] if record is not None and record.urls else "an address that it does not tell"


def _own_record(line: Line, author: NodeId) -> Record | None:
    """The sender's record, if it comes with the line; it is the first of the news then. Raises Reject."""
    if not line.news or not is_record(line.news[0]):
        return None
    record = parse_record(line.news[0])
    return record if record.node == author else None


def _answers_elsewhere(known: Standing, hello: Record) -> bool:
    """Whether the earlier session may still be there, at another address than the new one."""
    return known.is_here and known.record.listens and not set(known.record.urls) & set(hello.urls)
