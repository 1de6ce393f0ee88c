"""A host as a process: what asks it to stop, and what it says when it cannot begin."""

import asyncio
import os
import signal

import pytest

from p2pfl.errors import HostError
from p2pfl.runs.process import run_to_the_end, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_it_to_stop(number: signal.Signals) -> None:
    async def serve() -> str:
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stop_on_signals(asked.set_result)
        os.kill(os.getpid(), number)
        return await asked

    assert run_to_the_end(serve()) == f"asked to stop by {number.name}"


async def fails(*errors: Exception) -> None:
    raise ExceptionGroup("tasks", errors)


def test_the_reason_is_told_bare() -> None:
    with pytest.raises(HostError, match="the port is taken"):
        run_to_the_end(fails(asyncio.InvalidStateError(), HostError("the port is taken")))
    with pytest.raises(ExceptionGroup):
        run_to_the_end(fails(ValueError()))
