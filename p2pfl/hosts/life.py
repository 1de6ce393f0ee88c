"""One run of one Party in virtual time: performs its effects. Knows no other node, and of a crash only its moment.

Where the laws of core/party.py leave a choice, it takes the one that hurts:

- Effects behind a Persist wait `persist_s` for the disk, those of other handles do not. Only a SetTimer does not wait:
  of two handles that set one key, the later one wins.
- A doomed life performs some effects of a handle and dies before the next, and with it dies what waits for the disk.
- A task's result is computed when it is due, not before. A life reads a clock of its own.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import assert_never

from p2pfl.core.ids import NodeId, short
from p2pfl.core.party import (
    Compute,
    Computed,
    Effect,
    Emit,
    Event,
    Failed,
    Lane,
    Locate,
    Party,
    Persist,
    Reply,
    ReplyToken,
    Send,
    SetTimer,
    Stop,
    Store,
    Take,
    Task,
    TimerFired,
)
from p2pfl.core.tasks import Work
from p2pfl.errors import P2PFLError
from p2pfl.hosts.agenda import Agenda, Ticket
from p2pfl.hosts.faults import Crash, Dice
from p2pfl.hosts.links import Attempt, Network, Request, require
from p2pfl.hosts.trace import Book

Duration = Callable[[NodeId, Task], float]
"""Virtual seconds that a task takes on a node."""


def lanes(train: float = 1.0, wire: float = 0.01) -> Duration:
    """The same time for every task of a lane."""
    return lambda _, task: train if task.lane == "train" else wire


def paced(duration: Duration, factors: Mapping[NodeId, float]) -> Duration:
    """`duration` times each node's own factor: 2.0 is a machine half as fast; 1.0 if it is not listed."""
    return lambda node, task: duration(node, task) * factors.get(node, 1.0)


@dataclass(frozen=True, slots=True)
class World:
    """What all lives share."""

    agenda: Agenda
    network: Network
    book: Book
    duration: Duration
    persist_s: float
    on_emit: Callable[[float, NodeId, Emit], None]


class Life:
    """From a Started to a Stop or a crash: `on_end` is called once with which of them, when nothing is left to do."""

    def __init__(
        self,
        world: World,
        node: NodeId,
        party: Party,
        work: Work,
        store: Store,
        dice: Dice,
        on_end: Callable[[Stop | Crash], None],
    ) -> None:
        self.node = node
        self.dice = dice
        self.is_open = True
        self.attempts: dict[int, Attempt] = {}
        self.requests: dict[ReplyToken, Request] = {}
        self._world = world
        self._party = party
        self._work = work
        self._store = store
        self._on_end = on_end
        self._skew_s = dice.skew()
        self._timers: dict[Hashable, Ticket] = {}
        self._queues: dict[Lane, deque[Task]] = {"train": deque(), "wire": deque()}
        self._running: dict[Lane, Ticket] = {}
        self._at_disk: dict[int, Ticket] = {}  # the rests of handles that wait for the disk
        self._lists = 0
        self._stop: Stop | None = None
        self._doom: Crash | None = None
        self._over = False

    def deliver(self, event: Event) -> None:
        """Handle an event now, if this life is open. Called from the agenda only."""
        if not self.is_open:
            return
        time = self._world.agenda.now
        now = time + self._skew_s
        self._world.book.note(self.node, time, now, event)
        try:
            self._perform(self._up_to_doom(self._party.handle(event, now)))
        except Exception as error:
            error.add_note(f"node {short(self.node)}, {type(event).__name__} at {time}")
            raise

    def doom(self, crash: Crash) -> None:
        """Die now, or in the middle of the next handle that has enough effects."""
        if crash.after_effects is None:
            self._end(crash)
        else:
            self._doom = crash

    # ------------------------------------------------------------------------------------------ effects

    def _up_to_doom(self, effects: list[Effect]) -> Sequence[Effect | Crash]:
        crash = self._doom
        if crash is None or crash.after_effects is None or len(effects) <= crash.after_effects:
            return effects
        self._doom = None
        return [*effects[: crash.after_effects], crash]

    def _perform(self, effects: Sequence[Effect | Crash]) -> None:
        for index, effect in enumerate(effects):
            if isinstance(effect, Persist) and self._world.persist_s > 0:
                self._wait_for_disk(effects[index:])
                return
            self._apply(effect)
        self._end_if_stopped()

    def _wait_for_disk(self, effects: Sequence[Effect | Crash]) -> None:
        """The rest of a handle's effects, from its first Persist on; its Persists share one commit."""
        for effect in effects:
            if isinstance(effect, SetTimer):
                self._apply(effect)
        self._lists += 1
        ticket = self._world.agenda.after(self._world.persist_s, self._durable, self._lists, effects)
        self._at_disk[self._lists] = ticket

    def _durable(self, number: int, effects: Sequence[Effect | Crash]) -> None:
        del self._at_disk[number]
        for effect in effects:
            if not isinstance(effect, SetTimer):
                self._apply(effect)
        self._end_if_stopped()

    def _apply(self, effect: Effect | Crash) -> None:
        world = self._world
        match effect:
            case Send():
                world.network.send(self, effect, effect.deadline - self._skew_s)
            case Take(token):
                world.network.take(self, token)
            case Reply():
                world.network.reply(self, effect)
            case SetTimer(key, at):
                self._set_timer(key, at)
            case Compute(task):
                self._enqueue(task)
            case Persist(puts):
                world.book.counts["persisted"] += 1
                self._store.commit(puts)
            case Emit(name):
                world.book.emitted[name] += 1
                world.on_emit(world.agenda.now, self.node, effect)
            case Locate():
                world.book.counts["located"] += 1  # here everybody is found by name
            case Stop():
                require(self._stop is None, "a second Stop")
                self._stop, self.is_open = effect, False
            case Crash():
                self._end(effect)
            case _:
                assert_never(effect)

    # ------------------------------------------------------------------------------------------ the end

    def _end_if_stopped(self) -> None:
        """A Stop waits for the effects of all handles that wait for the disk."""
        if self._stop is not None and not self._at_disk:
            self._end(self._stop)

    def _end(self, why: Stop | Crash) -> None:
        """Nothing of this life happens any more; replies that have left will arrive."""
        if self._over:
            return
        self._over, self.is_open = True, False
        for ticket in (*self._timers.values(), *self._running.values(), *self._at_disk.values()):
            self._world.agenda.cancel(ticket)
        self._world.network.close(self)
        self._on_end(why)

    # ------------------------------------------------------------------------------------------ timers and tasks

    def _set_timer(self, key: Hashable, at: float) -> None:
        old = self._timers.pop(key, None)
        if old is not None:
            self._world.agenda.cancel(old)
        if at == inf:
            return
        self._timers[key] = self._world.agenda.at(at - self._skew_s, self._fire, key)

    def _fire(self, key: Hashable) -> None:
        del self._timers[key]
        self.deliver(TimerFired(key))

    def _enqueue(self, task: Task) -> None:
        queue = self._queues[task.lane]
        queue.append(task)
        if len(queue) == 1:
            self._begin(task)

    def _begin(self, task: Task) -> None:
        seconds = self._world.duration(self.node, task)
        require(isfinite(seconds) and seconds >= 0, f"a task's duration must be 0 or more seconds, got {seconds}")
        self._running[task.lane] = self._world.agenda.after(seconds, self._finish, task)

    def _finish(self, task: Task) -> None:
        queue = self._queues[task.lane]
        queue.popleft()
        del self._running[task.lane]
        if queue:
            self._begin(queue[0])
        if self.is_open:
            self.deliver(_outcome(self._work, task))


def _outcome(work: Work, task: Task) -> Computed | Failed:
    """As every executor: whatever a task raises becomes its Failed."""
    try:
        return Computed(task, work.run(task))
    except P2PFLError as error:
        text = str(error)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    return Failed(task, text.partition("\n")[0])
