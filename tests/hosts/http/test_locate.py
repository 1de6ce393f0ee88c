"""Where a member is may change while the host runs."""

import asyncio
from typing import Any

import pytest

from p2pfl.core.party import Answered, Locate, Offered, Reply, Send, SendFailed, Started, Verdict


def _outcome(kit: Any, located: Any, addresses: Any) -> list[Any]:
    """What becomes of one Send to BOB, who lives, behind a Locate made from his port."""
    outcomes: list[Any] = []

    async def main() -> None:
        bob = kit.Toy({Offered: lambda event, now: [Reply(event.token, Verdict.IGNORE)]})
        async with kit.living(bob) as host:
            where = located(f"http://127.0.0.1:{host.port}")
            send = Send("k", kit.BOB.node, "gossip", kit.seal(), 0, 0.0)

            def started(event: Any, now: float) -> list[Any]:
                return [where, Send(send.key, send.to, send.path, send.data, 0, now + 20)]

            party = kit.Toy({Started: started})
            async with kit.living(party, addresses=addresses):
                outcomes.append(await _first(party))

    kit.play(main)
    return outcomes


async def _first(party: Any) -> Any:
    while not (found := [e for e in party.events if isinstance(e, Answered | SendFailed)]):
        await asyncio.sleep(0.001)
    return found[0]


@pytest.mark.parametrize("addressed", [False, True])
def test_the_last_place_counts(kit: Any, addressed: bool) -> None:
    addresses = {kit.BOB.node: "http://127.0.0.1:1"} if addressed else {}
    (outcome,) = _outcome(kit, lambda url: Locate(kit.BOB.node, (url,)), addresses)
    assert isinstance(outcome, Answered)
    assert outcome.verdict is Verdict.IGNORE


def test_who_cannot_be_reached_is_not_tried(kit: Any) -> None:
    (outcome,) = _outcome(kit, lambda url: Locate(kit.BOB.node, ()), {})
    assert isinstance(outcome, SendFailed)
    assert "no address" in outcome.reason
