"""The simulated network: what becomes of a Send, a Take and a Reply. Knows messages' lengths and digests, no meaning.

Theory of operation
-------------------
One `Send` is an `Attempt`; each copy of it that reaches a live node is a `Request` there, with its own token.

    sender                    on the way                              receiver
    Send        head, delay   lost | partitioned | flipped  ->        Offered (nobody there: SendFailed at the sender)
                body, transfer time                         ->  Take: Received, or Dropped and SendFailed
    Answered   <- delay + transfer time, lost | flipped               Reply

An attempt is settled once: by the first reply or broken connection that arrives, or by its deadline. Whatever comes
later is counted as "stale" and forgotten. The receiver does not learn of it: it may do all its work for a sender that
has given up, as in the world. A body of at most IN_FLIGHT_BYTES was on its way before its sender could go.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, Protocol

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CONTROL_BYTES_MAX, KIB
from p2pfl.core.party import (
    Answered,
    Asked,
    Dropped,
    Event,
    Offered,
    Received,
    Reply,
    ReplyToken,
    Send,
    SendFailed,
    Verdict,
)
from p2pfl.errors import Reject
from p2pfl.hosts.agenda import Agenda, Ticket
from p2pfl.hosts.faults import Dice, Faults, Line, flipped
from p2pfl.hosts.trace import Book
from p2pfl.wire.envelope import ChunkCheck, head_length, open_head

IN_FLIGHT_BYTES = 64 * KIB
"""What a network holds of a message that its sender no longer sends: a socket's buffers."""

_SCRIBBLE = b"\xdb"
Listener = Callable[[Verdict, bytes], None]


def require(law: bool, broken: str) -> None:
    """A Party broke the grammar of core/party.py: a bug to show at once, not a fault to simulate."""
    if not law:
        raise AssertionError(broken)


class Station(Protocol):
    """One life of a node, as the network sees it. `attempts` and `requests` are written by the Network only."""

    attempts: dict[int, "Attempt"]
    requests: dict[ReplyToken, "Request"]

    @property
    def node(self) -> NodeId: ...

    @property
    def dice(self) -> Dice: ...

    @property
    def is_open(self) -> bool:
        """Whether it takes events. Once false it stays so."""
        ...

    def deliver(self, event: Event) -> None:
        """Handle an event now, if it is open."""
        ...


@dataclass(slots=True, eq=False)
class Attempt:
    """One Send. `settled` is the law that it leads to exactly one event."""

    number: int
    sender: Station
    send: Send
    message: bytes
    sent_at: float
    expiry: Ticket | None = None
    settled: bool = False

    @property
    def is_abandoned(self) -> bool:
        return self.settled or not self.sender.is_open


@dataclass(slots=True, eq=False)
class Request:
    """One copy of an attempt at its receiver, or a local reader's question (no attempt)."""

    attempt: Attempt | None
    head: bytes = b""
    body: bytes = b""
    state: Literal["offered", "taken", "received"] = "offered"
    buffer: bytearray = field(default_factory=bytearray)
    listener: Listener | None = None


class Network:
    """Moves messages between stations over the agenda. Never calls a Party but from the agenda."""

    def __init__(self, agenda: Agenda, faults: Faults, book: Book, station: Callable[[NodeId], Station | None]) -> None:
        self._agenda = agenda
        self._faults = faults
        self._counts = book.counts
        self._station = station
        self._tokens = 0
        self._attempts = 0

    # ------------------------------------------------------------------------------------------ effects

    def send(self, sender: Station, send: Send, deadline: float) -> None:
        """`deadline` is the send's, on the world's clock."""
        require(isfinite(deadline), f"a Send to {send.to.hex()[:8]}.. needs a finite deadline, got {send.deadline}")
        now = self._agenda.now
        self._attempts += 1
        attempt = Attempt(self._attempts, sender, send, b"".join(send.data), now)
        sender.attempts[attempt.number] = attempt
        attempt.expiry = self._agenda.at(deadline, self._settle, attempt, SendFailed(send.key, "deadline"))
        self._counts["sent"] += 1
        line = self._faults.line(sender.node, send.to)
        passages = sender.dice.request(now, line)
        self._counts["duplicated"] += len(passages) - 1
        head_bytes = _head_bytes(attempt.message)
        on_the_way = line.transfer_s(head_bytes)
        for passage in passages:
            self._carry(line, head_bytes)
            if passage.lost:
                self._counts["requests_lost"] += 1
            else:
                self._agenda.after(passage.delay_s + on_the_way, self._arrive, attempt, passage.flip)

    def take(self, receiver: Station, token: ReplyToken) -> None:
        request = receiver.requests.get(token)
        require(request is not None and request.state == "offered", f"Take({token}): no request waits for it")
        assert request is not None
        require(request.attempt is not None, f"Take({token}): a question has no body")
        assert request.attempt is not None
        request.state = "taken"
        line = self._faults.line(request.attempt.sender.node, receiver.node)
        transfer_s = line.transfer_s(len(request.body))
        self._carry(line, len(request.body))
        self._agenda.after(transfer_s, self._body_in, receiver, token, request, self._agenda.now)

    def reply(self, receiver: Station, reply: Reply) -> None:
        request = receiver.requests.pop(reply.token, None)
        require(request is not None, f"Reply({reply.token}): no request waits for it")
        assert request is not None
        require(request.state != "taken", f"Reply({reply.token}): after a Take, wait for Received or Dropped")
        message = b"" if reply.verdict is Verdict.IGNORE else b"".join(reply.data)  # 204 has no content
        # The body's buffer is the host's again: whoever still reads it shall read rubbish.
        request.buffer[:] = _SCRIBBLE * len(request.buffer)
        if request.listener is not None:
            request.listener(reply.verdict, message)
        if request.attempt is None:
            return
        self._counts["replied"] += 1
        line = self._faults.line(receiver.node, request.attempt.sender.node)
        passage = receiver.dice.reply(self._agenda.now, line)
        self._carry(line, len(message))
        if passage.lost:
            self._counts["replies_lost"] += 1
            return
        if passage.flip is not None and message:
            message = flipped(message, _head_bytes(message), passage.flip)
            self._counts["corrupted"] += 1
        delay = passage.delay_s + line.transfer_s(len(message))
        answer = Answered(request.attempt.send.key, reply.verdict, message)
        self._agenda.after(delay, self._return, receiver.node, request.attempt, answer, self._agenda.now)

    # ------------------------------------------------------------------------------------------ from outside

    def ask(self, receiver: Station, what: str, listener: Listener) -> None:
        token = self._new_token(receiver, Request(None, listener=listener))
        receiver.deliver(Asked(token, what))

    def close(self, station: Station) -> None:
        """A node's process is gone: its sends are abandoned, its open connections break."""
        for attempt in station.attempts.values():
            if attempt.expiry is not None:
                self._agenda.cancel(attempt.expiry)
        for request in station.requests.values():
            if request.attempt is not None:
                self._fail(station.node, station.dice, request.attempt, "connection broken")
        station.attempts.clear()
        station.requests.clear()

    # ------------------------------------------------------------------------------------------ on the way

    def _arrive(self, attempt: Attempt, flip: float | None) -> None:
        here, there = attempt.sender.node, attempt.send.to
        if self._is_cut(here, there, attempt.sent_at):
            return
        receiver = self._station(there)
        if receiver is None or not receiver.is_open:
            self._counts["refused"] += 1
            self._fail(there, attempt.sender.dice, attempt, "connection refused")
            return
        message = attempt.message
        if flip is not None and message:
            message = flipped(message, _head_bytes(message), flip)
            self._counts["corrupted"] += 1
        try:
            cut = head_length(message)
            if cut > len(message):
                raise Reject("malformed", "the head ended early")
        except Reject as reject:
            # As a real host: what does not even begin like a message is refused without asking the Party.
            self._counts["malformed"] += 1
            self._fail(there, receiver.dice, attempt, str(reject))
            return
        token = self._new_token(receiver, Request(attempt, message[:cut], message[cut:]))
        receiver.deliver(Offered(token, message[:cut]))

    def _body_in(self, receiver: Station, token: ReplyToken, request: Request, taken_at: float) -> None:
        attempt = request.attempt
        if attempt is None or not receiver.is_open:
            return
        reason = self._body_fault(receiver.node, attempt, request, taken_at)
        if reason is None:
            request.state = "received"
            request.buffer, request.body = bytearray(request.body), b""
            receiver.deliver(Received(token, memoryview(request.buffer)))
            return
        del receiver.requests[token]
        self._counts["dropped"] += 1
        self._fail(receiver.node, receiver.dice, attempt, reason)
        receiver.deliver(Dropped(token, reason))

    def _body_fault(self, receiver: NodeId, attempt: Attempt, request: Request, taken_at: float) -> str | None:
        if len(request.body) > IN_FLIGHT_BYTES:
            if attempt.is_abandoned:
                return "the sender went away"
            if self._is_cut(attempt.sender.node, receiver, taken_at):
                return "the connection timed out"
        try:
            head = open_head(request.head)
            if head.body_len != len(request.body):
                raise Reject("malformed", f"expected a body of {head.body_len} bytes, got {len(request.body)}")
            check = ChunkCheck(head.chunks)
            check.feed(memoryview(request.body))
            check.finish()
        except Reject as reject:
            return str(reject)
        return None

    def _return(self, replier: NodeId, attempt: Attempt, event: Answered | SendFailed, since: float) -> None:
        """What the receiver's side says arrives at the sender."""
        if attempt.is_abandoned:
            self._counts["stale"] += 1
            return
        if self._is_cut(replier, attempt.sender.node, since):
            return
        if isinstance(event, Answered):
            limit = attempt.send.reply_limit if event.verdict is Verdict.ACCEPT else CONTROL_BYTES_MAX
            if len(event.data) > limit:
                event = SendFailed(event.key, f"expected a reply of at most {limit} bytes, got {len(event.data)}")
        self._settle(attempt, event)

    def _settle(self, attempt: Attempt, event: Answered | SendFailed) -> None:
        """The one event that a Send leads to."""
        if attempt.is_abandoned:
            return
        attempt.settled = True
        if attempt.expiry is not None:
            self._agenda.cancel(attempt.expiry)
        del attempt.sender.attempts[attempt.number]
        self._counts["answered" if isinstance(event, Answered) else "failed"] += 1
        attempt.sender.deliver(event)

    def _fail(self, where: NodeId, dice: Dice, attempt: Attempt, reason: str) -> None:
        """The news of a broken connection sets out."""
        event = SendFailed(attempt.send.key, reason)
        line = self._faults.line(where, attempt.sender.node)
        self._agenda.after(dice.delay(line), self._return, where, attempt, event, self._agenda.now)

    def _carry(self, line: Line, num_bytes: int) -> None:
        """Bytes that were put on a line of a kind; those that are lost later were put on it too."""
        if line.kind:
            self._counts[f"bytes_{line.kind}"] += num_bytes

    def _is_cut(self, a: NodeId, b: NodeId, since: float) -> bool:
        cut = self._faults.separated(a, b, since, self._agenda.now)
        self._counts["partitioned"] += cut
        return cut

    def _new_token(self, receiver: Station, request: Request) -> ReplyToken:
        self._tokens += 1
        token = ReplyToken(self._tokens)
        receiver.requests[token] = request
        return token


def _head_bytes(message: bytes) -> int:
    """How much of a message to count as head when a byte of it is to change; all of it if it is no envelope."""
    try:
        return min(head_length(message), len(message))
    except Reject:
        return len(message)
