"""Runs one Party in the world: HTTP, threads, a disk, a clock. Knows events and effects; knows no algorithm.

Theory of operation
-------------------
`step` is the only way to the Party: it hands over one event and performs the effects that come back. It runs on the
event loop's thread, called by requests, timers and finished work, never from within itself, because no effect answers
while it is performed.

A list of effects without a Persist is performed at once. In a list with one, what precedes it is performed at once, and
the rest becomes a small task that waits for the disk; lists of other handles do not wait for it. Three things make the
Party's laws hold under that:

- all Persists of a list join the commit queue inside `step`, so the disk sees them in the order of the handles;
- what follows a Persist in its list is performed after it is durable, so what a peer hears has been remembered;
- timers are set inside `step` even behind a Persist: nobody outside sees them, and a later handle that replaces the key
  must win.

Work has two threads, "train" and "wire", the store has a third. The host ends when the Party says Stop: it finishes
what is being written, cancels the rest and leaves no task, thread or socket.
"""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Hashable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from typing import Any, assert_never

from p2pfl.core.ids import NodeId
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
    Restored,
    Send,
    SetTimer,
    Started,
    Stop,
    Stopping,
    Store,
    Take,
    Task,
    TimerFired,
)
from p2pfl.core.tasks import Work
from p2pfl.errors import P2PFLError
from p2pfl.hosts.buffers import BufferPool
from p2pfl.hosts.client import Client, one_line
from p2pfl.hosts.commit import Committer
from p2pfl.hosts.gate import Gate
from p2pfl.hosts.intake import Intake
from p2pfl.hosts.pickup import Pickup
from p2pfl.hosts.places import Places
from p2pfl.hosts.pull import Puller
from p2pfl.hosts.reach import Reach
from p2pfl.hosts.server import Page, Read, Server
from p2pfl.hosts.settings import HttpSettings
from p2pfl.hosts.tls import server_context
from p2pfl.hosts.worker import Worker

INTERRUPTED = 130
"""The Stop code after a second stop()."""

_STOP_KEY = object()


class HttpHost:
    """One Party on one address. Raises HostError from `run` for what the machine refuses (port, disk).

    `addresses` are base URLs ("https://host:port"), "none" for a node that fetches; `listen` is None for a host that
    does not. The store is used by one thread of the host, not by the caller's. `read` gives the pieces below
    /v1/ledger/, `pages` small pages by path (server.py). `on_emit` and `on_listening` (the port) are called on the loop
    and must not block.
    """

    def __init__(
        self,
        party: Party,
        work: Work,
        store: Store,
        addresses: Mapping[NodeId, str],
        listen: tuple[str, int] | None,
        entropy: bytes,
        on_emit: Callable[[Emit], None],
        *,
        on_listening: Callable[[int], None] = lambda port: None,
        settings: HttpSettings | None = None,
        read: Read | None = None,
        pages: Mapping[str, Page] | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._party = party
        self._work = work
        self._store = store
        self._addresses = addresses
        self._listen = listen
        self._entropy = entropy
        self._on_emit = on_emit
        self._on_listening = on_listening
        self._settings = settings or HttpSettings()
        self._read = read
        self._pages = pages
        self._reach = reach or Reach()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows: set[asyncio.Task[None]] = set()  # those of _tasks that wait for the disk
        self._stops: list[str] = []  # what stop() was called with; the second call means: at once
        self._hurry: asyncio.Future[None] | None = None
        self._puller: Puller | None = None
        self._live = False  # the Party may be stepped
        self._inside = False
        self.port = 0

    async def run(self) -> Stop:
        """Until the Party's Stop, which is returned. Call it once."""
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[Stop] = self._loop.create_future()
        self._hurry = self._loop.create_future()
        async with AsyncExitStack() as stack:
            await self._open(stack, self._hurry)
            async with asyncio.TaskGroup() as self._group:
                try:
                    await self._live_on(self._hurry)
                finally:
                    self._close()
        return self._end.result()

    def stop(self, reason: str = "asked to stop") -> None:
        """Asks the Party to finish; called again, ends the host at once. On the loop's thread (a signal handler).

        A task that is already at work cannot be interrupted: its thread ends when the task does, and the process then.
        """
        self._stops.append(reason)
        if len(self._stops) == 1:
            self._ask_to_stop()
        elif self._hurry is not None and not self._hurry.done():
            self._hurry.set_result(None)
            self._finish(Stop(INTERRUPTED, "interrupted"))

    @property
    def answered_with(self) -> Mapping[tuple[str, int], int]:
        """Requests so far, by path and status."""
        return self._server.answered_with if self.port else {}

    def step(self, event: Event) -> None:
        """Advances the Party by one event and performs what it wants. Does nothing once the Party has stopped."""
        if not self._live or self._end.done():
            return
        assert not self._inside, "an effect answered while it was performed"
        self._inside = True
        try:
            self._perform(self._party.handle(event, self._loop.time()))
        except Exception as error:  # the outermost loop: a Party that raises ends its host, whoever called
            self._fail(error)
        finally:
            self._inside = False

    # ------------------------------------------------------------------------------------------ from begin to end

    async def _open(self, stack: AsyncExitStack, hurry: asyncio.Future[None]) -> None:
        """Everything that must be closed again, in the reverse order: sockets, then threads, the disk last."""
        settings, reach, pool = self._settings, self._reach, BufferPool(self._settings.pool_bytes)
        disk = Worker("p2pfl-store")
        stack.push_async_callback(self._close_store, disk)
        self._restored: Restored = await disk.submit(self._store.load)
        self._committer = Committer(self._store, disk)
        self._lanes: dict[Lane, Worker] = {"train": Worker("p2pfl-train"), "wire": Worker("p2pfl-wire")}
        for lane in self._lanes.values():
            stack.push_async_callback(lane.close, settings.drain_s, hurry)
        places = self._places = Places(self._addresses)
        gate = self._gate = Gate(settings)
        self._intake = Intake(self.step, pool, gate, settings)
        self._pickup = None if self._listen is None else Pickup(reach, places, self._intake, settings)
        deliver = None if self._pickup is None or reach.fetches else self._pickup.deliver
        self._client = await stack.enter_async_context(Client(places, pool, settings, reach.plain, deliver))
        if reach.fetches:
            self._puller = Puller(reach, self._client, self._intake, settings, self._spawn)
        if self._listen is not None:
            tls = None if (certificate := reach.certificate) is None else server_context(certificate)
            server = Server(
                self._listen, self.step, self._intake, gate, settings, self._read, self._pages, tls, self._pickup
            )
            self._server = await stack.enter_async_context(server)
            self.port = server.port
        self._on_listening(self.port)

    async def _live_on(self, hurry: asyncio.Future[None]) -> None:
        self._spawn(self._committer.run)
        self._spawn(self._tell_of_strangers)
        self._live = True
        self._intake.is_open = True
        self.step(Started(self._entropy, self._restored))
        del self._restored
        if self._stops:
            self._ask_to_stop()
        await asyncio.wait({self._end})
        self._intake.refuse()
        if self._end.exception() is None:
            await self._drain(hurry)

    async def _drain(self, hurry: asyncio.Future[None]) -> None:
        """Waits for replies and Persists on their way; not for ever, and not after a second stop()."""
        answered = self._spawn(self._intake.answered)
        leaving: asyncio.Future[Any] = asyncio.gather(answered, *self._flows, return_exceptions=True)
        await asyncio.wait({leaving, hurry}, timeout=self._settings.drain_s, return_when=asyncio.FIRST_COMPLETED)

    def _close(self) -> None:
        self._live = False
        for task in self._tasks:
            task.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def _close_store(self, disk: Worker) -> None:
        try:
            await disk.submit(self._store.close)
        finally:
            await disk.close(self._settings.drain_s)

    def _ask_to_stop(self) -> None:
        """Only once the Party has started: `_live_on` asks again then."""
        if self._live:
            seconds = self._settings.stop_s
            late = Stop(1, f"the node did not come to an end within {seconds:g} s")
            self._timers[_STOP_KEY] = self._loop.call_later(seconds, self._finish, late)
            self.step(Stopping(self._stops[0]))

    def _finish(self, stop: Stop) -> None:
        if not self._end.done():
            self._end.set_result(stop)

    def _fail(self, error: Exception) -> None:
        if not self._end.done():
            self._end.set_exception(error)

    # ------------------------------------------------------------------------------------------ effects

    def _perform(self, effects: list[Effect]) -> None:
        cut = next((at for at, effect in enumerate(effects) if isinstance(effect, Persist)), len(effects))
        for effect in effects[:cut]:
            self._do(effect)
        if cut == len(effects):
            return
        rest: list[Effect | asyncio.Future[None]] = []
        for effect in effects[cut:]:
            match effect:
                case Persist(puts):
                    rest.append(self._committer.add(puts))
                case SetTimer():
                    self._do(effect)
                case _:
                    rest.append(effect)
        flow = self._spawn(partial(self._flow, rest))
        self._flows.add(flow)
        flow.add_done_callback(self._flows.discard)

    async def _flow(self, rest: list[Effect | asyncio.Future[None]]) -> None:
        """The tail of one list, in order; a future stands where a Persist was."""
        for effect in rest:
            if isinstance(effect, asyncio.Future):
                await effect
            else:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Compute(task):
                result = self._lanes[task.lane].submit(partial(self._work.run, task))
                self._spawn(partial(self._compute, task, result))
            case Send():
                if self._puller is not None:
                    self._puller.sent(effect.to)
                self._spawn(partial(self._send, effect))
            case Take(token):
                self._intake.take(token)
            case Reply():
                self._intake.reply(effect)
            case SetTimer(key, at):
                self._set_timer(key, at)
            case Emit():
                self._on_emit(effect)
            case Locate():
                self._places.locate(effect)
            case Stop():
                self._finish(effect)
            case Persist():
                raise AssertionError("a Persist is performed by the commit queue")
            case _:
                assert_never(effect)

    def _set_timer(self, key: Hashable, at: float) -> None:
        if (old := self._timers.pop(key, None)) is not None:
            old.cancel()
        if at != inf:
            self._timers[key] = self._loop.call_at(at, self._fire, key)

    def _fire(self, key: Hashable) -> None:
        del self._timers[key]
        self.step(TimerFired(key))

    async def _send(self, send: Send) -> None:
        self.step(await self._client.attempt(send))

    async def _compute(self, task: Task, result: asyncio.Future[Any]) -> None:
        try:
            event: Event = Computed(task, await result)
        except P2PFLError as error:  # raised on purpose: its line says it all
            event = Failed(task, one_line(str(error)))
        except Exception as error:  # whatever a task raises is the Party's to know
            event = Failed(task, one_line(f"{type(error).__name__}: {error}"))
            trace = "".join(traceback.format_exception(error))
            self._on_emit(Emit("task.failed", {"task": type(task).__name__, "error": event.error, "trace": trace}))
        self.step(event)

    async def _tell_of_strangers(self) -> None:
        """One line a minute, however many come."""
        while True:
            before = self._gate.turned_away.copy()
            await asyncio.sleep(self._settings.tell_s)
            if more := self._gate.turned_away - before:
                self._on_emit(Emit("turned_away", dict(more)))

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = self._group.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """The outermost loop of each task: what it raises ends the host, with that error."""
        try:
            await work()
        except Exception as error:
            self._fail(error)
