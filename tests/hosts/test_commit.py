"""What `Committer.add` promises: durable with all that came before, and no trip to the disk for nothing."""

import asyncio
from collections.abc import Awaitable, Callable

from p2pfl.core.party import Put
from p2pfl.hosts.commit import Committer
from p2pfl.hosts.worker import Worker

PUT = Put("space", b"key", b"value")


class Commits:
    """A Store that counts, and knows nothing."""

    def __init__(self) -> None:
        self.kept: list[list[Put]] = []

    def load(self) -> dict[str, dict[bytes, bytes]]:
        return {}

    def commit(self, puts: list[Put]) -> None:
        self.kept.append(puts)

    def close(self) -> None:
        return


def committed(use: Callable[[Committer], Awaitable[None]]) -> list[list[Put]]:
    """What reached the store."""
    store = Commits()

    async def run() -> None:
        worker = Worker("store")
        committer = Committer(store, worker)
        running = asyncio.create_task(committer.run())
        await use(committer)
        running.cancel()
        await worker.close(5.0)

    asyncio.run(run())
    return store.kept


def test_nothing_is_durable_at_once() -> None:
    async def use(committer: Committer) -> None:
        assert committer.add(()).done()

    assert committed(use) == []


def test_nothing_waits_for_what_came_before() -> None:
    async def use(committer: Committer) -> None:
        first, after = committer.add((PUT,)), committer.add(())
        assert not after.done()
        await after
        assert first.done()

    assert committed(use) == [[PUT]]


def test_nothing_waits_for_what_is_being_written() -> None:
    async def use(committer: Committer) -> None:
        first = committer.add((PUT,))
        await asyncio.sleep(0)  # the commit has begun: nobody is waiting in line
        after = committer.add(())
        assert not after.done()
        await after
        assert first.done()

    assert [PUT] in committed(use)
