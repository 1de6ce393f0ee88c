"""TLS between hosts: only the node that is meant is told anything, and nothing leaves the machine in the clear."""

import asyncio
import ssl
from typing import Any

import pytest

from p2pfl.core.party import Answered, Locate, Offered, Received, Reply, Send, SendFailed, Started, Take, Verdict
from p2pfl.core.urls import is_guarded, is_loopback, shown
from p2pfl.hosts.reach import Reach
from p2pfl.wire.keyfile import Signer

EVE = Signer(b"e" * 32)
BODY = bytes(3 << 20)


def answering(kit: Any) -> Any:
    return kit.Toy(
        {
            Offered: lambda event, now: [Take(event.token)],
            Received: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (b"got it", BODY))],
        }
    )


def asking(kit: Any, parts: tuple[bytes, ...]) -> Any:
    send = Send("key", kit.BOB.node, "exchange", parts, 8 << 20, 1e9)
    return kit.Toy({Started: lambda event, now: [send]})


def secured(signer: Signer) -> Reach:
    return Reach(signer, url="https://anywhere:1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_exchange_over_tls(kit: Any, address: str) -> None:
    """Both ways, with bodies of several chunks; over IPv4 and IPv6."""

    async def main() -> None:
        party = answering(kit)
        async with kit.living(party, listen=(address, 0), reach=secured(kit.BOB)) as bob:
            asker = asking(kit, kit.seal(BODY))
            async with kit.living(asker, addresses={kit.BOB.node: f"https://{shown(address, bob.port)}"}):
                answered = await asker.saw(Answered)
            while bob._gate._links:  # the gate hears of each end
                await asyncio.sleep(0)
        assert (answered.verdict, bytes(answered.data)) == (Verdict.ACCEPT, b"got it" + BODY)
        assert bytes((await party.saw(Received)).body) == BODY

    kit.play(main)


def test_behind_a_proxy_the_certificate_is_the_one_of_the_record(kit: Any) -> None:
    """EVE speaks TLS for Bob, who has said so in his record; of the addresses there the first does not answer."""

    async def main() -> None:
        async with kit.living(answering(kit), reach=secured(EVE)) as proxy:
            urls = ("https://127.0.0.1:1", f"https://127.0.0.1:{proxy.port}")
            place = Locate(kit.BOB.node, urls, EVE.certificate().digest)
            asker = asking(kit, kit.seal(b"body"))
            send = asker.rules[Started](None, 0.0)
            asker.rules[Started] = lambda event, now: [place, *send]
            asker.rules[SendFailed] = lambda event, now: send
            async with kit.living(asker):
                await asker.saw(Answered)
        assert sum(isinstance(event, SendFailed) for event in asker.events) == 1

    kit.play(main)


def test_ipv6_without_tls(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(answering(kit), listen=("::1", 0)) as bob:
            asker = asking(kit, kit.seal(b"body"))
            async with kit.living(asker, addresses={kit.BOB.node: f"http://[::1]:{bob.port}"}):
                assert (await asker.saw(Answered)).verdict is Verdict.ACCEPT

    kit.play(main)


def test_another_node_with_a_sound_certificate_is_told_nothing(kit: Any) -> None:
    async def main() -> None:
        party = answering(kit)
        async with kit.living(party, reach=secured(EVE)) as eve:
            asker = asking(kit, kit.seal(b"body"))
            async with kit.living(asker, addresses={kit.BOB.node: f"https://127.0.0.1:{eve.port}"}):
                failed = await asker.saw(SendFailed)
        expected = f"expected node {kit.BOB.node.hex()[:8]}, got node {EVE.node.hex()[:8]}"
        assert failed.reason == f"127.0.0.1:{eve.port} shows another certificate: {expected}"
        assert not any(isinstance(e, Offered) for e in party.events)

    kit.play(main)


def test_plain_http_on_a_tls_port_and_the_other_way_round(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(answering(kit), reach=secured(kit.BOB)) as tls, kit.living(answering(kit)) as plain:
            for url in (f"http://127.0.0.1:{tls.port}", f"https://127.0.0.1:{plain.port}"):
                asker = asking(kit, kit.seal(b"body"))
                async with kit.living(asker, addresses={kit.BOB.node: url}):
                    await asker.saw(SendFailed)

    kit.play(main)


def test_http_to_another_machine_only_where_the_network_says_so(kit: Any) -> None:
    async def main() -> None:
        for plain in (False, True):
            asker = asking(kit, kit.seal(b"body"))
            asker.rules[Started] = lambda event, now: [Send("key", kit.BOB.node, "gossip", (b"x",), 1, now + 0.05)]
            reach = Reach(plain=plain)
            async with kit.living(asker, addresses={kit.BOB.node: "http://192.0.2.1:9"}, reach=reach):
                reason = (await asker.saw(SendFailed)).reason
            assert ("does not do without TLS" in reason) is not plain

    kit.play(main)


def test_a_stranger_that_never_shakes_hands_is_hung_up_on(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(answering(kit), reach=secured(kit.BOB), header_s=0.05) as host:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
            assert await reader.read() == b""
            await kit.hang_up(writer)

    kit.play(main)


def test_nothing_older_than_tls_1_3(kit: Any) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with kit.living(answering(kit), reach=secured(kit.BOB)) as host:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", host.port, ssl=context)

    kit.play(main)


@pytest.mark.parametrize(
    ("url", "loopback", "guarded"),
    [
        ("http://127.0.0.1:1", True, True),
        ("http://127.8.9.1:1", True, True),
        ("http://[::1]:1", True, True),
        ("http://localhost:1", True, True),
        ("http://192.0.2.7:1", False, False),
        ("http://[2001:db8::1]:1", False, False),
        ("http://localhost.example:1", False, False),
        ("http://127.0.0.1@evil.example:1", False, False),
        ("https://192.0.2.7:1", False, True),
        ("none", False, False),
        ("http://[", False, False),
    ],
)
def test_what_stays_on_the_machine(url: str, loopback: bool, guarded: bool) -> None:
    assert (is_loopback(url), is_guarded(url)) == (loopback, guarded)
