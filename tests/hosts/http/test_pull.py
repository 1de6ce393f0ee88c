"""Nodes that nobody can reach: what is sent to them waits until they ask, and a request to ask is good once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from p2pfl.core.party import Answered, Dropped, Offered, Received, Reply, Send, SendFailed, Started, Take, Verdict
from p2pfl.hosts.pickup import WAITING_MAX
from p2pfl.hosts.reach import Reach
from p2pfl.wire import envelope
from p2pfl.wire.keyfile import Signer

EVE = Signer(b"e" * 32)
BIG = bytes(range(256)) * (3 << 12)  # 3 MiB


def reach(kit: Any, signer: Signer, url: str = "") -> Reach:
    return Reach(signer, kit.NETWORK, url)


def answering(kit: Any, data: bytes = b"answer") -> Any:
    return kit.Toy(
        {
            Offered: lambda event, now: [Take(event.token)],
            Received: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (data,))],
        }
    )


def send(kit: Any, to: Signer, signer: Signer, key: str = "key", body: bytes = b"", path: Any = "gossip") -> Send:
    return Send(key, to.node, path, kit.seal(body, signer), 8 << 20, asyncio.get_running_loop().time() + 20)


def hidden(kit: Any, url: str) -> dict[str, Any]:
    """How Bob lives without a listener; Alice is at `url`."""
    return {"listen": None, "addresses": {kit.ALICE.node: url}, "reach": reach(kit, kit.BOB, "none")}


@asynccontextmanager
async def couple(kit: Any, alice: Any, bob: Any) -> AsyncIterator[Any]:
    """Alice's host, and Bob hidden."""
    async with AsyncExitStack() as stack:
        reached = kit.living(alice, addresses={kit.BOB.node: "none"}, reach=reach(kit, kit.ALICE))
        host = await stack.enter_async_context(reached)
        await stack.enter_async_context(kit.living(bob, **hidden(kit, f"http://127.0.0.1:{host.port}")))
        yield host


@pytest.mark.parametrize("path", ["exchange", "gossip"])
def test_a_node_without_a_listener_is_sent_to_and_answers(kit: Any, path: Any) -> None:
    """Both directions, bodies of several chunks, no port of Bob's."""

    async def main() -> None:
        alice, bob = answering(kit), answering(kit, BIG)
        bob.rules[Started] = lambda event, now: [send(kit, kit.ALICE, kit.BOB)]
        async with couple(kit, alice, bob) as host:
            await bob.saw(Answered)  # Bob's own is an ordinary exchange
            message = send(kit, kit.BOB, kit.ALICE, "to bob", BIG, path)
            alice.rules[Started] = lambda event, now: [message]
            host.step(Started(bytes(32)))
            answered = await alice.saw(Answered)
            received = await bob.saw(Received)
        assert (answered.key, answered.verdict, bytes(answered.data)) == ("to bob", Verdict.ACCEPT, BIG)
        assert bytes(received.body) == BIG

    kit.play(main)


def test_what_was_sent_before_it_asks_waits_and_all_arrive(kit: Any) -> None:
    async def main() -> None:
        alice, bob = answering(kit), answering(kit)
        alice.rules[Started] = lambda event, now: [send(kit, kit.BOB, kit.ALICE, f"{n}", b"b") for n in range(20)]
        bob.rules[Started] = lambda event, now: [send(kit, kit.ALICE, kit.BOB)]
        async with couple(kit, alice, bob):
            await alice.saw(Answered, 20)
        assert {e.key for e in alice.events if isinstance(e, Answered)} == {f"{n}" for n in range(20)}

    kit.play(main)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_gets_back(kit: Any, verdict: Verdict) -> None:
    async def main() -> None:
        alice = answering(kit)
        bob = kit.Toy({Offered: lambda event, now: [Reply(event.token, verdict, (b"why",))]})
        alice.rules[Started] = lambda event, now: [send(kit, kit.BOB, kit.ALICE)]
        bob.rules[Started] = lambda event, now: [send(kit, kit.ALICE, kit.BOB)]
        async with couple(kit, alice, bob):
            assert (await alice.saw(Answered)).verdict is verdict

    kit.play(main)


def test_a_send_to_a_node_that_never_asks_fails_at_its_deadline(kit: Any) -> None:
    async def main() -> None:
        alice = kit.Toy()
        alice.rules[Started] = lambda event, now: [Send("key", kit.BOB.node, "gossip", (b"x",), 1, now + 0.05)]
        async with kit.living(alice, addresses={kit.BOB.node: "none"}, reach=reach(kit, kit.ALICE)):
            assert "deadline" in (await alice.saw(SendFailed)).reason

    kit.play(main)


def test_what_waits_is_bounded(kit: Any) -> None:
    async def main() -> None:
        alice = kit.Toy()
        alice.rules[Started] = lambda event, now: [
            send(kit, kit.BOB, kit.ALICE, f"{n}") for n in range(WAITING_MAX + 1)
        ]
        async with kit.living(alice, addresses={kit.BOB.node: "none"}, reach=reach(kit, kit.ALICE), drain_s=0.01):
            failed = await alice.saw(SendFailed)
        assert "too much waits" in failed.reason
        assert failed.key == f"{WAITING_MAX}"

    kit.play(main)


def test_two_nodes_that_both_fetch_are_told_so(kit: Any) -> None:
    async def main() -> None:
        bob = kit.Toy()
        bob.rules[Started] = lambda event, now: [send(kit, kit.ALICE, kit.BOB)]
        async with kit.living(bob, **hidden(kit, "none")):
            assert "one of them has to listen" in (await bob.saw(SendFailed)).reason

    kit.play(main)


# ------------------------------------------------------------------------------------------ by hand


def pull(kit: Any, session: bytes, seq: int, signer: Signer | None = None, **more: Any) -> bytes:
    fields = [more.get("to", kit.ALICE.node), more.get("path", "gossip"), session, seq]
    network = more.get("network", kit.NETWORK)
    return b"".join(envelope.seal(signer or kit.BOB, network, more.get("kind", "pull"), fields))


async def ask(kit: Any, host: Any, message: bytes, route: str = "/v1/pull") -> tuple[int, str, bytes]:
    status, headers, body = await kit.raw(host.port, kit.request(message, route))
    is_json = headers.get("content-type") == "application/json"
    return status, json.loads(body)["code"] if is_json else "", body


async def session_of(kit: Any, host: Any) -> bytes:
    status, code, body = await ask(kit, host, pull(kit, b"", 0))
    assert (status, code) == (409, "session")
    return bytes.fromhex(json.loads(body)["detail"])


def test_a_request_is_good_once(kit: Any) -> None:
    """Recorded and repeated, now or later, it fetches nothing; the node goes on undisturbed."""

    async def main() -> None:
        alice = answering(kit)
        living = {"addresses": {kit.BOB.node: "none"}, "reach": reach(kit, kit.ALICE), "fetch_s": 0.01}
        async with kit.living(alice, **living) as host:
            session = await session_of(kit, host)
            assert (await ask(kit, host, pull(kit, session, 0)))[0] == 204
            for seq in (0, 0):
                assert (await ask(kit, host, pull(kit, session, seq)))[:2] == (409, "session")
            assert (await ask(kit, host, pull(kit, b"", 5)))[0] == 409
            assert (await ask(kit, host, pull(kit, session, 7)))[0] == 204
            assert (await ask(kit, host, pull(kit, session, 6)))[0] == 409
            other = await session_of(kit, host)
            assert other != session
            assert (await ask(kit, host, pull(kit, session, 8)))[0] == 204  # nobody has used the other one
            assert (await ask(kit, host, pull(kit, other, 0)))[0] == 204
            assert (await ask(kit, host, pull(kit, session, 9)))[0] == 409

    kit.play(main)


def test_who_may_not_ask(kit: Any) -> None:
    async def main() -> None:
        alice = answering(kit)
        living = {"addresses": {kit.BOB.node: "none"}, "reach": reach(kit, kit.ALICE)}
        async with kit.living(alice, **living) as host:
            good = bytearray(pull(kit, b"", 0))
            good[20] ^= 1
            cases = {
                "stranger": pull(kit, b"", 0, EVE),
                "network": pull(kit, b"", 0, network=b"n" * 32),
                "not-for-me": pull(kit, b"", 0, to=EVE.node),
                "signature": bytes(good),
            }
            for code, message in cases.items():
                assert (await ask(kit, host, message))[:2] == (403, code)
            assert (await ask(kit, host, pull(kit, b"", 0, kind="pulled")))[:2] == (403, "network")
            for bad in ({"path": "other"}, {"path": 3}, {"path": ["gossip"]}):
                assert (await ask(kit, host, pull(kit, b"", 0, **bad)))[:2] == (400, "malformed")
            assert (await ask(kit, host, pull(kit, b"", -1)))[:2] == (400, "malformed")
        assert not any(isinstance(e, Offered | Dropped) for e in alice.events)

    kit.play(main)


def test_a_reply_that_nobody_waits_for(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(answering(kit), addresses={kit.BOB.node: "none"}, reach=reach(kit, kit.ALICE)) as host:
            fields = [kit.ALICE.node, bytes(16), "accept"]
            message = b"".join(envelope.seal(kit.BOB, kit.NETWORK, "pulled", fields, (b"body",)))
            assert (await ask(kit, host, message, "/v1/pulled"))[:2] == (404, "no-such-delivery")

    kit.play(main)


def test_a_delivery_that_was_not_handed_over_goes_with_the_next_request(kit: Any) -> None:
    async def main() -> None:
        alice = answering(kit)
        living = {"addresses": {kit.BOB.node: "none"}, "reach": reach(kit, kit.ALICE)}
        async with kit.living(alice, **living) as host:
            session = await session_of(kit, host)
            _, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(kit.request(pull(kit, session, 0), "/v1/pull"))
            shelf = host._pickup._shelf(kit.BOB.node, "gossip")
            while shelf.asking is None:
                await asyncio.sleep(0)
            writer.transport.abort()
            while host._server._listener._connections._transports:
                await asyncio.sleep(0)
            alice.rules[Started] = lambda event, now: [send(kit, kit.BOB, kit.ALICE, body=b"body")]
            host.step(Started(bytes(32)))
            status, _, body = await ask(kit, host, pull(kit, session, 1))
            assert status == 200
            assert body[16:].endswith(b"body")

    kit.play(main)
