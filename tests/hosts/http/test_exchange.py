"""From one Party to another and back: bodies, verdicts, and everything that may go wrong with one attempt."""

import asyncio
from math import inf
from typing import Any

import pytest

from p2pfl.core.limits import CONTROL_BYTES_MAX, MIB
from p2pfl.core.party import Answered, Offered, Received, Reply, Send, SendFailed, Started, Take, Verdict
from p2pfl.wire import envelope

SIZES = [0, 1, 1000, 65_536 - 200, 65_536, MIB, MIB + 1, 5_000_000]


def sender(
    kit: Any, parts: tuple[Any, ...], path: str = "exchange", reply_limit: int = 8 * MIB, seconds: float = 20
) -> Any:
    """A Party that makes one attempt as soon as it starts."""
    send = lambda event, now: [Send("k", kit.BOB.node, path, parts, reply_limit, now + seconds)]  # noqa: E731
    return kit.Toy({Started: send})


def echo(kit: Any) -> Any:
    """A Party that takes everything and sends the same body back under its own name."""

    def reply(event: Received, now: float) -> list[Any]:
        body = (event.body,) if len(event.body) else ()
        return [Reply(event.token, Verdict.ACCEPT, envelope.seal(kit.BOB, kit.NETWORK, "pong", [], body))]

    return kit.Toy({Offered: lambda event, now: [Take(event.token)], Received: reply})


async def attempt(kit: Any, party: Any, base: str, **more: Any) -> Any:
    """What becomes of the one attempt of `party` at `base`."""
    async with kit.living(party, addresses={kit.BOB.node: base}, **more):
        while not (found := [e for e in party.events if isinstance(e, Answered | SendFailed)]):
            await asyncio.sleep(0.001)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("path", ["exchange", "gossip"])
def test_bodies_of_every_size_come_back(kit: Any, path: str) -> None:
    async def main() -> None:
        bob = echo(kit)
        async with kit.living(bob) as host:
            for size in SIZES:
                body = bytes(range(256)) * (size // 256 + 1)
                parts = kit.seal(body[:size])
                answer = await attempt(kit, sender(kit, parts, path), f"http://127.0.0.1:{host.port}")
                assert (answer.key, answer.verdict) == ("k", Verdict.ACCEPT)
                head, echoed = envelope.split(answer.data)
                envelope.check_body(head, echoed)
                assert head.authentic()
                assert bytes(echoed) == body[:size]
        offered = [e for e in bob.events if isinstance(e, Offered)]
        assert all(envelope.open_head(e.head).authentic() for e in offered)
        assert len({e.token for e in offered}) == len(SIZES)

    kit.play(main)


@pytest.mark.parametrize(
    ("verdict", "data", "told"),
    [
        (Verdict.IGNORE, (), b""),
        (Verdict.REJECT, (b"why", b" not"), b"why not"),
        (Verdict.BUSY, (), b""),
        (Verdict.ACCEPT, (), b""),
    ],
)
@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_verdict_on_the_head_arrives(kit: Any, verdict: Verdict, data: Any, told: bytes, size: int) -> None:
    """Also while a long body is still being sent: the sender reads why and stops sending."""

    async def main() -> None:
        bob = kit.Toy({Offered: lambda event, now: [Reply(event.token, verdict, data)]})
        async with kit.living(bob) as host:
            party = sender(kit, kit.seal(bytes(size)))
            answer = await attempt(kit, party, f"http://127.0.0.1:{host.port}")
        assert answer.verdict == verdict
        assert bytes(answer.data) == told

    kit.play(main)


def test_many_parts_arrive_in_order(kit: Any) -> None:
    parts = tuple(memoryview(bytes([i]) * size) for i, size in enumerate([1, 70_000, 3, 4, 0, 2 * MIB, 65_536, 9]))
    message = envelope.seal(kit.ALICE, kit.NETWORK, "ping", [], parts)
    got: list[bytes] = []

    def reply(event: Received, now: float) -> list[Any]:
        got.append(bytes(event.body))
        return [Reply(event.token, Verdict.IGNORE)]

    async def main() -> None:
        bob = kit.Toy({Offered: lambda event, now: [Take(event.token)], Received: reply})
        async with kit.living(bob) as host:
            await attempt(kit, sender(kit, message), f"http://127.0.0.1:{host.port}")

    kit.play(main)
    assert got == [b"".join(parts)]


def test_bodies_share_one_buffer_one_after_another(kit: Any) -> None:
    homes: list[int] = []

    def reply(event: Received, now: float) -> list[Any]:
        homes.append(id(event.body.obj))
        return [Reply(event.token, Verdict.ACCEPT, (event.body,))]

    async def main() -> None:
        bob = kit.Toy({Offered: lambda event, now: [Take(event.token)], Received: reply})
        async with kit.living(bob) as host:
            for _ in range(3):
                bob.events.clear()
                await attempt(kit, sender(kit, kit.seal(bytes(2 * MIB))), f"http://127.0.0.1:{host.port}")

    kit.play(main)
    assert len(set(homes)) == 1


async def drain_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))


REPLIES = {
    "redirect": (b"HTTP/1.1 307 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "307"),
    "server error": (b"HTTP/1.1 500 x\r\nContent-Length: 4\r\n\r\na\r\nb", "500: a b"),
    "over the limit": (b"HTTP/1.1 200 x\r\nContent-Length: 101\r\n\r\n" + bytes(101), "expected at most 100"),
    "no length": (b"HTTP/1.1 200 x\r\n\r\n" + bytes(10), "known length"),
    "chunked": (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "known length"),
    "encoded": (b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n1", "plain body"),
    "cut off": (b"HTTP/1.1 200 x\r\nContent-Length: 50\r\n\r\n1234", ""),
    "nothing": (b"", ""),
    "not HTTP": (b"220 mail ready\r\n\r\n", ""),
    "long refusal": (b"HTTP/1.1 403 x\r\nContent-Length: %d\r\n\r\n" % (CONTROL_BYTES_MAX + 1), "expected at most"),
}


@pytest.mark.parametrize("name", REPLIES)
def test_an_answer_that_is_none_of_the_verdicts_fails_the_attempt(kit: Any, name: str) -> None:
    reply, reason = REPLIES[name]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await drain_request(reader)
        writer.write(reply)

    async def main() -> None:
        async with kit.peer(serve) as base:
            answer = await attempt(kit, sender(kit, kit.seal(), reply_limit=100), base)
        assert isinstance(answer, SendFailed)
        assert reason in answer.reason
        assert answer.reason
        assert len(answer.reason.splitlines()) == 1

    kit.play(main)


@pytest.mark.parametrize("size", [0, 8 * MIB])
def test_a_peer_that_says_nothing_costs_the_deadline(kit: Any, size: int) -> None:
    """Whether it has read the message or stopped reading in the middle."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if size == 0:
            await reader.read()
        else:
            await gone.wait()

    async def main() -> None:
        async with kit.peer(serve) as base:
            answer = await attempt(kit, sender(kit, kit.seal(bytes(size)), seconds=0.1), base)
            gone.set()
        assert isinstance(answer, SendFailed)
        assert "deadline" in answer.reason

    kit.play(main)


def test_a_peer_that_stops_reading_costs_one_slice_of_time(kit: Any) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()

    async def main() -> None:
        async with kit.peer(serve) as base:
            answer = await attempt(kit, sender(kit, kit.seal(bytes(8 * MIB)), seconds=inf), base, chunk_s=0.1)
            gone.set()
        assert isinstance(answer, SendFailed)

    kit.play(main)


@pytest.mark.parametrize("base", [None, "http://127.0.0.1:1", "not a url", "http://[", "ftp://127.0.0.1:1", ""])
def test_an_address_that_leads_nowhere_fails_the_attempt(kit: Any, base: str | None) -> None:
    async def main() -> None:
        party = sender(kit, kit.seal())
        async with kit.living(party, addresses={} if base is None else {kit.BOB.node: base}):
            failed = await party.saw(SendFailed)
        assert failed.reason
        if base is None:
            assert failed.reason == f"no address is known for {kit.BOB.node[:4].hex()}"

    kit.play(main)


def test_a_deadline_in_the_past_fails_the_attempt(kit: Any) -> None:
    async def main() -> None:
        party = sender(kit, kit.seal(), seconds=-1)
        async with kit.living(party, addresses={kit.BOB.node: "http://127.0.0.1:1"}):
            assert (await party.saw(SendFailed)).key == "k"

    kit.play(main)
