"""A model cut into parts that are fetched one by one, each checked by itself. Pure; knows no donor and no newcomer.

A part is a run of values within one parameter group, coded as snapshots are. Its digest is BLAKE3 of its coded form;
the list of all digests is what a donor signs, and BLAKE3 of the list, the root, names the model. Every node cuts alike:
the cut follows from the schema.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.compress import Codec, Packed
from p2pfl.core.limits import STATE_PARTS_MAX
from p2pfl.core.noise import Key
from p2pfl.core.party import Buffer
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import Reject
from p2pfl.wire import canonical
from p2pfl.wire.messages import Section

DIGEST_BYTES = 32
PARTS = 16
"""As many parts as that, if they are neither too short nor too long: enough for several donors."""
VALUES_MIN, VALUES_MAX = 1 << 10, 1 << 18


class Run(NamedTuple):
    """The values [start, stop) of the model."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class Coded(NamedTuple):
    """One part as it travels."""

    section: Section
    body: bytes

    @property
    def digest(self) -> bytes:
        return digest_of(self.section, self.body)


class Cut(NamedTuple):
    """A whole model in parts."""

    root: bytes
    digests: bytes  # of the parts, one after another
    parts: tuple[Coded, ...]


def runs_of(schema: ParamSchema) -> tuple[Run, ...]:
    """Where a model of this schema is cut. At most STATE_PARTS_MAX."""
    length = min(max(-(-schema.size // PARTS), VALUES_MIN), VALUES_MAX)
    found = tuple(_runs(schema, length))
    assert len(found) <= STATE_PARTS_MAX
    return found


def _runs(schema: ParamSchema, length: int) -> Iterator[Run]:
    for group in schema.groups:
        for start in range(group.start, group.stop, length):
            yield Run(start, min(start + length, group.stop))


def cut(x: Tensor, schema: ParamSchema, codec: Codec, key: Key) -> Cut:
    """x (P,), finite. Law: joined(parts) is what the codec keeps of x."""
    parts = []
    for run in runs_of(schema):
        packed, _ = codec.encode(x[run.start : run.stop].to(torch.float32), key, 1.0)
        parts.append(Coded(Section(packed.fields, memoryview(packed.body).nbytes), bytes(packed.body)))
    digests = b"".join(part.digest for part in parts)
    return Cut(blake3(digests).digest(), digests, tuple(parts))


def digest_of(section: Section, body: Buffer) -> bytes:
    return blake3(canonical.packb([list(section.fields), section.size_bytes]) + bytes(body)).digest()


def check_list(root: bytes, digests: Buffer, parts: int, schema: ParamSchema) -> None:
    """Whether a list can be that of a model of this schema, and is the one that `root` names. Raises Reject."""
    wanted = len(runs_of(schema))
    if parts != wanted or len(digests) != wanted * DIGEST_BYTES:
        raise Reject("parts", f"expected the digests of {wanted} parts, got {len(digests)} bytes for {parts}")
    if blake3(bytes(digests)).digest() != root:
        raise Reject("root", "the list of parts is not what its root says")


def decode_part(
    number: int, section: Section, body: Buffer, digests: bytes, codec: Codec, schema: ParamSchema
) -> Tensor:
    """Part `number` (from 0) -> its values, checked against the signed list. Raises Reject."""
    run = runs_of(schema)[number]
    bounds = codec.bounds(run.size)
    if section.size_bytes != len(body) or len(body) > bounds.body_bytes or len(section.fields) > bounds.num_fields:
        raise Reject("size", f"part {number + 1}: expected at most {bounds.body_bytes} bytes, got {len(body)}")
    if digest_of(section, body) != digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]:
        raise Reject("part-digest", f"part {number + 1} is not what the list says")
    return codec.decode(Packed(section.fields, body), run.size)


def joined(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """All parts in order -> x (P,) in `like`'s dtype."""
    return torch.cat(list(parts)).to(like.dtype)


def middle(copies: Sequence[Tensor]) -> Tensor:
    """Of the same part of several models: the coordinate-wise median, of two the mean."""
    stack = torch.stack(list(copies))
    return stack.mean(0) if len(copies) == 2 else stack.median(0).values


def part_bytes_max(codec: Codec, schema: ParamSchema) -> int:
    return max(codec.bounds(run.size).body_bytes for run in runs_of(schema))
