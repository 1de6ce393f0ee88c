"""How a host begins and ends: with the Party's Stop, with a clear error, or at once. It leaves nothing behind."""

import asyncio
import threading
from typing import Any

import pytest

from p2pfl.core.party import (
    Compute,
    Emit,
    Offered,
    Persist,
    Put,
    Received,
    Reply,
    Send,
    SetTimer,
    Started,
    Stop,
    Stopping,
    Take,
    Verdict,
)
from p2pfl.errors import HostError


def test_a_port_in_use_is_an_error_that_says_what_to_do(kit: Any) -> None:
    async def main() -> None:
        async with kit.living(kit.Toy()) as host:
            store = kit.Memory()
            with pytest.raises(HostError) as error:
                await kit.make(kit.Toy(), store, listen=("127.0.0.1", host.port)).run()
            assert str(error.value) == (
                f"cannot listen on 127.0.0.1:{host.port}: another program uses this port; stop it, or choose another "
                "port (0 takes a free one)"
            )
            assert store.log == ["closed"]

    kit.play(main)


@pytest.mark.parametrize("listen", [("192.0.2.1", 0), ("127.0.0.1", 70_000), ("no such host", 0)])
def test_an_address_that_cannot_be_listened_on_is_an_error(kit: Any, listen: tuple[str, int]) -> None:
    async def main() -> None:
        with pytest.raises(HostError, match=f"cannot listen on {listen[0]}:{listen[1]}"):
            await kit.make(kit.Toy(), listen=listen).run()

    kit.play(main)


def test_a_party_that_raises_ends_its_host_with_that_error(kit: Any) -> None:
    async def main() -> None:
        def bug(event: Any, now: float) -> Any:
            raise KeyError("a bug")

        host = kit.make(kit.Toy({Offered: bug}))
        running = asyncio.create_task(host.run())
        while not host.port:
            await asyncio.sleep(0)
        assert (await kit.raw(host.port, kit.request(b"".join(kit.seal()))))[0] == 503
        with pytest.raises(KeyError, match="a bug"):
            await running

    kit.play(main)


def test_what_was_persisted_and_replied_before_the_stop_is_finished(kit: Any) -> None:
    async def main() -> None:
        store = kit.Memory(gate=threading.Event())
        persist = Persist((Put("kept", b"last", b"v"),))
        body = bytes(5_000_000)

        def offered(event: Offered, now: float) -> list[Any]:
            return [persist, Reply(event.token, Verdict.ACCEPT, (body,)), Stop(4, "enough")]

        host = kit.make(kit.Toy({Offered: offered}), store)
        running = asyncio.create_task(host.run())
        while not host.port:
            await asyncio.sleep(0)
        answer = asyncio.create_task(kit.raw(host.port, kit.request(b"".join(kit.seal()))))
        await host._party.saw(Offered)
        store.gate.set()
        assert (await answer)[2] == body
        assert await running == Stop(4, "enough")
        assert store.log == [[b"last"], "closed"]

    kit.play(main)


def test_the_partys_stop_may_stand_behind_a_persist(kit: Any) -> None:
    async def main() -> None:
        store = kit.Memory()
        party = kit.Toy({Stopping: lambda event, now: [Persist((Put("kept", b"k", b"v"),)), Stop(0, event.reason)]})
        host = kit.make(party, store)
        running = asyncio.create_task(host.run())
        await party.saw(Started)
        host.stop("SIGTERM")
        assert await running == Stop(0, "SIGTERM")
        assert store.log == [[b"k"], "closed"]

    kit.play(main)


def test_stop_before_the_start_is_not_lost(kit: Any) -> None:
    async def main() -> None:
        host = kit.make(kit.Toy())
        host.stop("early")
        assert await host.run() == Stop(0, "early")

    kit.play(main)


def test_a_party_that_does_not_stop_is_stopped(kit: Any) -> None:
    async def main() -> None:
        host = kit.make(kit.Toy({Stopping: lambda event, now: []}), stop_s=0.05)
        host.stop()
        assert (await host.run()).code == 1

    kit.play(main)


def test_a_second_stop_ends_at_once(kit: Any) -> None:
    """Not after the Party's decision, the replies, or the task at work: its thread ends when the task does."""

    async def main() -> None:
        over = threading.Event()
        party = kit.Toy(
            {Started: lambda event, now: [Compute(kit.Do(lambda: over.wait(20), "train"))], Stopping: lambda *_: []}
        )
        host = kit.make(party)
        running = asyncio.create_task(host.run())
        await party.saw(Started)
        host.stop()
        host.stop()
        assert (await running).code == 130
        over.set()
        for thread in threading.enumerate():
            if thread.name.startswith("p2pfl-"):
                thread.join(20)

    kit.play(main)


def test_after_the_stop_the_party_hears_nothing_and_who_waits_is_told(kit: Any) -> None:
    async def main() -> None:
        party = kit.Toy({Offered: lambda event, now: [Take(event.token)]})
        host = kit.make(party)
        running = asyncio.create_task(host.run())
        while not host.port:
            await asyncio.sleep(0)
        waits = asyncio.create_task(kit.raw(host.port, kit.request(b"".join(kit.seal(b"whole")))))
        reads, writer = await asyncio.open_connection("127.0.0.1", host.port)
        await party.saw(Received)
        writer.write(kit.request(b"".join(kit.seal(b"in part")))[:-1])
        await party.saw(Offered, 2)
        host.stop()
        assert (await waits)[0] == 503
        assert (await kit.read_reply(reads))[0] == 503
        await running
        await kit.hang_up(writer)
        assert isinstance(party.events[-1], Stopping)

    kit.play(main)


def test_a_reader_that_does_not_read_costs_the_drain_and_no_more(kit: Any) -> None:
    async def main() -> None:
        party = kit.Toy({Offered: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (bytes(20_000_000),))]})
        async with kit.living(party, drain_s=0.05) as host:
            _, writer = await asyncio.open_connection("127.0.0.1", host.port)
            writer.write(kit.request(b"".join(kit.seal())))
            await party.saw(Offered)
        await kit.hang_up(writer)

    kit.play(main)


def test_a_reader_that_does_not_read_is_closed(kit: Any) -> None:
    async def main() -> None:
        party = kit.Toy({Offered: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (bytes(20_000_000),))]})
        async with kit.living(party, chunk_s=0.05) as host:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port, limit=1000)
            writer.write(kit.request(b"".join(kit.seal())))
            await party.saw(Offered)
            async with asyncio.timeout(5):
                await host._intake.answered()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(20_000_000)
            await kit.hang_up(writer)

    kit.play(main)


def busy_pair(kit: Any, base: dict[Any, str]) -> Any:
    """A Party that does all there is to do, with itself as its neighbour."""
    body = bytes(300_000)

    def started(event: Started, now: float) -> list[Any]:
        send = Send("k", kit.BOB.node, "exchange", kit.seal(body), 10_000_000, now + 20)
        tasks = [Compute(kit.Do(lambda: None, lane)) for lane in ("train", "wire")]
        return [*tasks, SetTimer("t", now), Persist((Put("kept", b"k", b"v"),)), send, Emit("began", {})]

    rules = {
        Started: started,
        Offered: lambda event, now: [Persist((Put("kept", b"o", b"v"),)), Take(event.token)],
        Received: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (event.body,))],
    }
    return kit.Toy(rules)


@pytest.mark.parametrize("how", ["cancel", "stop", "hurry"])
def test_ended_at_any_await_it_leaves_nothing_behind(kit: Any, how: str) -> None:
    async def once(turns: int) -> None:
        addresses: dict[Any, str] = {}
        host = kit.make(busy_pair(kit, addresses), kit.Memory(), addresses)
        host._on_listening = lambda port: addresses.update({kit.BOB.node: f"http://127.0.0.1:{port}"})
        running = asyncio.create_task(host.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        if how == "cancel":
            running.cancel()
        else:
            host.stop()
        if how == "hurry":
            host.stop()
        try:
            await running
        except asyncio.CancelledError:
            assert how == "cancel"
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def main() -> None:
        for turns in [*range(30), *range(30, 120, 7), 500]:
            await once(turns)

    kit.play(main)
