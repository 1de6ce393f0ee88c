"""All parties of a coordinated job in one process, in virtual time. Knows Peers and the simulated host; no cipher."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit, Stop
from p2pfl.hosts.faults import Faults
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.peer.peer import Peer
from p2pfl.runs.vertical import peer_of
from p2pfl.vertical.turns.answers import Answerer
from p2pfl.vertical.turns.coordinator import Coordinator
from p2pfl.vertical.turns.messages import Accord, AnswerWork, AskWork
from p2pfl.wire.envelope import Signs


@dataclass(frozen=True, slots=True, eq=False)
class Coordinated:
    """What came of it. `states`: each party's last state, the label holder's first."""

    metrics: dict[str, float | None]
    states: list[Any]
    stopped: dict[NodeId, Stop]
    emitted: list[tuple[NodeId, Emit]] = field(default_factory=list)
    bytes_sent: int = 0


def simulate(
    accord: Accord,
    signers: Sequence[Signs],
    asks: AskWork,
    answers: Sequence[AnswerWork],
    seed: int = 0,
    faults: Faults | None = None,
    until: float = 1e9,
) -> Coordinated:
    """`signers` and works in the order of the parties."""
    emitted: list[tuple[NodeId, Emit]] = []
    host = SimHost(seed, faults, on_emit=lambda _, node, emit: emitted.append((node, emit)))
    jobs: dict[int, Coordinator | Answerer] = {}

    def add(number: int, signer: Signs, work: Any) -> None:
        def party() -> Peer:
            jobs[number] = Answerer(accord, number, work) if number else Coordinator(accord, work)
            return peer_of(accord, signer, jobs[number])

        host.add(signer.node, party, work, MemoryStore)

    for number, (signer, work) in enumerate(zip(signers, (asks, *answers), strict=True)):
        add(number, signer, work)
    trace = host.run(until)
    hub = jobs[0]
    assert isinstance(hub, Coordinator)
    peers = [host.party(signer.node) for signer in signers]
    sent = sum(peer.traffic.sent for peer in peers if isinstance(peer, Peer))
    states = [jobs[number].state for number in sorted(jobs)]
    return Coordinated(hub.metrics, states, dict(trace.stopped), emitted, sent)
