"""A gossip node's privacy budget between events: its durable record, its entry in the feed, what may be told of it.
Knows a `Spending`; knows no learner, message or neighbour.

The record is `canonical([FORMAT, [[noise, rate, count], ..]])` under `SPACE`/`KEY`, replaced whole after each release.
The entry holds whole numbers, since signed bodies hold no floats (docs/privacy.md).
"""

from collections.abc import Mapping

from p2pfl.core.party import Put, Restored, Scalar
from p2pfl.errors import BrokenChain, ConfigError, Reject
from p2pfl.privacy.accounting import ADJACENCY, Event
from p2pfl.privacy.spending import EVENTS_MAX, Promise, Spending
from p2pfl.wire import canonical
from p2pfl.wire.post import Append

SPACE = "privacy"
KEY = b"spent"
ENTRY = "privacy"
FORMAT = 1
RECORD_BYTES_MAX = 1 << 14
SCALE = 10**9
"""Noise, rate and epsilon in an entry are in units of 1e-9; delta in units of 1e-15."""


class Budget:
    """What one node has spent, changed by `restore` and `released` only."""

    def __init__(self, promise: Promise) -> None:
        self.spending = Spending.begin(promise)
        self.written = 0  # releases, in the newest entry of the feed

    def restore(self, restored: Restored) -> None:
        """Take up the record of an earlier start. Raises BrokenChain if it is not one; may take seconds."""
        raw = restored.get(SPACE, {}).get(KEY)
        if raw is not None:
            self.spending = Spending.begin(self.spending.promise, events_in(raw))

    def cost(self, steps: int) -> int:
        """Releases that a local phase of so many steps is."""
        return steps if self.spending.promise.unit == "example" else 1

    def allows(self, steps: int) -> bool:
        return self.spending.allows(self.cost(steps))

    def released(self, steps: int) -> Put:
        """A local phase has been computed. The record must be durable before anything that follows from it leaves."""
        self.spending = self.spending.after(self.cost(steps))
        return Put(SPACE, KEY, record(self.spending.events))

    def entry(self, round_: int) -> tuple[Append, ...]:
        """What the feed says of it, if something was released since it last did."""
        spending = self.spending
        if spending.count == self.written:
            return ()
        self.written = spending.count
        promise = spending.promise
        rows = [[_scaled(e.noise), _scaled(e.rate), e.count] for e in spending.events]
        values = [promise.unit, ADJACENCY, round(promise.delta * 10**15), _scaled(promise.epsilon or 0.0), rows]
        return (Append(ENTRY, round_, values),)

    def public(self) -> dict[str, Scalar]:
        return public(self.spending)

    def told(self) -> dict[str, Scalar]:
        return told(self.spending)


def public(spending: Spending) -> dict[str, Scalar]:
    """All that others may know of it: nothing here depends on the data."""
    promise = spending.promise
    shared: dict[str, Scalar] = {}
    if promise.coalition is not None:
        shared = {"coalition": promise.coalition, "alone": promise.alone}
    found: dict[str, Scalar] = {
        "unit": promise.unit,
        "adjacency": ADJACENCY,
        "delta": promise.delta,
        "noise": promise.noise,
        "rate": promise.rate,
        "budget": promise.epsilon,
        "releases": spending.count,
        "kinds": len(spending.events),
        "planned": promise.planned,
        "spent": promise.epsilon is not None and spending.left == 0,
    }
    return found | shared


def told(spending: Spending) -> dict[str, Scalar]:
    """The same with the epsilon of the quick bound."""
    return public(spending) | {"epsilon_quick": spending.epsilon_quick()}


def record(events: tuple[Event, ...]) -> bytes:
    """The durable form. Law: events_in(record(e)) == e."""
    return canonical.packb([FORMAT, [[event.noise, event.rate, event.count] for event in events]])


def events_in(raw: bytes) -> tuple[Event, ...]:
    """Raises BrokenChain: a node that does not know what it has spent must not go on."""
    try:
        form, rows = canonical.unpackb(raw, RECORD_BYTES_MAX)
        if form != FORMAT or len(rows) > EVENTS_MAX:
            raise ValueError(f"expected format {FORMAT}, got {form}")
        return tuple(Event(float(noise), float(rate), int(count)) for noise, rate, count in rows)
    except (Reject, ConfigError, ValueError, TypeError) as error:
        raise BrokenChain(f"the record of the privacy that was spent cannot be read ({error})") from None


def withheld(status: Mapping[str, object]) -> dict[str, object]:
    """A status document without the figures that were computed on private data."""
    return {key: value for key, value in status.items() if key != "evaluation"}


def _scaled(value: float) -> int:
    return round(value * SCALE)
