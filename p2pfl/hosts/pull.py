"""How a node that nobody can reach hears what is sent to it: it asks. Knows requests; knows no Party.

The other half is pickup.py. For each node that this one has sent to lately, and each path, one request is open there;
what comes back is read like a request (intake.py), and the reply is posted. So a node behind NAT takes part as any
other, as long as its neighbours can be reached: two nodes that both fetch cannot hear each other.
"""

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from typing import Any

import aiohttp

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.core.party import Parts, Verdict
from p2pfl.hosts.body import Gone, PartsPayload, read_exactly, size_of
from p2pfl.hosts.client import Client, Unusable
from p2pfl.hosts.intake import Intake
from p2pfl.hosts.pickup import FAILED, ID_BYTES, PATHS, PULL, PULLED
from p2pfl.hosts.reach import Reach
from p2pfl.hosts.refusal import Refused
from p2pfl.hosts.settings import HttpSettings
from p2pfl.wire.envelope import chunk_digests, seal_digested

BODY_OFF_LOOP_BYTES = 1 << 20
"""From here on a body's digests are computed on a thread."""
QUICK_S = 1.0
"""A request that ends sooner, with nothing, did not wait there: somebody answers for the sake of answering."""
_Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]


_TROUBLE = (aiohttp.ClientError, Unusable, Refused, Gone, OSError, ValueError, TimeoutError)
"""What the network and the other side may do to a request."""
REFUSAL_BYTES_MAX = 256


class Again(Exception):
    """The other side has another session."""

    def __init__(self, session: bytes) -> None:
        super().__init__("another session")
        self.session = session


class Puller:
    """`sent` is told of each node that the Party sends to. Its tasks end with the host's."""

    def __init__(self, reach: Reach, client: Client, intake: Intake, settings: HttpSettings, spawn: _Spawn) -> None:
        assert reach.identity is not None
        self._identity, self._network = reach.identity, reach.network
        self._client = client
        self._intake = intake
        self._settings = settings
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._sent_at: dict[NodeId, float] = {}
        self._asking: set[tuple[NodeId, str]] = set()

    def sent(self, to: NodeId) -> None:
        """Begins to ask there, unless it does already. Of too many the one not sent to for longest is left out."""
        self._sent_at.pop(to, None)
        self._sent_at[to] = self._loop.time()
        while len(self._sent_at) > NEIGHBOURS_MAX:
            del self._sent_at[next(iter(self._sent_at))]
        for path in PATHS:
            if (to, path) not in self._asking:
                self._asking.add((to, path))
                self._spawn(partial(self._ask_on, to, path))

    def _is_fresh(self, node: NodeId) -> bool:
        """Whether this node has said something to that one lately. Forgets it if not."""
        if self._loop.time() - self._sent_at.get(node, -inf) < self._settings.fetch_forget_s:
            return True
        self._sent_at.pop(node, None)
        return False

    async def _ask_on(self, node: NodeId, path: str) -> None:
        """One request after another. Each that came to nothing at once makes the pause before the next longer."""
        session, seq, failures = b"", -1, 0
        room = asyncio.Semaphore(self._settings.fetched_max)
        while self._is_fresh(node):
            await room.acquire()
            begun, failures, seq = self._loop.time(), failures + 1, seq + 1
            try:
                if await self._ask(node, path, session, seq, room) or self._loop.time() > begun + QUICK_S:
                    failures = 0
            except Again as again:
                session, seq = again.session, -1
                room.release()
                if failures == 1:
                    continue
            except _TROUBLE:
                room.release()
            if failures:
                pause_s = min(
                    self._settings.fetch_pause_s * 2 ** min(failures - 1, 16), self._settings.fetch_pause_s_max
                )
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        self._asking.discard((node, path))

    async def _ask(self, node: NodeId, path: str, session: bytes, seq: int, room: asyncio.Semaphore) -> bool:
        """One request: whether something came. `room` is given back when that has been dealt with."""
        request = seal_digested(self._identity, self._network, PULL, [node, path, session, seq], (), b"")
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._settings.fetch_s + self._settings.connect_s):
                response = await stack.enter_async_context(self._client.post(node, PULL, b"".join(request)))
            if response.status == 204:
                room.release()
                return False
            stack.callback(response.close)  # what is unread must not be taken for the next answer
            async with asyncio.timeout(self._settings.chunk_s):
                length = await self._check(response)
                id, first = await read_exactly(response.content, ID_BYTES)
            self._spawn(partial(self._take_in, stack.pop_all(), response, node, id, first, length, room))
            return True

    async def _check(self, response: aiohttp.ClientResponse) -> int:
        """The length of the message in a delivery. Raises Again or Refused if it is none."""
        length = response.content_length or 0
        if response.status == 200 and length > ID_BYTES and "Content-Encoding" not in response.headers:
            return length - ID_BYTES
        if response.status == 409 and 0 < length <= REFUSAL_BYTES_MAX:
            said, _ = await read_exactly(response.content, length)
            match json.loads(said):
                case {"detail": str(session)}:
                    raise Again(bytes.fromhex(session)[:ID_BYTES])
        raise Refused(response.status, "refused", "")

    async def _take_in(
        self,
        stack: AsyncExitStack,
        response: aiohttp.ClientResponse,
        node: NodeId,
        id: bytes,
        first: memoryview,
        length: int,
        room: asyncio.Semaphore,
    ) -> None:
        """Gives what came to the Party, and its reply back."""
        try:
            with self._intake.called() as call:
                call.known = True  # who answers there is the node that was asked, over TLS or on this machine
                try:
                    async with stack:
                        reply = await self._intake.exchange(response.content, length, call, first)
                    name, parts = reply.verdict.value, reply.data
                except Refused as refused:
                    name = Verdict.BUSY.value if refused.status == 503 else FAILED
                    parts = () if refused.status == 503 else (f"{refused.code}: {refused.detail}".encode(),)
                await self._reply(node, id, name, parts)
        except _TROUBLE:
            return  # the sender learns by its deadline that nothing came
        finally:
            room.release()

    async def _reply(self, node: NodeId, id: bytes, verdict: str, parts: Parts) -> None:
        size = size_of(parts)
        chunks = await asyncio.to_thread(chunk_digests, parts) if size >= BODY_OFF_LOOP_BYTES else chunk_digests(parts)
        sealed = seal_digested(self._identity, self._network, PULLED, [node, id, verdict], parts, chunks)
        body = PartsPayload(sealed, self._settings.chunk_s)
        async with asyncio.timeout(self._settings.reply_s), self._client.post(node, PULLED, body):
            return
