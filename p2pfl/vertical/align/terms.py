"""What the parties of an alignment agree on before it, and which way each set goes. Knows numbers and names; no point.

Party 0 is the label holder: all sets end there. In a ring every set is raised by every party, so the label holder sees
the sizes of all intersections and the members of the last one only. In a star each party meets the label holder alone:
fewer operations (two per id and party, whatever the number of parties), but the label holder learns the members of
every intersection of two. With two parties both are the same.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Literal

import msgpack
from blake3 import blake3

from p2pfl.errors import ConfigError
from p2pfl.vertical.align.bounds import ALIGN_CHUNK_POINTS, ALIGN_IDS_MAX, ALIGN_PARTIES_MAX
from p2pfl.vertical.align.ids import IdRules

Mode = Literal["ring", "star"]
MODES: tuple[Mode, ...] = ("ring", "star")


@dataclass(frozen=True, slots=True)
class Route:
    """One set's way: from its owner to each of `path` in turn, the last of them the label holder."""

    owner: int
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """Chunks from one party to another: hop `hop` of a route, or (route -1) the rows that the receiver holds in common.

    `number` is the same at all parties.
    """

    number: int
    route: int
    hop: int
    owner: int
    sender: int
    receiver: int


@dataclass(frozen=True)
class Terms:
    """Equal at all parties, which compare the digest. `parties` are names, the label holder first.

    job: names this alignment; salt: a secret of the job. Both go into every id's hash, so that two jobs' points do not
    match. bucket: sizes are padded to a multiple of it with ids that nobody has; 1 pads nothing. ids_max: a party that
    declares more ids ends the job (who inserts guesses must declare them).
    """

    job: str
    parties: tuple[str, ...]
    salt: bytes = field(default=b"", repr=False)
    mode: Mode = "ring"
    bucket: int = 1
    rules: IdRules = field(default_factory=IdRules)
    ids_max: int = ALIGN_IDS_MAX

    def __post_init__(self) -> None:
        if not 2 <= len(self.parties) <= ALIGN_PARTIES_MAX:
            raise ConfigError(f"alignment: expected 2 to {ALIGN_PARTIES_MAX} parties, got {len(self.parties)}")
        if len(set(self.parties)) != len(self.parties):
            raise ConfigError(f"alignment: expected different parties, got {', '.join(self.parties)}")
        if self.mode not in MODES:
            raise ConfigError(f"alignment.mode: expected one of {', '.join(MODES)}, got {self.mode!r}")
        if not 1 <= self.ids_max <= ALIGN_IDS_MAX:
            raise ConfigError(f"alignment.ids_max: expected 1 to {ALIGN_IDS_MAX:,}, got {self.ids_max:,}")
        if not 1 <= self.bucket <= self.ids_max:
            raise ConfigError(f"alignment.bucket: expected 1 to ids_max ({self.ids_max:,}), got {self.bucket:,}")

    @cached_property
    def domain(self) -> bytes:
        """What ids are hashed with."""
        return blake3(msgpack.packb(["p2pfl/alignment-domain/1", self.job, self.salt])).digest()

    @cached_property
    def digest(self) -> bytes:
        rules = [self.rules.trim, self.rules.fold, self.rules.nfkc]
        fields = [self.job, list(self.parties), self.salt, self.mode, self.bucket, rules, self.ids_max]
        return blake3(msgpack.packb(["p2pfl/alignment-terms/1", *fields])).digest()

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        k = len(self.parties)
        if self.mode == "star":
            return tuple(chain.from_iterable((Route(0, (p, 0)), Route(p, (0,))) for p in range(1, k)))
        others = [tuple(i % k for i in range(p + 1, p + k) if i % k) for p in range(k)]
        return tuple(Route(p, (*others[p], 0)) for p in range(k))

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """All hops of all routes, then the label holder's answers to the others."""
        hops = [
            (number, hop, route.owner, route.owner if hop == 0 else route.path[hop - 1], to)
            for number, route in enumerate(self.routes)
            for hop, to in enumerate(route.path)
        ]
        answers = [(-1, 0, 0, 0, party) for party in range(1, len(self.parties))]
        return tuple(Stream(number, *rest) for number, rest in enumerate([*hops, *answers]))

    def padded(self, count: int) -> int:
        """What a party with so many ids declares. ConfigError if that is more than the job allows."""
        size = -(-count // self.bucket) * self.bucket
        if size > self.ids_max:
            padded = "" if size == count else f" ({size:,} with padding)"
            raise ConfigError(f"alignment: expected at most ids_max = {self.ids_max:,} ids, got {count:,}{padded}")
        return size


def chunks_of(items: int, size: int = ALIGN_CHUNK_POINTS) -> int:
    """How many chunks carry so many items: none is sent in one empty chunk."""
    return max(1, -(-items // size))


def length_of(chunk: int, items: int, size: int = ALIGN_CHUNK_POINTS) -> int:
    """Items of one chunk."""
    return min(size, items - chunk * size)
