"""Ready means: takes part. Each reason not to be has its words."""

from p2pfl.core.party import Emit
from p2pfl.runs.readiness import PATIENCE_S, SLACK, Readiness


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def over(peers: int = 2) -> Emit:
    return Emit("round", {"round": 1, "peers": peers})


def begun() -> tuple[Clock, Readiness]:
    clock = Clock()
    ready = Readiness(clock, has_neighbours=True)
    assert ready.why_not() == "starting: no round is over yet"
    ready.take(over())
    assert ready.why_not() is None
    return clock, ready


def test_alone_while_no_neighbour_is_reached() -> None:
    _, ready = begun()
    ready.take(over(peers=0))
    assert str(ready.why_not()).startswith("alone")
    ready.take(over())
    assert ready.why_not() is None


def test_a_node_without_neighbours_is_never_alone() -> None:
    ready = Readiness(Clock(), has_neighbours=False)
    ready.take(over(peers=0))
    assert ready.why_not() is None


def test_stalled_after_a_minute_or_ten_usual_rounds() -> None:
    clock, ready = begun()
    clock.now = PATIENCE_S
    assert ready.why_not() is None
    clock.now += 0.1
    assert ready.why_not() == "stalled: no round is over for 60 s"
    slow, ready = begun()
    for _ in range(3):
        slow.now += 50.0
        assert ready.take(over()) == 50.0
    slow.now += 50.0 * SLACK
    assert ready.why_not() is None
    slow.now += 0.1
    assert str(ready.why_not()).startswith("stalled")


def test_coming_back_until_it_may_write() -> None:
    for last in (Emit("ledger.resumed", {}), over()):
        _, ready = begun()
        ready.take(Emit("ledger.recovering", {}))
        assert str(ready.why_not()).startswith("coming back")
        ready.take(last)
        assert ready.why_not() is None


def test_done_is_ready_however_long_ago_and_stopping_is_not() -> None:
    clock, ready = begun()
    ready.take(Emit("finished", {"round": 9}))
    clock.now = 1e6
    assert ready.why_not() is None
    ready.take(Emit("ordered", {"what": "drain"}))
    assert str(ready.why_not()).startswith("draining")
    ready.stop()
    assert ready.why_not() == "stopping"
