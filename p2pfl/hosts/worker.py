"""One thread that does one thing after another, awaited from one event loop. Knows calls; knows no task."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

GRACE_S = 0.1
"""What an idle thread needs at most to end, on a busy machine."""

Job = tuple[Callable[[], Any], asyncio.Future[Any]]


class Worker:
    """Made inside a running loop. Calls run in the order of `submit`; their results arrive on the loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)
        self._thread.start()

    def submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """The result of `call()`, or what it raised. Cancelling before its turn skips it; later it drops the result."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((call, future))
        return future

    async def close(self, patience_s: float, hurry: asyncio.Future[None] | None = None) -> bool:
        """Ends the thread after what is queued. False if it was still at work after `patience_s`, or soon after `hurry`
        was done: a call cannot be interrupted, so the thread then ends by itself once the call returns."""
        self._jobs.put(None)
        ends = {self._ended} if hurry is None else {self._ended, hurry}
        await asyncio.wait(ends, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._ended.done():
            await asyncio.wait({self._ended}, timeout=GRACE_S)
        if not self._ended.done():
            return False
        self._thread.join()
        return True

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future = job
            if not future.cancelled():
                self._tell(_outcome(call, future))
            del job, call, future  # a result may be a whole model: do not hold it while waiting for the next call
        self._tell(lambda: _settle(self._ended, None))

    def _tell(self, settle: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:
            assert self._loop.is_closed()  # close() lost patience and the loop has ended: nobody waits


def _outcome(call: Callable[[], Any], future: asyncio.Future[Any]) -> Callable[[], None]:
    try:
        result = call()
    except BaseException as error:
        # A future refuses StopIteration, and SystemExit or CancelledError would end the loop that awaits it.
        raised = error
        if isinstance(error, StopIteration) or not isinstance(error, Exception):
            raised = RuntimeError(f"{type(error).__name__}: {error}")
            raised.__cause__ = error
        return lambda: _settle(future, None, raised)
    return lambda: _settle(future, result)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None = None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
