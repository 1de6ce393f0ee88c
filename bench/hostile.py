"""What bench/overload.py aims at a port: floods, garbage, oversize, false senders, slow-loris.

Run as a process of its own: `python hostile.py PORT SECONDS RATE FROM AUTHOR NETWORK`. It lowers its own
priority, aims at loopback only, opens at most RATE connections a second in all, ends after SECONDS, and prints what
came of it as JSON.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count, cycle

from p2pfl.core.limits import GIB
from p2pfl.wire import canonical
from p2pfl.wire.envelope import HEAD_BYTES_MAX

HOST = "127.0.0.1"
SLOW_MAX = 256
"""Connections of the slow-loris at a time."""
SLOW_S = 20.0


def post(body: bytes, length: int | None = None, path: str = "/v1/exchange") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def forged(author: bytes, network: bytes, body_len: int) -> bytes:
    """A head that claims to be a neighbour's, with a signature of noise: the dearest that a stranger can send."""
    chunks = bytes(32 * -(-body_len // (1 << 20)))
    header = canonical.packb(["update", author, network, body_len, chunks, [0] * 15])
    return b"P2PF\x01\x00" + len(header).to_bytes(4, "big") + os.urandom(64) + header


class Crowd:
    """One attack after another, at a steady rate."""

    def __init__(self, port: int, rate: float, sources: list[str], author: bytes, network: bytes) -> None:
        self.port, self.rate, self.sources = port, rate, cycle(sources)
        false, long = forged(author, network, 0), forged(author, network, GIB)
        self.attacks: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("flood", lambda: self.burst(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n" * 4)),
            ("garbage", lambda: self.burst(os.urandom(2048))),
            ("garbage in HTTP", lambda: self.burst(post(os.urandom(2048)))),
            ("false sender", lambda: self.burst(post(false) * 4)),
            ("oversize", lambda: self.burst(post(b"P2PF", 1 << 40))),
            ("false body of 1 GiB", lambda: self.burst(post(long + bytes(1 << 16), len(long) + GIB))),
            ("head that stops", lambda: self.burst(post(b"P2PF\x01\x00" + HEAD_BYTES_MAX.to_bytes(4, "big"), 90_000))),
            ("slow-loris", self.trickle),
        ]
        self.came: Counter[str] = Counter()
        self.slow = 0

    async def burst(self, sent: bytes) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.port, local_addr=(next(self.sources), 0))
        try:
            writer.write(sent)
            async with asyncio.timeout(2.0):
                answer = await reader.read(64)
            status = answer[9:12].decode("ascii", "replace") if answer.startswith(b"HTTP/1.1") else "hung up on"
            self.came[status] += 1
        finally:
            writer.transport.abort()

    async def trickle(self) -> None:
        """A byte of a header every second."""
        if self.slow >= SLOW_MAX:
            return
        self.slow += 1
        writer = None
        try:
            _, writer = await asyncio.open_connection(HOST, self.port, local_addr=(next(self.sources), 0))
            writer.write(b"POST /v1/exchange HTTP/1.1\r\nX: ")
            for second in count():
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(1.0)
                if second > SLOW_S or writer.transport.is_closing():
                    return
        finally:
            self.slow -= 1
            if writer is not None:
                writer.transport.abort()

    async def one(self, name: str, attack: Callable[[], Awaitable[None]]) -> None:
        self.came[name] += 1
        try:
            await attack()
        except TimeoutError:
            self.came["no answer"] += 1
        except OSError:
            self.came["hung up on"] += 1

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end, begun, running = loop.time() + seconds, loop.time(), set()
        for number, (name, attack) in zip(count(1), cycle(self.attacks)):
            while (due := begun + number / self.rate) > loop.time():
                await asyncio.sleep(due - loop.time())
            if loop.time() >= end:
                break
            task = asyncio.create_task(self.one(name, attack))
            running.add(task)
            task.add_done_callback(running.discard)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def main() -> None:
    port, seconds, rate, sources, author, network = sys.argv[1:]
    os.nice(19)
    crowd = Crowd(int(port), float(rate), sources.split(","), bytes.fromhex(author), bytes.fromhex(network))
    asyncio.run(crowd.run(float(seconds)))
    print(json.dumps(crowd.came))


if __name__ == "__main__":
    main()
