"""The heavy work of an alignment as values, and what runs it. Knows points and tags; no message, no party.

A task's result depends on its fields alone. What a peer's bytes did wrong comes back as a `Refusal`, never raised: a
host may run tasks wherever it likes.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.party import Lane
from p2pfl.crypto.curve import blind, check_points, raise_points
from p2pfl.crypto.psi import Tags, has_doubles, intersect
from p2pfl.errors import Reject


@dataclass(frozen=True, slots=True, eq=False)
class Blind:
    """A chunk of the party's own ids, hashed to the curve and raised. Result: points."""

    chunk: int
    items: tuple[bytes, ...] = field(repr=False)
    domain: bytes = field(repr=False)
    scalar: bytes = field(repr=False)
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class Raise:
    """A chunk of a stream, checked and raised, or only checked where it comes home. Result: points, or a Refusal."""

    stream: int
    chunk: int
    blob: bytes = field(repr=False)
    scalar: bytes | None = field(repr=False)
    lane: Lane = "train"


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Groups of sets that meet: one group of all in a ring, one of two for each other party in a star.

    `routes[g][i]` is where `sets[g][i]` came from. Result: places (the common members' positions, one array for every
    route, in one order), or a Refusal that names a route.
    """

    routes: tuple[tuple[int, ...], ...]
    sets: tuple[tuple[Tags, ...], ...] = field(repr=False)
    lane: Lane = "train"


Task = Blind | Raise | Match
Places = dict[int, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong with a peer's bytes. `route` (of a Match) is the one whose set is wrong."""

    code: str
    detail: str
    route: int = -1


Result = bytes | Places | Refusal


def run(task: Task) -> Result:
    match task:
        case Blind(_, items, domain, scalar):
            return blind(items, domain, scalar)
        case Raise(_, _, blob, scalar):
            return _raised(blob, scalar)
        case Match(routes, sets):
            return _matched(routes, sets)


def _raised(blob: bytes, scalar: bytes | None) -> bytes | Refusal:
    try:
        if scalar is not None:
            return raise_points(blob, scalar)
        check_points(blob)
    except Reject as error:
        return Refusal(error.code, error.detail)
    return blob


def _matched(routes: tuple[tuple[int, ...], ...], sets: tuple[tuple[Tags, ...], ...]) -> Places | Refusal:
    for numbers, group in zip(routes, sets, strict=True):
        for number, tags in zip(numbers, group, strict=True):
            if has_doubles(tags):
                return Refusal("psi-doubles", "expected every point once, got one twice", number)
    met = [intersect(group) for group in sets]
    if len(met) > 1:
        met = _in_all(met)
    return {n: p for numbers, places in zip(routes, met, strict=True) for n, p in zip(numbers, places, strict=True)}


def _in_all(met: list[list[NDArray[np.int64]]]) -> list[list[NDArray[np.int64]]]:
    """Of pairs (own places, another's places), those whose own place is in every pair, in its order: own places are in
    an order of the owner's secret, so the common order shows the others nothing."""
    common = met[0][0]
    for own, _ in met[1:]:
        common = np.intersect1d(common, own, assume_unique=True)
    common = np.sort(common)
    found = []
    for own, other in met:
        order = np.argsort(own)
        found.append([common, other[order[np.searchsorted(own, common, sorter=order)]]])
    return found
