"""What the gate does to requests: slow down, too many bytes, and a line about it; whoever is known is not hindered."""

import json
from typing import Any

from p2pfl.core.party import Emit, Offered, Received, Reply, Take, Verdict


def careful(kit: Any) -> Any:
    return kit.Toy(
        {
            Offered: lambda event, now: [Take(event.token)],
            Received: lambda event, now: [Reply(event.token, Verdict.ACCEPT)],
        }
    )


def test_a_strangers_requests_too_many_are_told_to_slow_down(kit: Any) -> None:
    """A token for the connection and one for each request; the known one next door goes on."""

    async def main() -> None:
        health, message = kit.request(b"", "/healthz", "GET", None), kit.request(b"".join(kit.seal(b"body")))
        told: list[Emit] = []
        limits = {"address_rate": 0.0, "address_burst": 4.0, "tell_s": 0.02, "on_emit": told.append}
        async with kit.living(careful(kit), **limits) as host:
            known = await kit.connect(host.port)
            assert (await kit.ask(known, message))[0] == 200
            assert (await kit.raw(host.port, health))[0] == 200  # the last token
            assert not host._gate.open("one more", "127.0.0.1", 0.0, int)
            for _ in range(20):
                assert (await kit.ask(known, message))[0] == 200
            await kit.hang_up(known[1])
            while not told:
                await kit.turn()
        assert (told[0].name, dict(told[0].fields)) == ("turned_away", {"connections": 1})

    kit.play(main)


def test_requests_on_one_connection_run_out_too(kit: Any) -> None:
    async def main() -> None:
        health = kit.request(b"", "/healthz", "GET", None)
        async with kit.living(careful(kit), address_rate=0.0, address_burst=3.0) as host:
            stranger = await kit.connect(host.port)
            assert [(await kit.ask(stranger, health))[0] for _ in range(2)] == [200, 200]
            status, headers, body = await kit.ask(stranger, health)
            assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "1", "slow-down")
            assert await stranger[0].read() == b""  # and hung up on
            await kit.hang_up(stranger[1])

    kit.play(main)


def test_bytes_too_many_are_busy_and_given_back(kit: Any) -> None:
    async def main() -> None:
        party = careful(kit)
        async with kit.living(party, bytes_per_address=1000) as host:
            for size, wanted in ((1001, 503), (1000, 200), (1000, 200)):
                status, _, _ = await kit.raw(host.port, kit.request(b"".join(kit.seal(bytes(size)))))
                assert status == wanted
            assert not host._gate._bytes
        assert sum(isinstance(event, Offered) for event in party.events) == 2  # the Party does not hear of the first

    kit.play(main)
