"""Networks of nodes that learn nothing and watch each other, in virtual time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.core.party import (
    Answered,
    Emit,
    Offered,
    Put,
    Reply,
    ReplyToken,
    Send,
    SendFailed,
    Started,
    Stop,
    Stopping,
    Store,
)
from p2pfl.hosts.faults import Faults
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.membership.bounds import Pace
from p2pfl.membership.watch import Charter
from p2pfl.peer.peer import Peer
from p2pfl.peer.registrar import Registrar
from p2pfl.wire.keyfile import Signer
from p2pfl.wire.post import JobEffect, Members

NET, RECIPE = bytes(range(32)), bytes([7]) * 32


def signer(number: int) -> Signer:
    return Signer(bytes([number % 256, number // 256, 9]) + bytes(29))


@dataclass(eq=False)
class Onlooker:
    """A job that does nothing but remember the views it is told, until it is asked to stop."""

    views: list[Members] = field(default_factory=list)

    def handle(self, event: Any, now: float) -> list[JobEffect]:
        if isinstance(event, Members):
            self.views.append(event)
        return [Stop(0, event.reason)] if isinstance(event, Stopping) else []

    def status(self) -> dict[str, Any]:
        return {}


class NoWork:
    def run(self, task: Any) -> Any:
        raise AssertionError(task)


@dataclass(eq=False)
class Net:
    """Nodes 0 to `num` - 1 are listed; `add` brings others, or changes what a node says of itself."""

    num: int
    seed: int = 1
    faults: Faults = field(default_factory=Faults)
    mode: Any = "listed"
    pace: Pace = field(default_factory=lambda: Pace(grace_s=20.0))
    authorities: frozenset[NodeId] = frozenset()
    emitted: list[tuple[float, NodeId, Emit]] = field(default_factory=list)

    net = NET
    signer = staticmethod(signer)

    @staticmethod
    def key(number: int) -> NodeId:
        return signer(number).node

    def __post_init__(self) -> None:
        self.listed = {signer(i).node: i for i in range(self.num)}
        self._tokens = count()
        self.host = SimHost(self.seed, self.faults, on_emit=lambda t, node, emit: self.emitted.append((t, node, emit)))
        self.peers: dict[NodeId, Peer] = {}
        self.jobs: dict[NodeId, Onlooker] = {}

    def charter(self, number: int, seeds: Iterable[int] | None = None, **more: Any) -> Charter:
        near = range(self.num) if seeds is None else seeds
        urls: Mapping[NodeId, tuple[str, ...]] = {signer(i).node: (f"http://node{i}:1",) for i in near if i != number}
        charter = Charter(
            NET,
            (f"http://node{number}:1",),
            urls,
            frozenset(self.listed),
            self.mode,
            self.authorities,
            pace=self.pace,
        )
        return replace(charter, **more)

    def add(self, number: int, start: float = 0.0, seeds: Iterable[int] | None = None, **more: Any) -> NodeId:
        key = signer(number)
        charter = self.charter(number, seeds, **more)

        def make() -> Peer:
            job = self.jobs[key.node] = Onlooker()
            peer = Peer(key, NET, RECIPE, [], job, str(number), registrar=Registrar(charter, key))
            self.peers[key.node] = peer
            return peer

        self.host.add(key.node, make, NoWork(), MemoryStore, start)
        return key.node

    def add_all(self) -> "Net":
        for number in range(self.num):
            self.add(number)
        return self

    def run(self, until: float) -> Any:
        return self.host.run(until)

    def alive(self, number: int) -> set[int]:
        """Whom a node counts at this moment, by number; of those beyond 999 nothing is known."""
        numbers = {signer(i).node: i for i in range(200)}
        watch = self.watch(number)
        return {numbers[node] for node in watch.views.alive}

    def watch(self, number: int) -> Any:
        registrar = self.peers[signer(number).node].registrar
        assert registrar is not None
        return registrar.watch

    def life(self, number: int) -> Any:
        """The present run of a node's Party; None if it is over."""
        return self.host._machines[signer(number).node].life

    def second_life(self, number: int, url: str) -> str | None:
        """Another machine starts with a node's key, and asks node 0 to let it in: why it stops, if it does."""
        key, now = signer(number), self.host.now
        twin = Peer(
            key, NET, RECIPE, [], Onlooker(), "twin", registrar=Registrar(self.charter(number, [0], urls=(url,)), key)
        )
        waiting = [effect for effect in twin.handle(Started(bytes([5]) * 32), now) if isinstance(effect, Send)]
        for _ in range(8):
            if not waiting:
                return None
            send = waiting.pop(0)
            if send.to != signer(0).node:
                continue
            for effect in twin.handle(self._deliver(send, 0, now), now):
                if isinstance(effect, Stop):
                    return effect.reason
                if isinstance(effect, Send):
                    waiting.append(effect)
        return None

    def _deliver(self, send: Send, to: int, now: float) -> Answered | SendFailed:
        """A message from outside the simulated world, and what a node there answers."""
        peer, token = self.peers[signer(to).node], ReplyToken(1_000_000 + len(self.emitted) + next(self._tokens))
        if self.life(to) is None:
            return SendFailed(send.key, "connection refused")
        effects = peer.handle(Offered(token, b"".join(map(bytes, send.data))), now)
        while True:
            self.emitted += [(now, signer(to).node, e) for e in effects if isinstance(e, Emit)]
            for effect in effects:
                if isinstance(effect, Reply) and effect.token == token:
                    return Answered(send.key, effect.verdict, b"".join(map(bytes, effect.data)))
            (ask,) = [e for e in effects if isinstance(e, Send)]
            number = next(i for i in range(200) if signer(i).node == ask.to)
            effects = peer.handle(self._deliver(ask, number, now), now)

    def puts(self, number: int) -> list[Put]:
        store: Store = self.host.store(signer(number).node)
        return [Put(space, k, v) for space, rows in store.load().items() for k, v in rows.items()]

    def said(self, name: str) -> list[tuple[float, NodeId, Emit]]:
        return [row for row in self.emitted if row[2].name == name]


@pytest.fixture
def network() -> type[Net]:
    return Net
