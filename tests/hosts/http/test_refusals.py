"""What comes from the network and is not a message: refused with 4xx or 503, never 500, never for long."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from p2pfl.core.limits import BODY_BYTES_MAX, MIB
from p2pfl.core.party import Asked, Dropped, Offered, Received, Reply, Take, Verdict
from p2pfl.wire import envelope


def careful(kit: Any) -> Any:
    """Takes what is signed, rejects the rest, accepts every whole body."""

    def offered(event: Offered, now: float) -> list[Any]:
        if envelope.open_head(event.head).authentic():
            return [Take(event.token)]
        return [Reply(event.token, Verdict.REJECT, (b"signature",))]

    return kit.Toy({Offered: offered, Received: lambda event, now: [Reply(event.token, Verdict.ACCEPT)]})


def code(body: bytes) -> str:
    refusal = json.loads(body)
    assert set(refusal) == {"code", "detail"}
    return str(refusal["code"])


MESSAGE_LENGTH_MAX = envelope.HEAD_BYTES_MAX + BODY_BYTES_MAX

CASES = {
    "unknown path": (lambda k, m: k.request(m, path="/v1/nothing"), 404, "no-such-path"),
    "root": (lambda k, m: k.request(b"", path="/", method="GET"), 404, "no-such-path"),
    "GET of a POST": (lambda k, m: k.request(b"", method="GET"), 405, "method"),
    "POST of a GET": (lambda k, m: k.request(m, path="/v1/status"), 405, "method"),
    "no length": (lambda k, m: k.request(b"", length=None), 411, "length"),
    "chunked": (lambda k, m: k.request(b"", length=None, more="Transfer-Encoding: chunked\r\n"), 411, "length"),
    "encoded": (lambda k, m: k.request(m, more="Content-Encoding: gzip\r\n"), 415, "encoding"),
    "too long": (lambda k, m: k.request(m, length=MESSAGE_LENGTH_MAX + 1), 413, "too-long"),
    "length at the bound": (lambda k, m: k.request(m, length=MESSAGE_LENGTH_MAX), 400, "length"),
    "empty": (lambda k, m: k.request(b""), 400, "incomplete"),
    "another protocol": (lambda k, m: k.request(b"GET / HTTP/1.1\r\n"), 400, "not-p2pfl"),
    "longer than its head says": (lambda k, m: k.request(m + b"x"), 400, "length"),
    "shorter than its head says": (lambda k, m: k.request(m[:-1]), 400, "length"),
    "false chunk": (lambda k, m: k.request(m[:-1] + b"x"), 400, "chunk-digest"),
    "false second chunk": (lambda k, m: k.request(b"".join(k.seal(bytes(MIB + 1)))[:-1] + b"x"), 400, "chunk-digest"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_and_how(kit: Any, name: str) -> None:
    build, wanted, reason = CASES[name]

    async def main() -> None:
        party = careful(kit)
        async with kit.living(party, linger_s=0.01) as host:
            status, headers, body = await kit.raw(host.port, build(kit, b"".join(kit.seal(b"body"))))
        assert (status, code(body)) == (wanted, reason)
        assert headers["server"] == "p2pfl"
        if "false" in name:
            assert (await party.saw(Dropped)).reason.startswith("chunk-digest")
        else:
            assert not any(isinstance(e, Offered) for e in party.events)
        assert not any(isinstance(e, Received) for e in party.events)

    kit.play(main)


@pytest.mark.parametrize(
    "text", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST /v1/exchange HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_not_http_is_answered_with_400(kit: Any, text: bytes) -> None:
    async def main() -> None:
        async with kit.living(careful(kit)) as host:
            assert (await kit.raw(host.port, text + b"\r\n\r\n"))[0] == 400

    kit.play(main)


async def post_all(host: Any, messages: list[bytes]) -> list[int]:
    statuses = []
    async with aiohttp.ClientSession() as session:
        for message in messages:
            async with session.post(f"http://127.0.0.1:{host.port}/v1/exchange", data=message) as response:
                statuses.append(response.status)
                await response.read()
    await asyncio.sleep(0)
    return statuses


def test_every_prefix_of_a_message_is_refused(kit: Any) -> None:
    async def main() -> None:
        whole = b"".join(kit.seal(b"body"))
        async with kit.living(careful(kit)) as host:
            assert set(await post_all(host, [whole[:n] for n in range(len(whole))])) == {400}
            assert await post_all(host, [whole]) == [200]

    kit.play(main)


@pytest.mark.parametrize("bit", [0, 7])
def test_every_flipped_bit_of_a_message_is_refused(kit: Any, bit: int) -> None:
    async def main() -> None:
        whole = b"".join(kit.seal(b"body"))
        flipped = [whole[:n] + bytes([whole[n] ^ (1 << bit)]) + whole[n + 1 :] for n in range(len(whole))]
        async with kit.living(careful(kit)) as host:
            assert set(await post_all(host, flipped)) <= {400, 403}

    kit.play(main)


def test_a_head_that_trickles_is_refused(kit: Any) -> None:
    async def main() -> None:
        message = b"".join(kit.seal(b"body"))
        part = kit.request(message)[:-50]
        async with kit.living(careful(kit), header_s=0.05, linger_s=0.01) as host:
            status, _, body = await kit.raw(host.port, part)
        assert (status, code(body)) == (408, "too-slow")

    kit.play(main)


def test_a_body_that_trickles_is_dropped(kit: Any) -> None:
    """Each chunk has its time: the first arrives, the second does not."""

    async def main() -> None:
        message = kit.request(b"".join(kit.seal(bytes(2 * MIB))))
        party = careful(kit)
        async with kit.living(party, chunk_s=0.15, linger_s=0.01) as host:
            status, _, body = await kit.raw(host.port, message[: -MIB // 2])
            assert (status, code(body)) == (408, "too-slow")
            assert (await party.saw(Dropped)).reason.startswith("too-slow")
        assert not any(isinstance(e, Received) for e in party.events)

    kit.play(main)


def test_a_sender_that_goes_away_is_dropped(kit: Any) -> None:
    async def main() -> None:
        message = kit.request(b"".join(kit.seal(bytes(2 * MIB))))
        party = careful(kit)
        async with kit.living(party) as host:
            _, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(message[:-1])
            await party.saw(Offered)
            await kit.hang_up(writer)
            assert (await party.saw(Dropped)).reason.startswith("incomplete")

    kit.play(main)


def test_a_sender_that_goes_away_before_the_reply_hurts_nobody(kit: Any) -> None:
    async def main() -> None:
        party = kit.Toy({Offered: lambda event, now: [Take(event.token)]})
        async with kit.living(party) as host:
            _, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(kit.request(b"".join(kit.seal(b"body"))))
            received = await party.saw(Received)
            await kit.hang_up(writer)
            party.rules[Asked] = lambda event, now: [
                Reply(received.token, Verdict.ACCEPT, (bytes(4 * MIB),)),
                Reply(event.token, Verdict.ACCEPT, (b"{}",)),
            ]
            assert (await kit.raw(host.port, kit.request(b"", "/v1/status", "GET", None)))[2] == b"{}"

    kit.play(main)


def test_strangers_at_the_bound_are_read_and_one_more_is_busy(kit: Any) -> None:
    async def main() -> None:
        message = kit.request(b"".join(kit.seal()))
        async with kit.living(careful(kit), stranger_slots=2) as host:
            slow = [await asyncio.open_connection("127.0.0.1", host.port) for _ in range(2)]
            for at, (_, writer) in enumerate(slow):
                writer.write(message[:-1])
                while host._intake.strangers.total() <= at:
                    await asyncio.sleep(0)
            status, headers, body = await kit.raw(host.port, message)
            assert (status, code(body), headers["retry-after"]) == (503, "busy", "1")
            for reader, writer in slow:
                writer.write(message[-1:])
                assert (await kit.read_reply(reader))[0] == 200
                await kit.hang_up(writer)
            assert (await kit.raw(host.port, message))[0] == 200

    kit.play(main)


def test_of_too_many_connections_the_oldest_strangers_ends(kit: Any) -> None:
    """A node that has proved itself stays; whoever is new gets its chance."""

    async def main() -> None:
        health, message = kit.request(b"", "/healthz", "GET", None), kit.request(b"".join(kit.seal(b"body")))
        async with kit.living(careful(kit), connections_max=2) as host:
            links = []
            for sent in (message, health, health):
                links.append(await asyncio.open_connection("127.0.0.1", host.port))
                links[-1][1].write(sent)
                assert (await kit.read_reply(links[-1][0]))[0] == 200
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await kit.read_reply(links[1][0])
            for reader, writer in (links[0], links[2]):
                writer.write(message)
                assert (await kit.read_reply(reader))[0] == 200
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):  # both are known now
                await kit.raw(host.port, health)
            for _, writer in links:
                await kit.hang_up(writer)

    kit.play(main)


def test_an_idle_connection_is_closed(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(careful(kit), idle_s=0.05) as host:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(b"POST /v1/exchange HTTP/1.1\r\nHost:")  # and no more
            assert await reader.read() == b""
            await kit.hang_up(writer)

    kit.play(main)


def test_status_is_the_partys_and_health_the_hosts(kit: Any) -> None:
    async def main() -> None:
        told = kit.Toy({Asked: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (b'{"round"', b": 3}"))]})
        async with kit.living(told) as host:
            status, headers, body = await kit.raw(host.port, kit.request(b"", "/v1/status", "GET", None))
            assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {"round": 3})
            assert (await told.saw(Asked)).what == "status"
            assert (await kit.raw(host.port, kit.request(b"", "/healthz", "GET", None)))[0] == 200

    kit.play(main)


def test_a_party_that_decides_late_is_busy_and_its_take_comes_to_nothing(kit: Any) -> None:
    async def main() -> None:
        party = kit.Toy({Asked: lambda event, now: [Take(offered.token), Reply(event.token, Verdict.ACCEPT)]})
        async with kit.living(party, decide_s=0.05) as host:
            status, _, body = await kit.raw(host.port, kit.request(b"".join(kit.seal(b"body"))))
            assert (status, code(body)) == (503, "busy")
            offered = await party.saw(Offered)
            await kit.raw(host.port, kit.request(b"", "/v1/status", "GET", None))
            assert (await party.saw(Dropped)).token == offered.token

    kit.play(main)


def test_a_party_that_never_replies_is_busy(kit: Any) -> None:
    async def main() -> None:
        party = kit.Toy({Offered: lambda event, now: [Take(event.token)]})
        async with kit.living(party, reply_s=0.05) as host:
            assert (await kit.raw(host.port, kit.request(b"".join(kit.seal(b"body")))))[0] == 503

    kit.play(main)
