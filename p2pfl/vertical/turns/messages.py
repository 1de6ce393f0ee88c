"""The turns of a coordinated job: requests, answers, tasks. Knows bytes and bounds; no cipher, no model.

In a coordinated job the label holder asks and all others answer. What an answer is depends on the request and on what
the answering party knew before it, and on nothing else: so a turn that got lost is simply asked for again.
A request is a kind, a number (mostly a batch's) and blobs; an answer is blobs. docs/formats/turns.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, ParamSpec, Protocol, TypeVar

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import BODY_BYTES_MAX
from p2pfl.core.noise import Key
from p2pfl.core.party import Lane, Task
from p2pfl.errors import ConfigError, Reject
from p2pfl.wire import canonical

P = ParamSpec("P")
T = TypeVar("T")

VERSION = 1
BLOBS_MAX = 64
INDEX_MAX = 1 << 31
PARTIES_MAX = 6
"""Five with data, and one that holds keys."""


class Kind(IntEnum):
    """HELLO: say your public key. KEYS: here are all keys, seal what is yours. HOLD: keep what others sealed. STEP:
    learn, and work on a batch. OPEN: open what is masked. TEST: work on rows held out."""

    HELLO = 0
    KEYS = 1
    HOLD = 2
    STEP = 3
    OPEN = 4
    TEST = 5


_HEAD = 7  # version u8, kind u8, index u32, count u8


@dataclass(frozen=True, slots=True)
class Request:
    """What the label holder asks of one party in a turn."""

    kind: Kind
    index: int = 0
    blobs: tuple[bytes, ...] = ()


def pack_request(request: Request) -> bytes:
    """version u8 | kind u8 | index u32 | count u8 | count times (length u32, bytes); little-endian."""
    if not 0 <= request.index < INDEX_MAX:
        raise ValueError(f"expected an index below {INDEX_MAX}, got {request.index}")
    return bytes([VERSION, request.kind]) + request.index.to_bytes(4, "little") + _pack_blobs(request.blobs)


def unpack_request(raw: bytes) -> Request:
    """Reject what `pack_request` never gives."""
    if len(raw) < _HEAD or raw[0] != VERSION or raw[1] > max(Kind):
        raise Reject("turn-malformed", f"expected a request of version {VERSION} and a known kind")
    index = int.from_bytes(raw[2:6], "little")
    if index >= INDEX_MAX:
        raise Reject("turn-malformed", f"expected an index below {INDEX_MAX}, got {index}")
    return Request(Kind(raw[1]), index, _unpack_blobs(raw[6:]))


def pack_answer(blobs: Sequence[bytes]) -> bytes:
    """version u8 | count u8 | count times (length u32, bytes)."""
    return bytes([VERSION]) + _pack_blobs(blobs)


def unpack_answer(raw: bytes, num: int) -> tuple[bytes, ...]:
    """`num` blobs. Reject anything else."""
    if not raw or raw[0] != VERSION:
        raise Reject("turn-malformed", f"expected an answer of version {VERSION}")
    blobs = _unpack_blobs(raw[1:])
    if len(blobs) != num:
        raise Reject("turn-malformed", f"expected an answer of {num} parts, got {len(blobs)}")
    return blobs


def _pack_blobs(blobs: Sequence[bytes]) -> bytes:
    if len(blobs) > BLOBS_MAX:
        raise ValueError(f"expected at most {BLOBS_MAX} blobs, got {len(blobs)}")
    return bytes([len(blobs)]) + b"".join(len(blob).to_bytes(4, "little") + blob for blob in blobs)


def _unpack_blobs(raw: bytes) -> tuple[bytes, ...]:
    found, at = [], 1
    if not raw or raw[0] > BLOBS_MAX:
        raise Reject("turn-malformed", f"expected at most {BLOBS_MAX} parts")
    for _ in range(raw[0]):
        size = int.from_bytes(raw[at : at + 4], "little")
        blob = raw[at + 4 : at + 4 + size]
        if len(raw) < at + 4 or len(blob) != size:
            raise Reject("turn-malformed", "expected as many bytes as announced, got fewer")
        found.append(blob)
        at += 4 + size
    if at != len(raw):
        raise Reject("turn-malformed", f"expected {at} bytes, got {len(raw)}")
    return tuple(found)


@dataclass(frozen=True)
class Accord:
    """Who takes part, the same at every party: the label holder first, then the feature holders, then, with `third`,
    the one that holds keys and has no data. `rules`: a digest of everything else that all agree on."""

    name: str
    parties: tuple[tuple[str, NodeId], ...]
    rules: bytes
    third: bool = False
    timeout_s: float = 30.0
    patience_s: float = 600.0

    def __post_init__(self) -> None:
        if not 2 <= self.num_data <= PARTIES_MAX - 1:
            raise ConfigError(f"parties: expected 2 to {PARTIES_MAX - 1} with data, got {self.num_data}")
        if len({key for _, key in self.parties}) != len(self.parties):
            raise ConfigError("parties: expected each key once; who holds the keys must not be one that has data")
        if not 0 < self.timeout_s <= self.patience_s:
            raise ConfigError(f"expected 0 < timeout_s <= patience_s, got {self.timeout_s} and {self.patience_s}")

    @property
    def num_data(self) -> int:
        """Parties with data, the label holder one of them."""
        return len(self.parties) - self.third

    @property
    def feature_holders(self) -> range:
        """Their numbers."""
        return range(1, self.num_data)

    @property
    def holder(self) -> int | None:
        """The third party's number."""
        return len(self.parties) - 1 if self.third else None

    def node(self, party: int) -> NodeId:
        return self.parties[party][1]

    def number_of(self, node: bytes) -> int:
        return next(number for number, (_, key) in enumerate(self.parties) if key == node)

    def name_of(self, node: bytes) -> str:
        return next((name for name, key in self.parties if key == node), "an unknown party")

    @cached_property
    def digest(self) -> bytes:
        """What every message is bound to: a party with other rules is refused."""
        parties = [[name, key] for name, key in self.parties]
        return blake3(canonical.packb(["p2pfl/coordinated/1", self.name, parties, self.third, self.rules])).digest()


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """The label holder's task: all answers of a turn are there. Result: Moved, or Fault."""

    state: Any
    answers: Mapping[int, bytes] = field(repr=False)
    key: Key = field(repr=False)
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What is asked next, of whom; of nobody: all is done. `loss` of a batch, if one was learned; `epoch`: the number
    of passes that are done, where one just ended; `keep`: what is written down besides the state, once."""

    state: Any
    requests: Mapping[int, Request]
    loss: float | None = None
    epoch: int | None = None
    keep: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """A party's task. Result: Replied, or Fault."""

    state: Any
    request: bytes = field(repr=False)
    key: Key = field(repr=False)
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class Replied:
    """The answer, and what is true from now on. `keep`: what is written down besides the state, once."""

    state: Any
    answer: bytes = field(repr=False)
    keep: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """A party sent what it must not."""

    party: int
    code: str
    detail: str


class Blame(Exception):
    """A party's answer is none. Does not leave the work that raises it."""

    def __init__(self, party: int, reject: Reject) -> None:
        super().__init__(str(reject))
        self.fault = Fault(party, reject.code, reject.detail)


def checked(party: int, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call's result; what is wrong with what it was given is `party`'s fault."""
    try:
        return call(*args, **kwargs)
    except Reject as error:
        raise Blame(party, error) from None


def parts_of(party: int, raw: bytes, num: int) -> tuple[bytes, ...]:
    """The `num` blobs of a party's answer. Raises Blame."""
    return checked(party, unpack_answer, raw, num)


class AnswerWork(Protocol):
    """What a party does with requests. Its results depend on the task and on the party's table and keys alone."""

    def start(self) -> Any:
        """The state before the first request."""

    def pack(self, state: Any) -> bytes: ...

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> Any:
        """The state, from its bytes and all that was ever in `Replied.keep`. ConfigError if it is none."""

    def run(self, task: Task) -> Any: ...


class AskWork(Protocol):
    """What the label holder does with answers."""

    def start(self) -> tuple[Any, Mapping[int, Request]]:
        """The state and the first requests."""

    def pack(self, state: Any) -> bytes: ...

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> Any: ...

    def metrics(self, state: Any) -> dict[str, float | None]:
        """Of the rows held out, once all is done."""

    def progress(self, state: Any) -> tuple[int, int]:
        """Steps done, and how many there will be at most."""

    def run(self, task: Task) -> Any: ...


BODY_MAX = BODY_BYTES_MAX
"""A request's or an answer's bytes: a table of ciphertexts travels whole."""
