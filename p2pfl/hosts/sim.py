"""Many Parties in one process, in virtual time, with faults. Knows the grammar of core/party.py; knows no algorithm.

Theory of operation
-------------------
A `Machine` is a node for good: its disk, its work, its draws. A `Life` is one run of its Party, from a Started to a
Stop or a crash. Everything that is to happen is a call on the agenda, a heap of (time, sequence, call). A Party is
called only from there, so `handle` is never re-entered; and since all chance comes from the seed, the same seed,
faults, durations and Parties give the same trace.

A Party that breaks the grammar (two Replies to one token, a Send without a deadline) ends the run with AssertionError.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from p2pfl.core import noise
from p2pfl.core.ids import NodeId, short
from p2pfl.core.party import Emit, Party, Put, Started, Stop, Stopping, Store, Verdict
from p2pfl.core.tasks import Work
from p2pfl.hosts.agenda import Agenda, Ticket
from p2pfl.hosts.faults import Crash, Dice, Faults
from p2pfl.hosts.life import Duration, Life, World, lanes
from p2pfl.hosts.links import Listener, Network
from p2pfl.hosts.trace import Book, Outcome, Trace

EVENTS_MAX = 10_000_000
"""A run's events, unless its caller sets another bound."""


@dataclass(slots=True, eq=False)
class Machine:
    """One node for good. `life` is None before the start, after a crash, and after Stop."""

    node: NodeId
    make_party: Callable[[], Party]
    work: Work
    make_store: Callable[[], Store]
    store: Store
    dice: Dice
    life: Life | None = None
    lives: int = 0
    party: Party | None = None
    stopped: Stop | None = None
    fate: Ticket | None = None
    copies: dict[Crash, list[Put]] = field(default_factory=dict)


class SimHost:
    """A world of Parties. Add machines, then run; a run that ended at a bound may be run on.

    persist_s: how long a commit takes. record: keep every event for `trace.replay`. on_emit: gets (world's time, node,
    Emit).
    """

    def __init__(
        self,
        seed: int,
        faults: Faults | None = None,
        duration: Duration | None = None,
        *,
        persist_s: float = 0.0,
        record: bool = False,
        on_emit: Callable[[float, NodeId, Emit], None] = lambda time, node, emit: None,
    ) -> None:
        self._seed = seed
        self._key = noise.root(seed)
        self._faults = faults or Faults()
        self._agenda = Agenda()
        self._book = Book(record)
        self._machines: dict[NodeId, Machine] = {}
        self._unfinished = 0  # machines that live or will live again
        network = Network(self._agenda, self._faults, self._book, self._life_of)
        self._world = World(self._agenda, network, self._book, duration or lanes(), persist_s, on_emit)

    def add(
        self,
        node: NodeId,
        make_party: Callable[[], Party],
        work: Work,
        make_store: Callable[[], Store],
        start: float = 0.0,
    ) -> None:
        """A machine whose first Party starts at `start`.

        `make_store` gives an empty store: the first disk, and the one that replaces a disk which a crash wiped or
        rolled back.
        """
        if node in self._machines:
            raise ValueError(f"node {short(node)} is there already")
        dice = Dice(self._faults, noise.derive(self._key, "faults", node))
        machine = Machine(node, make_party, work, make_store, make_store(), dice)
        self._machines[node] = machine
        self._unfinished += 1
        crashes = [crash for crash in self._faults.crashes if crash.node == node]
        for crash in crashes:
            if crash.disk == "rolled-back":
                self._agenda.at(crash.copied_at, self._copy_disk, machine, crash)
        self._agenda.at(start, self._start, machine)
        for crash in crashes:
            self._agenda.at(crash.at, self._doom, machine, crash)

    def stop(self, node: NodeId, at: float, reason: str = "asked to stop") -> None:
        """Somebody asks a node to end. Nothing comes of it if the node is down at that time."""
        self._agenda.at(at, self._ask_to_stop, self._machines[node], reason)

    def ask(self, node: NodeId, what: str, at: float, listener: Listener) -> None:
        """Somebody wants to know something; `listener` gets the verdict and the bytes (BUSY if the node is down)."""
        self._agenda.at(at, self._ask, self._machines[node], what, listener)

    def party(self, node: NodeId) -> Party | None:
        """A node's newest Party, also when it has stopped or crashed; None before its start."""
        return self._machines[node].party

    def store(self, node: NodeId) -> Store:
        """A node's disk. A crash that wipes it or rolls it back puts another one in its place."""
        return self._machines[node].store

    @property
    def now(self) -> float:
        """The world's clock."""
        return self._agenda.now

    def run(self, until: float = inf, max_events: int = EVENTS_MAX) -> Trace:
        """Go on until all Parties have ended, nothing is due any more, or a bound is hit; the trace says which.

        "stalled" (a live Party, and nothing that could ever wake it) is for the caller to judge: to some it is a bug.
        """
        events_max = self._book.handled + max_events
        try:
            while self._unfinished:
                due = self._agenda.next_time()
                if due is None:
                    return self._trace("stalled", self._book.last)
                if due > until:
                    self._agenda.skip_to(until)
                    return self._trace("until", until)
                if self._book.handled >= events_max:
                    return self._trace("events", self._book.last)
                self._agenda.step()
        except Exception as error:
            error.add_note(f"simulation of seed {self._seed}, after {self._book.handled} events")
            raise
        return self._trace("stopped", self._book.last)

    def _trace(self, outcome: Outcome, now: float) -> Trace:
        lives = [machine.life for machine in self._machines.values() if machine.life is not None]
        owed = {life.node: sum(r.state != "taken" for r in life.requests.values()) for life in lives}
        return Trace(
            outcome=outcome,
            now=now,
            digest=self._book.digest(),
            handled=self._book.handled,
            counts={name: count for name, count in sorted(self._book.counts.items()) if count},
            emitted=dict(sorted(self._book.emitted.items())),
            stopped={m.node: m.stopped for m in self._machines.values() if m.stopped is not None},
            live=tuple(life.node for life in lives),
            owed={node: count for node, count in owed.items() if count},
            events=self._book.events,
        )

    # ------------------------------------------------------------------------------------------ lives

    def _life_of(self, node: NodeId) -> Life | None:
        machine = self._machines.get(node)
        return machine.life if machine is not None else None

    def _start(self, machine: Machine) -> None:
        machine.lives += 1
        machine.party = machine.make_party()
        life = Life(
            self._world,
            machine.node,
            machine.party,
            machine.work,
            machine.store,
            machine.dice,
            lambda why: self._ended(machine, why),
        )
        machine.life = life
        self._book.counts["started"] += 1
        self._draw_fate(machine)
        entropy = noise.derive(self._key, "entropy", machine.node, machine.lives)
        life.deliver(Started(bytes(entropy), machine.store.load()))

    def _draw_fate(self, machine: Machine) -> None:
        drawn = machine.dice.crash(self._agenda.now)
        if drawn is not None:
            at, after_effects = drawn
            crash = Crash(machine.node, at, self._faults.restart_s, after_effects)
            machine.fate = self._agenda.at(at, self._doom, machine, crash)

    def _doom(self, machine: Machine, crash: Crash) -> None:
        if machine.life is not None:
            machine.life.doom(crash)

    def _ended(self, machine: Machine, why: Stop | Crash) -> None:
        machine.life = None
        if machine.fate is not None:
            self._agenda.cancel(machine.fate)
        if isinstance(why, Stop):
            machine.stopped = why
            self._unfinished -= 1
            return
        self._book.counts["crashed"] += 1
        if why.disk != "kept":
            machine.store.close()
            machine.store = machine.make_store()
        if why.disk == "rolled-back":
            machine.store.commit(machine.copies[why])
        if why.restart_after is None:
            self._unfinished -= 1
        else:
            self._agenda.after(why.restart_after, self._start, machine)

    def _copy_disk(self, machine: Machine, crash: Crash) -> None:
        spaces = machine.store.load().items()
        machine.copies[crash] = [Put(space, key, value) for space, rows in spaces for key, value in rows.items()]

    def _ask_to_stop(self, machine: Machine, reason: str) -> None:
        if machine.life is not None:
            machine.life.deliver(Stopping(reason))

    def _ask(self, machine: Machine, what: str, listener: Listener) -> None:
        if machine.life is None or not machine.life.is_open:
            listener(Verdict.BUSY, b"")
        else:
            self._world.network.ask(machine.life, what, listener)
