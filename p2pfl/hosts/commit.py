"""Group commit: Persists of many handles become durable together. Knows a Store; knows no event.

The store is touched by one thread only. While it commits, new Persists gather; the next commit takes all of them. So
the disk's latency is paid once for whatever came in meanwhile, and the order of `add` is the order on disk.
"""

import asyncio
from functools import partial

from p2pfl.core.party import Put, Store
from p2pfl.hosts.worker import Worker


class Committer:
    def __init__(self, store: Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        self._waiting: list[tuple[tuple[Put, ...], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._busy = False

    def add(self, puts: tuple[Put, ...]) -> asyncio.Future[None]:
        """Done when `puts` are durable, and all that was added before; at once if that is nothing."""
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not puts and not self._waiting and not self._busy:
            durable.set_result(None)
            return durable
        self._waiting.append((puts, durable))
        self._wake.set()
        return durable

    async def run(self) -> None:
        """Commits until cancelled. Raises what the store raises: whoever waits is then never told it is durable."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            puts = [put for some, _ in batch for put in some]
            self._busy = True
            await self._worker.submit(partial(self._store.commit, puts))
            self._busy = False
            for _, durable in batch:
                if not durable.done():
                    durable.set_result(None)
