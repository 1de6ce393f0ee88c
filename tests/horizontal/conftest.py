"""Gossip nodes with a learner that costs nothing, and a wire between two of them that does its worst."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from p2pfl.compress import DeadZone, Int8
from p2pfl.core import noise
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.core.party import Emit
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.horizontal.gossip import Gossip
from p2pfl.horizontal.model.work import Applied, Apply, GossipWork
from p2pfl.horizontal.plan import Plan
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.hosts.faults import Faults
from p2pfl.hosts.life import lanes, paced
from p2pfl.hosts.sim import SimHost
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Evaluation, Trained
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.mixing import Average, Pairwise
from p2pfl.peer.peer import Peer
from p2pfl.wire.keyfile import Signer

SCHEMA = ParamSchema((ParamSpec("w", (40,), "weights"), ParamSpec("b", (8,), "buffers")))
"""P = 48, with buffers, so that every message has two sections."""

NETWORK = bytes(range(32))
LR = 0.1


@dataclass(frozen=True, eq=False)
class Wanderer:
    """A learner on |x - target|^2 / 2 with noise that depends on (key, step) alone."""

    target: Tensor
    spread: float = 1.0
    schema: ParamSchema = SCHEMA

    def start(self) -> Tensor:
        return torch.linspace(-1.0, 1.0, SCHEMA.size)

    def start_digest(self) -> bytes:
        return bytes(32)

    def init(self, x: Tensor) -> OptState:
        return OptState(0, {"seen": torch.zeros_like(x)})

    def lr_at(self, round: int) -> float:
        return LR

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        lengths, seen = [], state.slots["seen"]
        for step in range(state.steps, state.steps + steps):
            draw = noise.generator(noise.derive(key, step)).standard_normal(SCHEMA.size, dtype="float32")
            g = x - self.target + self.spread * torch.from_numpy(draw)
            lengths.append(float(torch.linalg.vector_norm(g)))
            x = x - LR * (weight * g if shift is None else weight * g + shift)
            seen = seen + g
        after = OptState(state.steps + steps, {"seen": seen})
        return Trained(x, after, LR * steps, tuple(lengths), 0.5 * lengths[-1] ** 2, steps, None)

    def evaluate(self, x: Tensor, split: str) -> Evaluation:
        return Evaluation(float((x - self.target).square().sum()), None, 1)

    def num_samples(self, split: str) -> int:
        return 1


class Watched(GossipWork):
    """Remembers every exchange that it mixed: at an end and position, what was said by whom, and the move."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.mixed: dict[tuple[Any, ...], Tensor] = {}

    def apply(self, task: Apply) -> Applied:
        applied = super().apply(task)
        edge: Any = task.op
        said = (edge.pending.body if edge.pending else b"", bytes(task.body))
        self.mixed[edge.peer, edge.epoch, edge.seq, *said] = applied.mixed.move
        return applied


@dataclass(eq=False)
class Node:
    """One machine for good: its key, and how to make its Party anew."""

    signer: Signer
    plan: Plan
    work: Watched

    @property
    def id(self) -> NodeId:
        return self.signer.node

    def job(self) -> Gossip:
        return Gossip(self.plan, self.work)

    def party(self) -> Peer:
        job = self.job()
        return Peer(self.signer, NETWORK, self.plan.recipe.digest, self.plan.nb.neighbours, job, "node")


SIGNERS = tuple(sorted((Signer(bytes([i]) * 32) for i in range(1, 9)), key=lambda s: s.node))
"""In the order of their ids: 0 begins the epochs of the edge to 1."""


@dataclass(eq=False)
class Kit:
    """What the tests share."""

    schema: ParamSchema = SCHEMA
    network: bytes = NETWORK
    signers: tuple[Signer, ...] = SIGNERS
    Watched: type[Watched] = Watched
    Wanderer: type[Wanderer] = Wanderer
    recipe: Recipe = field(
        default_factory=lambda: Recipe(
            NETWORK, SCHEMA.digest, bytes(32), bytes(32), ("pairwise",), ("deadzone",), "async", 10**6
        )
    )

    def nodes(self, edges: list[tuple[int, int]], rule: Pairwise | Average | None = None, **plan: Any) -> list[Node]:
        """Nodes over these edges. `plan` overrides Plan's fields, and `mode`, `rounds` of the recipe."""
        count = 1 + max((end for edge in edges for end in edge), default=0)
        recipe = replace(self.recipe, **{k: plan.pop(k) for k in ("mode", "rounds", "mixer") if k in plan})
        return [self._node(index, count, edges, rule or Pairwise(), recipe, plan) for index in range(count)]

    def _node(
        self,
        index: int,
        count: int,
        edges: list[tuple[int, int]],
        rule: Pairwise | Average,
        recipe: Recipe,
        plan: dict[str, Any],
    ) -> Node:
        ids = [signer.node for signer in SIGNERS]
        others = sorted({a + b - index for a, b in edges if index in (a, b)})
        partners = tuple(ids[a + b - index] if index in (a, b) else None for a, b in edges)
        weights = {ids[other]: 1.0 / count for other in others}
        nb = Neighbourhood(
            ids[index],
            tuple(ids[o] for o in others),
            weights,
            float(len(others)),
            partners,
            tuple(ids[:count]),
            around={ids[o]: tuple(sorted(ids[a + b - o] for a, b in edges if o in (a, b))) for o in others},
        )
        defaults: dict[str, Any] = {
            "steps": 2,
            "timeout_s": 2.0,
            "gather_s": 5.0,
            "window": 3,
            "eval_every": 0,
            "codec_name": "deadzone",
        }
        learner = Wanderer(torch.full((SCHEMA.size,), 2.0 * index))
        work = Watched(learner, DeadZone(), rule, Int8(16))
        return Node(SIGNERS[index], Plan(recipe=recipe, nb=nb, **{**defaults, **plan}), work)

    def simulate(
        self,
        nodes: list[Node],
        faults: Faults | None = None,
        absent: tuple[int, ...] = (),
        slow: Mapping[NodeId, float] | None = None,
    ) -> tuple[SimHost, list[tuple[float, NodeId, Emit]]]:
        """A world in virtual time, and what it emits. `absent`: never come. `slow`: take so many times longer."""
        emitted: list[tuple[float, NodeId, Emit]] = []

        def take(time: float, node: NodeId, emit: Emit) -> None:
            emitted.append((time, node, emit))

        host = SimHost(7, faults or Faults(), paced(lanes(0.02, 0.001), slow or {}), on_emit=take)
        for index, node in enumerate(nodes):
            if index not in absent:
                host.add(node.id, node.party, node.work, MemoryStore)
        return host, emitted

    @staticmethod
    def times(emitted: list[tuple[float, NodeId, Emit]], name: str) -> dict[NodeId, float]:
        """When each node last emitted that."""
        return {node: time for time, node, emit in emitted if emit.name == name}


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
