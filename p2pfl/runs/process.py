"""A host as the work of this whole process: signals ask it to stop. Knows no node and no party."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from p2pfl.errors import HostError

Result = TypeVar("Result")


def stop_on_signals(stop: Callable[[str], object]) -> None:
    """Of a running loop: SIGINT and SIGTERM call `stop` with the reason."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, f"asked to stop by {number.name}")


def run_to_the_end(serve: Coroutine[Any, Any, Result]) -> Result:
    """In a loop of its own. Raises HostError bare, also if several tasks failed and only one of them says why."""
    try:
        return asyncio.run(serve)
    except ExceptionGroup as group:
        known = [error for error in group.exceptions if isinstance(error, HostError)]
        if known:
            raise known[0] from None
        raise
