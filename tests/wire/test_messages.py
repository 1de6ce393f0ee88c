"""The messages' fields: golden bytes, and every bound from both sides."""

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.limits import BODY_BYTES_MAX, NODES_MAX, ROUNDS_MAX, SECTIONS_MAX, STATE_PARTS_MAX
from p2pfl.errors import Reject
from p2pfl.wire import canonical
from p2pfl.wire.messages import (
    KINDS,
    LENGTH_MAX,
    NOTES_MAX,
    PHASE_MIN,
    REACH_MIN,
    SECTION_FIELDS_MAX,
    U63,
    Bye,
    Edge,
    Fetch,
    Parcel,
    Row,
    Section,
    Snapshot,
    State,
    Update,
    parse,
)

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "messages.json").read_text())
RECIPE, TO, DIGEST = bytes(range(32)), bytes([9]) * 32, bytes([7]) * 32
AVERAGES = (12.5, 1500.0, 0.25, 1_000_000)
SECTIONS = (Section((-7, 2, 0), 812), Section((-3, 1, 0.5), 40))

UPDATE = Update(
    recipe=RECIPE,
    to=TO,
    epoch=5 << 31 | 77,
    seq=41,
    averages=AVERAGES,
    reference=DIGEST,
    answer=True,
    receipt=bytes(32),
    norm=1.25,
    reach=3.75,
    work=0.6,
    phase=1.0,
    tau=0.125,
    damp=0.5,
    sections=SECTIONS,
)
ROW = Row(RECIPE, TO, 12, AVERAGES, SECTIONS[:1], (0.5, -2.0))
SNAPSHOT = Snapshot(RECIPE, TO, 6 << 31 | 3, (-27, -30), (Section((), 64), Section((), 12)))

MESSAGES: dict[str, Any] = {
    "update, the answer": UPDATE,
    "update, no reach and no radius": replace(UPDATE, answer=False, reach=inf, tau=inf, epoch=0, seq=0),
    "row": ROW,
    "row without notes": replace(ROW, notes=()),
    "snapshot": SNAPSHOT,
    "edge, want": Edge(RECIPE, TO, "want", 5 << 31, 41),
    "snapshot, afresh": replace(SNAPSHOT, fresh=True),
    "edge, afresh": Edge(RECIPE, TO, "afresh", 5 << 31, 41),
    "edge, have": Edge(RECIPE, TO, "have", 6 << 31, 0),
    "edge, ahead": Edge(RECIPE, TO, "ahead", U63, U63),
    "edge, hello": Edge(RECIPE, TO, "hello", 0, 0),
    "bye": Bye(RECIPE, TO, ROUNDS_MAX),
    "fetch": Fetch(RECIPE, TO, bytes(32), 0),
    "fetch, a part": Fetch(RECIPE, TO, DIGEST, STATE_PARTS_MAX),
    "state, the list": State(RECIPE, TO, DIGEST, 0, 11, AVERAGES, 2),
    "state, a part": State(RECIPE, TO, DIGEST, 3, 11, AVERAGES, 0, SECTIONS[:1]),
    "ledger": Parcel(TO),
}


def written(name: str, message: Any) -> dict[str, str]:
    """A vector: to make it anew, print this for every message."""
    return {"name": name, "kind": message.KIND, "fields": canonical.packb(message.to_fields()).hex()}


def test_the_vectors_are_these_messages() -> None:
    assert VECTORS["accepted"] == [written(name, message) for name, message in MESSAGES.items()]


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: vector["name"])
def test_golden_fields(vector: dict[str, str]) -> None:
    fields = canonical.unpackb(bytes.fromhex(vector["fields"]), 1 << 16)
    assert parse(vector["kind"], fields) == MESSAGES[vector["name"]]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_refused_fields(vector: dict[str, str]) -> None:
    fields = canonical.unpackb(bytes.fromhex(vector["fields"]), 1 << 16)
    with pytest.raises(Reject) as refused:
        parse(vector["kind"], fields)
    assert refused.value.code == vector["code"]


def test_every_kind_has_a_vector() -> None:
    assert {vector["kind"] for vector in VECTORS["accepted"]} == KINDS.keys()


# ------------------------------------------------------------------------------------------------ bounds

SIXTY = tuple(Section((), 1) for _ in range(SECTIONS_MAX))
FULL = Section((1,) * SECTION_FIELDS_MAX, BODY_BYTES_MAX)


def averages(**numbers: float) -> tuple[Any, ...]:
    return tuple({**dict(zip(("progress", "samples", "score", "stop_at"), AVERAGES, strict=True)), **numbers}.values())


LIST = State(RECIPE, TO, DIGEST, 0, 11, AVERAGES, 2)
PART = replace(LIST, part=3, sections=SECTIONS[:1])

AT_THE_BOUND: list[tuple[Any, str, list[Any], list[Any]]] = [
    (Fetch(RECIPE, TO, DIGEST, 1), "part", [0, STATE_PARTS_MAX], [-1, STATE_PARTS_MAX + 1, 1.0, True]),
    (Fetch(RECIPE, TO, DIGEST, 1), "root", [bytes(32)], [bytes(31), "", 0]),
    (PART, "part", [1, 11], [0, 12, -1, 1.0]),
    (PART, "parts", [3, STATE_PARTS_MAX], [2, STATE_PARTS_MAX + 1]),
    (PART, "root", [bytes(32)], [bytes(33)]),
    (PART, "load", [0, NODES_MAX], [-1, NODES_MAX + 1, 0.0]),
    (PART, "sections", [SECTIONS[:1]], [(), SECTIONS]),
    (LIST, "sections", [()], [SECTIONS[:1]]),
    (UPDATE, "epoch", [0, U63], [-1, U63 + 1, 1.0, True, b""]),
    (UPDATE, "seq", [0, U63], [-1, U63 + 1, "1"]),
    (UPDATE, "recipe", [bytes(32)], [bytes(31), bytes(33), "x" * 32, 0]),
    (UPDATE, "to", [bytes(32)], [bytes(31), []]),
    (UPDATE, "reference", [bytes(32)], [b"", bytes(33)]),
    (UPDATE, "receipt", [bytes(32)], [bytes(31)]),
    (UPDATE, "answer", [True, False], [0, 1, "yes"]),
    (UPDATE, "norm", [0.0, LENGTH_MAX], [-1e-9, 1.01 * LENGTH_MAX, nan, 1]),
    (UPDATE, "reach", [inf, REACH_MIN, LENGTH_MAX], [0.0, -0.5, -2.0, REACH_MIN / 2, 1.01 * LENGTH_MAX, 3]),
    (UPDATE, "work", [0.0, 1e12], [-1.0, 1.01e12, 1]),
    (UPDATE, "phase", [PHASE_MIN, 1e12], [0.0, PHASE_MIN / 2, 1.01e12]),
    (UPDATE, "tau", [inf, 0.0, LENGTH_MAX], [-0.5, 1.01 * LENGTH_MAX, 0]),
    (UPDATE, "damp", [0.1, 1.0], [0.099, 1.001, 1]),
    (UPDATE, "averages", [averages(progress=0.0), averages(progress=float(ROUNDS_MAX))], [averages(progress=-0.1)]),
    (
        UPDATE,
        "averages",
        [averages(samples=1e-9)],
        [averages(samples=0.0), averages(samples=2e15), averages(samples=1)],
    ),
    (
        UPDATE,
        "averages",
        [averages(stop_at=0)],
        [averages(stop_at=ROUNDS_MAX + 1), averages(stop_at=1.0), AVERAGES[:3]],
    ),
    (UPDATE, "sections", [SIXTY, (FULL,)], [(), (*SIXTY, SIXTY[0])]),
    (UPDATE, "sections", [SIXTY], [(Section((1,) * (SECTION_FIELDS_MAX + 1), 1),), (Section((), BODY_BYTES_MAX + 1),)]),
    (
        UPDATE,
        "sections",
        [(Section((U63, -U63, 1e300), 0),)],
        [(Section((True,), 1),), (Section((), -1),), (Section(("a",), 1),)],
    ),
    (ROW, "round", [0, ROUNDS_MAX], [-1, ROUNDS_MAX + 1, 1.0]),
    (ROW, "notes", [(), (1.0,) * NOTES_MAX], [(1.0,) * (NOTES_MAX + 1), (1,), (inf,), (1.01 * LENGTH_MAX,)]),
    (SNAPSHOT, "epoch", [0, U63], [-1, U63 + 1]),
    (SNAPSHOT, "fresh", [True, False], [0, 1, ""]),
    (
        SNAPSHOT,
        "exponents",
        [(-120,), (90,), (0,) * SECTIONS_MAX],
        [(), (-121,), (91,), (0.0,), (0,) * (SECTIONS_MAX + 1)],
    ),
    (MESSAGES["edge, want"], "state", ["have", "hello"], ["", "go", 1, [], b"want"]),
    (MESSAGES["edge, want"], "seq", [0, U63], [-1, U63 + 1]),
    (MESSAGES["bye"], "round", [0, ROUNDS_MAX], [-1, ROUNDS_MAX + 1]),
]


@pytest.mark.parametrize(("message", "name", "good", "bad"), AT_THE_BOUND)
def test_every_field_is_held_to_its_bound(message: Any, name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        said = replace(message, **{name: value})
        assert parse(said.KIND, said.to_fields()) == said
    for value in bad:
        said = replace(message, **{name: value})
        with pytest.raises(Reject):
            parse(said.KIND, said.to_fields())


@pytest.mark.parametrize("message", MESSAGES.values(), ids=list(MESSAGES))
def test_no_field_may_be_missing_or_follow(message: Any) -> None:
    fields = message.to_fields()
    for wrong in (fields[:-1], [*fields, 0], []):
        with pytest.raises(Reject):
            parse(message.KIND, wrong)


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(Reject, match=r"expected one of .* got 'vote'"):
        parse("vote", [])


# ------------------------------------------------------------------------------------------------ laws

lengths = st.floats(0, 1e30)
sections = st.lists(
    st.builds(
        Section,
        st.lists(st.one_of(st.integers(-U63, U63), st.floats(-1e300, 1e300)), max_size=4).map(tuple),
        st.integers(0, BODY_BYTES_MAX),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
updates = st.builds(
    Update,
    *[st.binary(min_size=32, max_size=32)] * 2,
    *[st.integers(0, U63)] * 2,
    st.tuples(st.floats(0, ROUNDS_MAX), st.floats(1e-9, 1e15), st.floats(-1e15, 1e15), st.integers(0, ROUNDS_MAX)),
    st.binary(min_size=32, max_size=32),
    st.booleans(),
    st.binary(min_size=32, max_size=32),
    lengths,
    st.one_of(st.just(inf), st.floats(REACH_MIN, LENGTH_MAX)),
    st.floats(0, 1e12),
    st.floats(PHASE_MIN, 1e12),
    st.one_of(st.just(inf), lengths),
    st.floats(0.1, 1.0),
    sections,
)


@given(updates)
def test_what_is_said_is_what_is_heard(update: Update) -> None:
    fields = canonical.unpackb(canonical.packb(update.to_fields()), 1 << 16)
    assert parse("update", fields) == update


values = st.recursive(
    st.one_of(
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.binary(max_size=40),
        st.text(max_size=8),
        st.booleans(),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200)
@given(st.sampled_from([*sorted(KINDS), "x"]), st.lists(values, max_size=16))
def test_fields_of_any_shape_are_refused_or_parsed(kind: str, fields: list[Any]) -> None:
    try:
        message = parse(kind, fields)
    except Reject:
        return
    assert canonical.packb(message.to_fields()) == canonical.packb(fields)


@settings(max_examples=200)
@given(st.sampled_from(sorted(MESSAGES)), st.data())
def test_one_changed_field_is_refused_or_means_what_it_says(name: str, data: st.DataObject) -> None:
    message = MESSAGES[name]
    fields = message.to_fields()
    fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(values)
    try:
        changed = parse(message.KIND, fields)
    except Reject:
        return
    assert canonical.packb(changed.to_fields()) == canonical.packb(fields)
