"""One Peer with a job that takes every message, and what others could send it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2pfl.core.party import Compute, Offered, Reply, ReplyToken, Started, Verdict
from p2pfl.peer.door import refusal_code
from p2pfl.peer.peer import Peer
from p2pfl.wire.envelope import seal
from p2pfl.wire.keyfile import Signer
from p2pfl.wire.messages import Bye, Edge
from p2pfl.wire.post import JobEffect, Knock

NET, RECIPE = bytes(range(32)), bytes([7]) * 32


@dataclass(eq=False)
class Recorder:
    """A job that does what it was told beforehand, event by event, and remembers what it saw."""

    effects: deque[list[JobEffect]] = field(default_factory=deque)
    seen: list[Any] = field(default_factory=list)

    def handle(self, event: Any, now: float) -> list[JobEffect]:
        self.seen.append(event)
        if isinstance(event, Started):
            return []
        return self.effects.popleft() if self.effects else []

    def status(self) -> dict[str, Any]:
        return {"phase": "test"}

    def knocks(self) -> list[Knock]:
        return [event for event in self.seen if isinstance(event, Knock)]


@dataclass(eq=False)
class Gate:
    """`me` is the node; `friend` and `second` are its neighbours; `stranger` is not."""

    me: Signer = field(default_factory=lambda: Signer(bytes([1]) * 32))
    friend: Signer = field(default_factory=lambda: Signer(bytes([2]) * 32))
    second: Signer = field(default_factory=lambda: Signer(bytes([3]) * 32))
    stranger: Signer = field(default_factory=lambda: Signer(bytes([4]) * 32))
    net: bytes = NET
    recipe: bytes = RECIPE

    def peer(self, job: Any = None, recipe: bytes = RECIPE) -> Peer:
        """Started on an empty disk."""
        peer = self.fresh(job, recipe)
        peer.handle(Started(bytes(32)), 0.0)
        return peer

    def fresh(self, job: Any = None, recipe: bytes = RECIPE) -> Peer:
        neighbours = [self.friend.node, self.second.node]
        return Peer(self.me, NET, recipe, neighbours, job if job is not None else Recorder(), "me")

    def sealed(self, message: Any, signer: Signer | None = None, net: bytes = NET, body: bytes = b"") -> bytes:
        parts = seal(signer or self.friend, net, message.KIND, message.to_fields(), (body,) if body else ())
        return b"".join(map(bytes, parts))

    def hello(self, to: bytes | None = None) -> Edge:
        return Edge(RECIPE, self.me.node if to is None else to, "hello", 0, 0)

    def bye(self) -> Bye:
        return Bye(RECIPE, self.me.node, 3)

    def offer(self, peer: Peer, raw: bytes, token: int = 1) -> list[Any]:
        return peer.handle(Offered(ReplyToken(token), raw), 1.0)

    @staticmethod
    def refused(effects: list[Any]) -> tuple[Verdict, str]:
        """The only Reply among effects, and the code in it."""
        (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
        assert not any(isinstance(effect, Compute) for effect in effects)
        return reply.verdict, refusal_code(b"".join(map(bytes, reply.data)))


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def job() -> Recorder:
    return Recorder()
