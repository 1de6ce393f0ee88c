"""A vertical job's parties as Peers, and all of them in one process in virtual time. Knows plans, tables and hosts.

The wire lets a Peer hear the messages of gossip; `VerticalDoor` lets it hear those of a vertical job instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit, Stop
from p2pfl.errors import ConfigError, Reject
from p2pfl.hosts.faults import Faults
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.peer.door import Door
from p2pfl.peer.peer import Peer, RunsHere
from p2pfl.privacy.accountant import gaussian_epsilon
from p2pfl.vertical.data.leaks import LabelLeak
from p2pfl.vertical.data.protect import LABEL_SENSITIVITY, SENSITIVITY
from p2pfl.vertical.split.feature import FeatureHolder
from p2pfl.vertical.split.label import LabelHolder
from p2pfl.vertical.split.messages import Cut
from p2pfl.vertical.split.parties import Circle, as_message
from p2pfl.vertical.split.plan import Plan
from p2pfl.vertical.split.work import FeatureWork, LabelWork
from p2pfl.wire.envelope import Head, Signs
from p2pfl.wire.messages import MemberTalk, Message, Parcel


class VerticalDoor(Door):
    """Admits the messages of a vertical job, and parcels of the ledger."""

    def _check(self, head: Head) -> Message | Parcel | MemberTalk:
        if head.kind == Parcel.KIND:
            return super()._check(head)
        if not head.authentic():
            raise Reject("signature", "not signed by its author")
        if head.kind != Cut.KIND:
            raise Reject("kind", f"a vertical job speaks {Cut.KIND!r} only")
        cut = Cut.from_fields(head.fields)
        if cut.to != self.me:
            raise Reject("not-for-me", "meant for another node")
        return as_message(cut)


def peer_of(circle: Circle, signer: Signs, job: RunsHere) -> Peer:
    """The Party of one machine. ConfigError if the key is of no party."""
    others = frozenset(key for _, key in circle.parties if key != signer.node)
    if len(others) == len(circle.parties):
        raise ConfigError(f"job {circle.name}: the key file's key {signer.node.hex()} belongs to none of its parties")
    door = VerticalDoor(signer.node, circle.digest, others)
    return Peer(signer, circle.digest, circle.digest, others, job, circle.name_of(signer.node), door=door)


@dataclass(frozen=True, slots=True)
class Privacy:
    """What a run cost, for one row, over all steps. label: to all feature holders together; feature: of each one."""

    label_epsilon: float
    feature_epsilon: float
    delta: float


def privacy_of(plan: Plan) -> Privacy:
    """Gradients leave once an epoch for each row trained on; embeddings too (a row held out is embedded once)."""
    epochs, delta = plan.schedule.epochs, plan.delta
    label = gaussian_epsilon(LABEL_SENSITIVITY, plan.gradients.noise, epochs, delta)
    feature = gaussian_epsilon(SENSITIVITY, plan.embeddings.noise, epochs, delta)
    return Privacy(label, feature, delta)


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """What came of a simulated job. `leaks` by feature holder, measured on what was sent."""

    metrics: dict[str, float | None]
    scores: NDArray[np.float32]
    leaks: dict[str, LabelLeak | None]
    parts: dict[NodeId, bytes]
    stopped: dict[NodeId, Stop]
    emitted: list[tuple[NodeId, Emit]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def simulate(
    plan: Plan,
    signers: Sequence[Signs],
    features: Sequence[NDArray[np.float32]],
    labels: NDArray[np.int64],
    seed: int = 0,
    faults: Faults | None = None,
    until: float = 1e9,
) -> Simulated:
    """All parties in virtual time; `features` (n, F_p) by party, the label holder's first, rows aligned."""
    emitted: list[tuple[NodeId, Emit]] = []
    host = SimHost(seed, faults, on_emit=lambda _, node, emit: emitted.append((node, emit)))
    tensors = [torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in features]
    label_work = LabelWork(plan, tensors[0], labels)
    newest: dict[NodeId, Any] = {}

    def add(index: int, signer: Signs) -> None:
        work: Any = label_work if index == 0 else FeatureWork(plan, signer.node, tensors[index])

        def party() -> Peer:
            job: Any = LabelHolder(plan, work) if index == 0 else FeatureHolder(plan, work)
            newest[signer.node] = job
            return peer_of(plan, signer, job)

        host.add(signer.node, party, work, MemoryStore)

    for index, signer in enumerate(signers):
        add(index, signer)
    trace = host.run(until)
    holder = newest[plan.label_holder]
    leaks = {plan.name_of(node): meter.report() for node, meter in label_work.leaks.items()}
    parts = {node: job.part.x.numpy().tobytes() for node, job in newest.items()}
    return Simulated(holder.metrics, holder.scores, leaks, parts, dict(trace.stopped), emitted, dict(trace.counts))
