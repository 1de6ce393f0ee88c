"""What goes wrong in a simulated world, and when. Knows probabilities and schedules; knows no Party and no message.

Every draw comes from a generator keyed by (seed, node), and a request or reply always draws the same number of values,
so turning one fault up leaves the draws of the others where they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf, isnan, log1p
from typing import Literal

from p2pfl.core import noise
from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError

DiskFate = Literal["kept", "rolled-back", "wiped"]
_PROBABILITIES = ("request_loss", "reply_loss", "duplicate", "corrupt")


@dataclass(frozen=True, slots=True)
class Partition:
    """From `start` until just before `stop`, only nodes of one group reach each other; the unlisted are one group."""

    groups: tuple[frozenset[NodeId], ...]
    start: float
    stop: float

    def separates(self, a: NodeId, b: NodeId) -> bool:
        return self._group_of(a) != self._group_of(b)

    def _group_of(self, node: NodeId) -> int:
        return next((i for i, group in enumerate(self.groups) if node in group), -1)


@dataclass(frozen=True, slots=True)
class Crash:
    """One node dies: its Party, timers, tasks and connections vanish. A crash of a node that is down does nothing.

    after_effects None: at the instant `at`. Otherwise the first handle from then on with more than `after_effects`
    effects performs so many of them, and the node dies: between a Persist and the Send behind it, say.
    restart_after: seconds until a new Party starts from the store; None means never.
    disk: "kept", "wiped" (empty at the restart) or "rolled-back" (to what it held at `copied_at`).
    """

    node: NodeId
    at: float
    restart_after: float | None = 1.0
    after_effects: int | None = None
    disk: DiskFate = "kept"
    copied_at: float = 0.0

    def __post_init__(self) -> None:
        if self.disk == "rolled-back" and not 0 <= self.copied_at <= self.at:
            raise ConfigError(
                f"crash of {short(self.node)} at {self.at}: expected copied_at before it, got {self.copied_at}"
            )


@dataclass(frozen=True, slots=True)
class Line:
    """The way between two nodes: seconds one way, and bytes per second on top for what is long.

    kind: what it is called, so that its bytes are counted with those of its like ("wide" as "bytes_wide").
    """

    delay_s: float = 0.01
    bytes_per_s: float = inf
    kind: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.delay_s < inf:
            raise ConfigError(f"line.delay_s: expected a number from 0 on, got {self.delay_s}")
        if not self.bytes_per_s > 0:
            raise ConfigError(f"line.bytes_per_s: expected more than 0, got {self.bytes_per_s}")

    def transfer_s(self, size_bytes: int) -> float:
        return size_bytes / self.bytes_per_s


def between(a: NodeId, b: NodeId) -> tuple[NodeId, NodeId]:
    """The key of the line between two nodes, whichever is named first."""
    return (a, b) if a <= b else (b, a)


@dataclass(frozen=True, slots=True)
class Faults:
    """A world. The default is a perfect network with 10 ms of delay. Times in virtual seconds.

    request_loss, reply_loss: probability that a request (each copy of it) or a reply never arrives.
    duplicate: probability that a request arrives twice.
    corrupt: probability that one byte of a request (half of the time in its head) or of a reply is another.
    delay_s + an exponential of mean jitter_s is the time of one way; size / bytes_per_s comes on top.
    lines: of pairs of nodes (see `between`) that are not as delay_s and bytes_per_s say; the same in both directions.
    crash_rate: crashes per node and second, at random; each restarts after restart_s. Half of them strike in the
    middle of a handle's effects.
    clock_skew_s: every life of a node reads a clock that is ahead by a constant, uniform up to this.
    calm_after: from then on nothing is drawn to go wrong (partitions and listed crashes keep their own times).
    """

    request_loss: float = 0.0
    reply_loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    delay_s: float = 0.01
    jitter_s: float = 0.0
    bytes_per_s: float = inf
    partitions: tuple[Partition, ...] = ()
    crashes: tuple[Crash, ...] = ()
    crash_rate: float = 0.0
    restart_s: float = 1.0
    clock_skew_s: float = 0.0
    calm_after: float = inf
    lines: Mapping[tuple[NodeId, NodeId], Line] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if not isinstance(value, (int, float)):
                continue
            if option.name in _PROBABILITIES and not 0 <= value <= 1:
                raise ConfigError(f"faults.{option.name}: expected a probability from 0 to 1, got {value}")
            if isnan(value) or value < 0 or (value == inf and option.name not in ("bytes_per_s", "calm_after")):
                raise ConfigError(f"faults.{option.name}: expected a number from 0 on, got {value}")
        if self.bytes_per_s == 0:
            raise ConfigError("faults.bytes_per_s: expected more than 0")

    def separated(self, a: NodeId, b: NodeId, start: float, stop: float) -> bool:
        """Whether a partition stood between two nodes at some instant from `start` to `stop`."""
        return any(p.start <= stop and start < p.stop and p.separates(a, b) for p in self.partitions)

    def line(self, a: NodeId, b: NodeId) -> Line:
        """The way between two nodes."""
        return self.lines.get(between(a, b)) or Line(self.delay_s, self.bytes_per_s)


@dataclass(frozen=True, slots=True)
class Passage:
    """What becomes of one copy of a message on its way. `flip` in [0, 1) says where a byte changes; None: nowhere."""

    lost: bool
    delay_s: float
    flip: float | None


class Dice:
    """The draws of one node."""

    def __init__(self, faults: Faults, key: noise.Key) -> None:
        self._faults = faults
        self._rng = noise.generator(key)

    def request(self, now: float, line: Line) -> tuple[Passage, ...]:
        """One passage, or two if the request is duplicated."""
        twice, *rest = self._rng.random(9).tolist()
        first = self._passage(now, self._faults.request_loss, rest[:4], line)
        if now < self._faults.calm_after and twice < self._faults.duplicate:
            return first, self._passage(now, self._faults.request_loss, rest[4:], line)
        return (first,)

    def reply(self, now: float, line: Line) -> Passage:
        return self._passage(now, self._faults.reply_loss, self._rng.random(4).tolist(), line)

    def delay(self, line: Line) -> float:
        """One way, for what cannot be lost: the news of a refused or broken connection."""
        return self._delay(float(self._rng.random()), line)

    def crash(self, now: float) -> tuple[float, int | None] | None:
        """(when, after how many effects) this life ends at random; None: it does not."""
        when, middle, effects = self._rng.random(3).tolist()
        if self._faults.crash_rate == 0:
            return None
        at = now - log1p(-when) / self._faults.crash_rate
        return (at, int(effects * 4) if middle < 0.5 else None) if at < self._faults.calm_after else None

    def skew(self) -> float:
        return float(self._rng.random()) * self._faults.clock_skew_s

    def _passage(self, now: float, loss: float, u: Sequence[float], line: Line) -> Passage:
        calm = now >= self._faults.calm_after
        flip = u[3] if not calm and u[2] < self._faults.corrupt else None
        return Passage(not calm and u[0] < loss, self._delay(u[1], line), flip)

    def _delay(self, u: float, line: Line) -> float:
        return line.delay_s - self._faults.jitter_s * log1p(-u)


def flipped(message: bytes, head_bytes: int, where: float) -> bytes:
    """`message` with one byte changed. Half of `where`'s range falls on its first `head_bytes`, half on the rest."""
    in_head = where < 0.5 or len(message) <= head_bytes
    start, stop = (0, head_bytes) if in_head else (head_bytes, len(message))
    at = start + int(where * 2 % 1 * (stop - start))
    changed = bytearray(message)
    changed[at] ^= 1 + int(where * (1 << 40)) % 255
    return bytes(changed)
