"""The laws of core/party.py, as the HTTP host keeps them."""

import asyncio
import threading
from math import inf
from typing import Any

import pytest

from p2pfl.core.party import (
    Asked,
    Compute,
    Computed,
    Emit,
    Failed,
    Offered,
    Persist,
    Put,
    Reply,
    Send,
    SetTimer,
    Started,
    TimerFired,
    Verdict,
)
from p2pfl.errors import HostError, TrainingError


def put(key: bytes) -> Persist:
    return Persist((Put("kept", key, b"v"),))


def test_it_starts_with_what_was_kept_and_the_given_entropy(kit: Any) -> None:
    async def main() -> None:
        party = kit.Toy()
        async with kit.living(party):
            started = await party.saw(Started)
        assert started == Started(bytes(32), {"kept": {b"k": b"v"}})

    kit.play(main)


def status(kit: Any, host: Any) -> Any:
    return kit.raw(host.port, kit.request(b"", "/v1/status", "GET", None))


def test_a_reply_waits_for_the_persist_before_it_and_no_other_handle_does(kit: Any) -> None:
    async def main() -> None:
        store = kit.Memory(gate=threading.Event())
        rules = {
            Offered: lambda event, now: [put(b"first"), Reply(event.token, Verdict.ACCEPT)],
            Asked: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (b"{}",))],
        }
        party = kit.Toy(rules)
        async with kit.living(party, store) as host:
            slow = asyncio.create_task(kit.raw(host.port, kit.request(b"".join(kit.seal()))))
            await party.saw(Offered)
            assert (await status(kit, host))[0] == 200
            assert store.log == []
            assert not slow.done()
            store.gate.set()
            assert (await slow)[0] == 200
            assert store.log == [[b"first"]]

    kit.play(main)


@pytest.mark.parametrize("effect", ["send", "reply"])
def test_what_cannot_be_remembered_is_never_said(kit: Any, effect: str) -> None:
    """The disk refuses between Persist and Send: the host ends with its error, and the world has heard nothing."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async def main() -> None:
        async with kit.peer(serve) as base:

            def offered(event: Offered, now: float) -> list[Any]:
                send = Send("k", kit.BOB.node, "gossip", kit.seal(), 100, now + 5)
                return [put(b"k"), send if effect == "send" else Reply(event.token, Verdict.ACCEPT)]

            store = kit.Memory(refuse=HostError("the disk is full"))
            host = kit.make(kit.Toy({Offered: offered}), store, {kit.BOB.node: base})
            running = asyncio.create_task(host.run())
            while not host.port:
                await asyncio.sleep(0)
            asked = kit.raw(host.port, kit.request(b"".join(kit.seal())))
            (answer,) = await asyncio.gather(asked, return_exceptions=True)
            assert isinstance(answer, Exception) or answer[0] == 503
            with pytest.raises(HostError, match="the disk is full"):
                await running
        assert heard == []
        assert store.log == ["closed"]

    kit.play(main)


def test_persists_that_wait_share_one_commit_in_the_order_of_the_handles(kit: Any) -> None:
    async def main() -> None:
        store = kit.Memory(gate=threading.Event())
        done = []
        seen = lambda name: Emit(name, {})  # noqa: E731
        lists = {
            "a": [put(b"a1"), seen("a1"), put(b"a2"), seen("a2")],
            "b": [put(b"b1"), seen("b1")],
            "c": [put(b"c1"), put(b"c2"), seen("c")],
        }
        rules = {
            Started: lambda event, now: [SetTimer(name, now) for name in lists],
            TimerFired: lambda event, now: lists[event.key],
        }
        party = kit.Toy(rules)
        async with kit.living(party, store, on_emit=lambda emit: done.append(emit.name)):
            await party.saw(TimerFired, 3)
            assert done == []
            store.gate.set()
        assert [key for batch in store.log[:-1] for key in batch] == [b"a1", b"a2", b"b1", b"c1", b"c2"]
        assert len(store.log[:-1]) <= 2
        assert [name for name in done if name.startswith("a")] == ["a1", "a2"]
        assert sorted(done) == ["a1", "a2", "b1", "c"]

    kit.play(main)


def test_effects_without_a_persist_are_performed_in_order_and_at_once(kit: Any) -> None:
    async def main() -> None:
        names: list[str] = []
        party = kit.Toy({Started: lambda event, now: [Emit(str(i), {}) for i in range(5)]})
        async with kit.living(party, on_emit=lambda emit: names.append(emit.name)):
            assert names == ["0", "1", "2", "3", "4"]

    kit.play(main)


def test_a_timer_fires_once_and_a_later_setting_wins(kit: Any) -> None:
    """Also over one that stands behind a Persist of an earlier handle."""

    async def main() -> None:
        def started(event: Started, now: float) -> list[Any]:
            late = [put(b"k"), SetTimer("moved", now), SetTimer("cleared", now + 0.01)]
            return [SetTimer("cleared", now), SetTimer("moved", inf), SetTimer(("any", 1), now + 0.02), *late]

        def fired(event: TimerFired, now: float) -> list[Any]:
            return [SetTimer("cleared", inf)] if event.key == "moved" else []

        party = kit.Toy({Started: started, TimerFired: fired})
        async with kit.living(party, kit.Memory(gate=threading.Event())) as host:
            await party.saw(TimerFired, 2)
            host._store.gate.set()
        assert [e.key for e in party.events if isinstance(e, TimerFired)] == ["moved", ("any", 1)]

    kit.play(main)


def test_a_lane_works_in_order_and_the_lanes_side_by_side(kit: Any) -> None:
    async def main() -> None:
        trained = threading.Event()
        order: list[str] = []
        train = [kit.Do(lambda: trained.wait(20) and order.append("train 1"), "train")]
        train += [kit.Do(lambda: order.append("train 2"), "train")]
        wire = [kit.Do(lambda i=i: order.append(f"wire {i}")) for i in range(3)]
        wire += [kit.Do(trained.set)]
        party = kit.Toy({Started: lambda event, now: [Compute(task) for task in train + wire]})
        async with kit.living(party):
            await party.saw(Computed, 6)
        assert [line for line in order if line.startswith("train")] == ["train 1", "train 2"]
        assert [line for line in order if line.startswith("wire")] == ["wire 0", "wire 1", "wire 2"]
        assert {e.task for e in party.events if isinstance(e, Computed)} == {*train, *wire}

    kit.play(main)


def test_requests_are_answered_while_a_task_trains(kit: Any) -> None:
    async def main() -> None:
        over = threading.Event()
        rules = {
            Started: lambda event, now: [Compute(kit.Do(lambda: over.wait(20), "train"))],
            Asked: lambda event, now: [Reply(event.token, Verdict.ACCEPT, (b"{}",))],
        }
        party = kit.Toy(rules)
        async with kit.living(party) as host:
            assert (await status(kit, host))[0] == 200
            assert not any(isinstance(e, Computed) for e in party.events)
            over.set()
            assert (await party.saw(Computed)).result is True

    kit.play(main)


def nothing_left() -> Any:
    return next(iter(()))


def leave() -> Any:
    raise SystemExit(3)


def complain() -> Any:
    raise TrainingError("loss is nan in round 3: try a smaller rate")


def divide() -> Any:
    return 1 // 0


@pytest.mark.parametrize(
    ("call", "line", "traced"),
    [
        (complain, "loss is nan in round 3: try a smaller rate", False),
        (divide, "ZeroDivisionError: integer division or modulo by zero", True),
        (nothing_left, "RuntimeError: StopIteration: ", True),
        (leave, "RuntimeError: SystemExit: 3", True),
    ],
)
def test_a_task_that_raises_is_one_line_for_the_party(kit: Any, call: Any, line: str, traced: bool) -> None:
    async def main() -> None:
        emitted: list[Emit] = []
        party = kit.Toy({Started: lambda event, now: [Compute(kit.Do(call))]})
        async with kit.living(party, on_emit=emitted.append):
            failed = await party.saw(Failed)
        assert failed.error == line.strip()
        assert bool(emitted) == traced
        if traced:
            assert call.__name__ in str(emitted[0].fields["trace"])

    kit.play(main)


def test_handle_is_never_entered_twice(kit: Any) -> None:
    """Not even by effects that fail at once."""

    async def main() -> None:
        depth: list[int] = []

        class Nested(kit.Toy):
            def handle(self, event: Any, now: float) -> Any:
                assert not depth
                depth.append(1)
                try:
                    return super().handle(event, now)
                finally:
                    depth.pop()

        def started(event: Started, now: float) -> list[Any]:
            nowhere = Send("k", kit.BOB.node, "gossip", (), 0, now)
            return [nowhere, SetTimer("t", now - 1), Compute(kit.Do(divide)), Reply(99, Verdict.ACCEPT)]

        party = Nested({Started: started})
        async with kit.living(party):
            await party.saw(TimerFired)
            await party.saw(Failed)

    kit.play(main)
