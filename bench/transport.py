"""The HTTP host against a raw socket and against aiohttp as it comes: one signed update, and many small messages.

Sides, each a client and a server in processes of their own, over loopback, taking turns:

    raw       asyncio BufferedProtocol into one reused buffer: 8 bytes of length, the body, a 1-byte answer. The limit.
    aiohttp   aiohttp's defaults: data=bytes, await request.read(), a small answer.
    p2pfl     two HttpHosts: digests and signature at the sender, HTTP, every chunk checked, the author verified, the
              body handed to the Party in one buffer, the same small answer. keep_memory() as the command line does.
    p2pfl-    the same without keep_memory().

The 1 kB messages are exchanges: p2pfl's answer is then signed and verified, too.

Encoding of a model is not part of it: the body is there.
"""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp import web
from harness import bar, parse_args, table, write_json

from p2pfl.core.party import Answered, Effect, Event, Offered, Received, Reply, Send, SendFailed, Started, Take, Verdict
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.memory import keep_memory
from p2pfl.wire import envelope
from p2pfl.wire.keyfile import Signer

NETWORK = bytes(32)
ALICE, BOB = Signer(b"a" * 32), Signer(b"b" * 32)
SMALL, UPDATE, MODEL = 1_000, 203_000, 40_000_000
LANES = 16
ANSWER = b"k" * 200
HOST = "127.0.0.1"

# One attempt at delivering a body of the size the client was made for.
Deliver = Callable[[], Awaitable[None]]

# ---------------------------------------------------------------------------------------------------- raw socket


class RawServer(asyncio.BufferedProtocol):
    """Fills one buffer; answers each body with one byte."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = memoryview(bytearray(MODEL + 8))
        self.at = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer[self.at :]

    def buffer_updated(self, count: int) -> None:
        self.at += count
        if self.at >= 8 and self.at == 8 + int.from_bytes(self.buffer[:8], "big"):
            self.at = 0
            self.transport.write(b"k")


class RawClient(asyncio.Protocol):
    """Writes 1 MiB slices as fast as the socket takes them."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(None)

    async def deliver(self, body: bytes) -> None:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(len(body).to_bytes(8, "big"))
        view = memoryview(body)
        for at in range(0, len(body), 1 << 20):
            self.transport.write(view[at : at + (1 << 20)])
            await self.writable.wait()
        await self.answer


async def serve_raw(ready: Callable[[int], None]) -> None:
    server = await asyncio.get_running_loop().create_server(RawServer, HOST, 0)
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def use_raw(port: int, size: int, go: Callable[[Deliver], Awaitable[None]]) -> None:
    _, client = await asyncio.get_running_loop().create_connection(RawClient, HOST, port)
    body = bytes(size)
    await go(lambda: client.deliver(body))


# ---------------------------------------------------------------------------------------------------- aiohttp


async def serve_aiohttp(ready: Callable[[int], None]) -> None:
    async def received(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=ANSWER)

    app = web.Application(client_max_size=MODEL + 1)
    app.router.add_post("/v1/exchange", received)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    ready(site.port)
    await asyncio.Event().wait()


async def use_aiohttp(port: int, size: int, go: Callable[[Deliver], Awaitable[None]]) -> None:
    body = bytes(size)

    async def deliver() -> None:
        async with session.post(f"http://{HOST}:{port}/v1/exchange", data=body) as response:
            await response.read()

    async with aiohttp.ClientSession() as session:
        await go(deliver)


# ---------------------------------------------------------------------------------------------------- p2pfl


class Receiver:
    """Admits what its neighbour signed; answers an exchange with a signed receipt, an update with ANSWER."""

    def __init__(self) -> None:
        self.heads: dict[int, envelope.Head] = {}

    def handle(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Offered(token, raw):
                head = envelope.open_head(raw)
                if head.author != ALICE.node or not head.authentic():
                    return [Reply(token, Verdict.REJECT)]
                self.heads[token] = head
                return [Take(token)]
            case Received(token, _):
                head = self.heads.pop(token)
                receipt = (
                    envelope.seal(BOB, NETWORK, "receipt", [head.digest]) if head.kind == "exchange" else (ANSWER,)
                )
                return [Reply(token, Verdict.ACCEPT, receipt)]
        return []


class Sender:
    """Sends what it is pushed and verifies the receipt of an exchange."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[None]] = {}

    def handle(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Push(key, parts):
                return [Send(key, BOB.node, "exchange", parts, 65_536, now + 60)]
            case Answered(key, Verdict.ACCEPT, data):
                if data != ANSWER:
                    head, _ = envelope.split(data)
                    assert head.author == BOB.node
                    assert head.authentic()
                self.waiting.pop(key).set_result(None)
            case Answered() | SendFailed():
                raise AssertionError(f"not delivered: {event}")
            case Started():
                self.started = True
        return []


class Push:
    """The bench's own event: send this now."""

    __match_args__ = ("key", "parts")

    def __init__(self, key: int, parts: Any) -> None:
        self.key = key
        self.parts = parts


class NoWork:
    def run(self, task: Any) -> Any:
        raise NotImplementedError


class NoStore:
    def load(self) -> dict[str, dict[bytes, bytes]]:
        return {}

    def commit(self, puts: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        return


def host_of(party: Any, addresses: dict[Any, str], ready: Callable[[int], None]) -> HttpHost:
    return HttpHost(
        party, NoWork(), NoStore(), addresses, (HOST, 0), bytes(32), lambda emit: None, on_listening=ready
    )  # fmt: skip


async def serve_p2pfl(ready: Callable[[int], None]) -> None:
    await host_of(Receiver(), {}, ready).run()


async def use_p2pfl(port: int, size: int, go: Callable[[Deliver], Awaitable[None]]) -> None:
    sender = Sender()
    host = host_of(sender, {BOB.node: f"http://{HOST}:{port}"}, lambda port: None)
    body = (memoryview(bytes(size)),)
    kind = "exchange" if size == SMALL else "update"
    keys = iter(range(1 << 60))

    async def deliver() -> None:
        key = next(keys)
        done = sender.waiting[key] = asyncio.get_running_loop().create_future()
        host.step(Push(key, envelope.seal(ALICE, NETWORK, kind, [key], body)))  # type: ignore[arg-type]
        await done

    running = asyncio.create_task(host.run())
    while not hasattr(sender, "started"):
        await asyncio.sleep(0)
    await go(deliver)
    running.cancel()


# ---------------------------------------------------------------------------------------------------- the race

SIDES: dict[str, tuple[Any, Any, bool]] = {
    "raw": (serve_raw, use_raw, False),
    "aiohttp": (serve_aiohttp, use_aiohttp, False),
    "p2pfl": (serve_p2pfl, use_p2pfl, True),
    "p2pfl-": (serve_p2pfl, use_p2pfl, False),
}


def server_process(name: str, pipe: Connection) -> None:
    serve, _, keep = SIDES[name]
    if keep:
        keep_memory()
    asyncio.run(serve(pipe.send))


def client_process(name: str, port: int, size: int, lanes: int, pipe: Connection) -> None:
    """For each number received: makes so many deliveries and answers with the seconds they took."""
    _, use, keep = SIDES[name]
    if keep:
        keep_memory()

    async def lane(deliver: Deliver, count: int) -> None:
        for _ in range(count):
            await deliver()

    async def go(deliver: Deliver) -> None:
        while (count := await asyncio.to_thread(pipe.recv)) > 0:
            start = perf_counter()
            await asyncio.gather(*(lane(deliver, count // lanes) for _ in range(lanes)))
            pipe.send(perf_counter() - start)

    asyncio.run(use(port, size, go))


def measure(names: list[str], size: int, lanes: int, count: int, repeats: int) -> dict[str, float]:
    """Seconds a delivery by side: median over `repeats` turns of `count` deliveries, after one turn to warm up."""
    spawn = multiprocessing.get_context("spawn")
    processes, pipes = [], {}
    for name in names:
        here, there = spawn.Pipe()
        processes.append(spawn.Process(target=server_process, args=(name, there), daemon=True))
        processes[-1].start()
        port = here.recv()
        pipes[name], there = spawn.Pipe()
        processes.append(spawn.Process(target=client_process, args=(name, port, size, lanes, there), daemon=True))
        processes[-1].start()
    spent: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        for name in names:
            pipes[name].send(count)  # the other sides are idle meanwhile
            seconds = pipes[name].recv()
            if turn:
                spent[name].append(seconds / count)
    for process in processes:
        process.terminate()
        process.join()
    return {name: median(times) for name, times in spent.items()}


def main() -> None:
    args = parse_args(__doc__)
    repeats = 7 if args.quick else 21
    rows: list[dict[str, Any]] = []
    for what, size, lanes, count in [
        ("40 MB, one at a time", MODEL, 1, 2),
        ("203 kB, one at a time", UPDATE, 1, 40),
        ("1 kB, one at a time", SMALL, 1, 200),
        ("1 kB, 16 at a time", SMALL, LANES, 640),
    ]:
        names = [name for name in SIDES if lanes == 1 or name != "raw"]
        for name, seconds in measure(names, size, lanes, count, repeats).items():
            rows.append(
                {"what": what, "side": name, "ms": seconds * 1e3, "MB/s": size / seconds / 1e6, "per s": 1 / seconds}
            )
    table(rows)
    ms = {(row["what"].split(",")[0], row["side"]): row["ms"] for row in rows if "one" in row["what"]}
    bar("40 MB throughput, of a raw socket's", ms["40 MB", "raw"] / ms["40 MB", "p2pfl"], 0.2)
    bar("40 MB throughput, of aiohttp's defaults", ms["40 MB", "aiohttp"] / ms["40 MB", "p2pfl"], 2.0)
    bar("203 kB time, of aiohttp's defaults", ms["203 kB", "p2pfl"] / ms["203 kB", "aiohttp"], 2.0, at_least=False)
    write_json(args, rows)


if __name__ == "__main__":
    main()
