"""Cells drawn together: nobody foresees or chooses the value; who withholds sits out, and is named."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.config import parse_network
from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import derive, root
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError, Reject
from p2pfl.mixing.cell import WINDOW_MAX, Cell
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated
from p2pfl.secagg.beacon import NUMBERS_AHEAD_MAX, Book, Salted, honest_value, secret_of, value_of
from p2pfl.secagg.partition import Ground
from p2pfl.secagg.salt import HEAD_BYTES_MAX, SaltMessage, heads_in, open_quoted
from p2pfl.secagg.sheet import pack_heads
from p2pfl.wire.envelope import open_head, seal
from p2pfl.wire.keyfile import Signer

CONTEXT = bytes(range(32))
NODES = [NodeId(bytes([n]) * 32) for n in range(1, 6)]


def books() -> dict[NodeId, Book]:
    return {node: Book(CONTEXT, node, NODES, secret_of(bytes([9]) + node[1:])) for node in NODES}


def tell(books: dict[NodeId, Book], said: Sequence[Salted]) -> None:
    for book in books.values():
        for one in said:
            book.note(one)


def to_window(books: dict[NodeId, Book], window: int) -> None:
    """Everybody hears everything, until the value of the window is known."""
    tell(books, [book.begin(0) for book in books.values()])
    for _ in range(window + 2):
        assert all(not book.missing() for book in books.values())
        tell(books, [book.close() for book in books.values()])


def test_all_draw_the_same_and_an_engine_without_messages_too() -> None:
    found = books()
    to_window(found, 2)
    values = {found[node].drawn(2) for node in NODES}
    assert len(values) == 1
    drawn = values.pop()
    assert drawn is not None
    assert drawn.members == tuple(sorted(NODES))
    assert drawn.value == honest_value(CONTEXT, 2, {node: book.secret for node, book in found.items()})
    assert found[NODES[0]].drawn(0) is None  # long past


@settings(max_examples=20)
@given(st.permutations(range(5)), st.integers(0, 4))
def test_the_value_depends_on_every_salt_and_on_no_order(order: list[int], changed: int) -> None:
    salts = {NODES[n]: bytes([n]) * 32 for n in range(5)}
    value = value_of(CONTEXT, 3, {NODES[n]: salts[NODES[n]] for n in order})
    assert value == value_of(CONTEXT, 3, salts)
    assert value != value_of(CONTEXT, 3, salts | {NODES[changed]: b"x" * 32})
    assert value != value_of(CONTEXT, 4, salts)


def test_a_salt_is_opened_only_after_the_commitments_are_closed() -> None:
    book = books()[NODES[0]]
    first = book.begin(0)
    assert first.salt == b""
    opens = book.close()  # nobody else was in time
    assert opens.number == 1
    late = books()[NODES[1]].begin(0)
    assert book.note(late) is None  # it could have chosen its salt by now
    book.note(replace(late, number=1))
    book.close()
    drawn = book.drawn(0)
    assert drawn is not None
    assert drawn.members == (NODES[0],)


@pytest.mark.parametrize("salt", [b"", b"z" * 32])
def test_who_withholds_or_changes_its_salt_is_left_out_and_named(salt: bytes) -> None:
    found = books()
    tell(found, [book.begin(0) for book in found.values()])
    said = [book.close() for book in found.values()]
    liar = said[0].author
    said = [replace(one, salt=salt) if one.author == liar else one for one in said]
    honest = {node: book for node, book in found.items() if node != liar}
    for book in honest.values():
        book._said[1] = {}
    tell(honest, said)
    for book in honest.values():
        book.close()
        drawn = book.drawn(0)
        assert drawn is not None
        assert drawn.withheld == (liar,)
        assert liar not in drawn.members
        assert len(drawn.members) == 4


def test_two_statements_of_one_number_are_seen_and_memory_is_bounded() -> None:
    book, other = books()[NODES[0]], books()[NODES[1]]
    book.begin(0)
    said = other.begin(0)
    assert book.note(said) is said
    twice = replace(said, commitment=bytes(32))
    first = book.note(twice)
    assert first is said
    assert not first.says(twice)
    assert book.note(replace(said, number=NUMBERS_AHEAD_MAX)) is not None
    assert book.note(replace(said, number=NUMBERS_AHEAD_MAX + 1)) is None
    assert book.note(replace(said, author=NodeId(bytes(32)))) is None


def test_one_cell_of_all_needs_no_value() -> None:
    around = {node: tuple(other for other in NODES if other != node) for node in NODES}
    assert Ground(around, 5).fixed
    assert Ground(around, 5, "members").fixed
    assert not Ground(around, 4, "members").fixed
    assert not Ground({**around, NODES[0]: NODES[1:4]}, 5).fixed
    assert set(Ground(around, 4).among(NODES[:3]).around) == set(NODES[:3])


@pytest.mark.parametrize("window", [0, WINDOW_MAX + 1, 1.5])
def test_windows_have_bounds(window: Any) -> None:
    with pytest.raises(ConfigError, match=r"mix\.window"):
        Cell(window=window)


# ------------------------------------------------------------------------------------------------ the message


def head_of(signer: Signer, network: bytes, message: SaltMessage) -> bytes:
    return open_head(seal(signer, network, message.KIND, message.to_fields())[0]).raw


def test_quoted_heads_are_opened_and_forged_ones_refused() -> None:
    signer, network = Signer(derive(root(1), "signer")), bytes(range(1, 33))
    message = SaltMessage(bytes(32), bytes(32), 3, b"s" * 32, b"c" * 32, False)
    raw = head_of(signer, network, message)
    assert len(raw) < HEAD_BYTES_MAX
    body = pack_heads([raw, raw])
    found = open_quoted(heads_in(body, 4), network, bytes(32), {})
    assert [(one.author, one.number, one.salt) for one in found] == [(signer.node, 3, b"s" * 32)] * 2
    assert found[0].head == raw
    for bad_network, recipe in ((bytes(32), bytes(32)), (network, b"r" * 32)):
        with pytest.raises(Reject):
            open_quoted([raw], bad_network, recipe, {})
    forged = raw.replace(b"c" * 32, b"d" * 32)
    with pytest.raises(Reject, match="not signed"):
        open_quoted([forged], network, bytes(32), {})
    with pytest.raises(Reject, match="not signed"):  # also where the true one is known
        open_quoted([forged], network, bytes(32), {(signer.node, 3): found[0]})
    for cut in (1, len(body) - 1):
        with pytest.raises(Reject):
            heads_in(body[:cut], 4)
    with pytest.raises(Reject, match="up to 1"):
        heads_in(body, 1)


def test_every_prefix_and_every_wrong_field_is_refused() -> None:
    fields = SaltMessage(bytes(32), bytes(32), 3, b"", b"c" * 32, True).to_fields()
    assert SaltMessage.from_fields(fields).to_fields() == fields
    for cut in range(len(fields)):
        with pytest.raises(Reject):
            SaltMessage.from_fields(fields[:cut])
    for place, bad in ((0, 2), (0, True), (1, b""), (2, 7), (3, -1), (3, True), (4, b"short"), (5, b""), (6, 1)):
        with pytest.raises(Reject):
            SaltMessage.from_fields([bad if n == place else value for n, value in enumerate(fields)])


# ------------------------------------------------------------------------------------------------ the gossip job


def test_a_withholder_sits_out_a_window_and_the_others_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: dict[str, Any] = {
        "format": 1,
        "seed": 3,
        "model": {"name": "linear", "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"mode": "lockstep", "rounds": 5, "evaluate": 0, "timeout_s": 2.0, "closing": 0},
        "topology": {"family": "ring"},
        "train": {"lr": 0.1, "batch_size": 16, "steps": 1},
        "mix": {"rule": "cell", "size": 4, "scope": "members", "window": 2},
        "compress": {"codec": "fp32"},
        "data": {"source": "digits"},
    }
    config = simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), 8)
    liar, honest = config.nodes[2].key, Book._say

    def withhold(book: Book, number: int) -> Salted:
        said = honest(book, number)
        if number == 2 and book.me == liar:  # the salt of window 1
            book._said[2][book.me] = said = replace(said, salt=b"")
        return said

    monkeypatch.setattr(Book, "_say", withhold)
    emitted: list[tuple[str, Emit]] = []
    simulation = build_simulation(config, World(), on_emit=lambda outcome, emit: emitted.append((outcome.name, emit)))
    trace = run_simulation(simulation)
    assert trace.outcome == "stopped"
    named = {(emit.fields["peer"], emit.fields["window"]) for _, emit in emitted if emit.name == "withheld"}
    assert named == {(short(liar), 1)}
    assert sum(emit.name == "withheld" for name, emit in emitted if name != "n2") == 7
    sums = [(name, emit.fields["round"]) for name, emit in emitted if emit.name == "cell"]
    rounds = {name: [round_ for who, round_ in sums if who == name] for name in simulation.nodes}
    assert rounds["n2"] == [0, 1, 4]
    assert all(rounds[name] == [0, 1, 2, 3, 4] for name in rounds if name != "n2")
