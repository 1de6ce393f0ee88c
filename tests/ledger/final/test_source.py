"""What is read of a ledger that goes on meanwhile is of one moment."""

from pathlib import Path
from typing import Any

import pytest

from p2pfl.errors import BrokenChain
from p2pfl.ledger.check.explain import replay
from p2pfl.ledger.check.proofs import prove_state, verify_proof
from p2pfl.ledger.check.source import STATE_TRIES_MAX, FileSource, View
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore


def split(network: Any, heights: int) -> tuple[list[Any], list[Any]]:
    """What the node of a new network writes in its first heights, and in one more."""
    for _ in range(heights):
        network.sends(0, 1)
        network.close()
    before = len(network.puts)
    network.sends(1, 0)
    network.close()
    return network.puts[:before], network.puts[before:]


def test_a_reader_sees_the_moment_it_was_opened_in(make_network: Any, tmp_path: Path) -> None:
    network, path = make_network(), tmp_path / "node.db"
    first, more = split(network, 3)
    store = SqliteStore(path)
    store.commit(first)
    with open_reader(path) as reader:
        view = View(FileSource(reader))
        rows = len(list(reader.rows()))
        store.commit(more)
        assert len(list(reader.rows())) == rows
        assert view.state().root() == network.states[3].root()
        assert [played.block.height for played in replay(view)] == [1, 2, 3]
    with open_reader(path) as reader:
        assert View(FileSource(reader)).state().root() == network.states[4].root()
    store.close()


class Running:
    """A node that is asked over the network: each piece is of the moment it is asked for, and it finalizes meanwhile.

    `late`: how often its next height is final just before it answers for its state.
    """

    name = "http://node"

    def __init__(self, path: Path, puts: list[list[Any]], late: int) -> None:
        self.path, self.puts, self.late = path, puts, late
        self.store = SqliteStore(path)
        self._go_on()

    def _go_on(self) -> None:
        if self.puts:
            self.store.commit(self.puts.pop(0))

    def get(self, what: str) -> bytes | None:
        if what == "state" and self.late > 0:
            self.late -= 1
            self._go_on()
        with open_reader(self.path) as reader:
            return FileSource(reader).get(what)


@pytest.fixture
def running(make_network: Any, tmp_path: Path) -> Any:
    """A network, and a maker of a source that has it up to its third height."""
    network = make_network()
    first, more = split(network, 3)
    sources = []

    def make(late: int) -> Running:
        sources.append(Running(tmp_path / "node.db", [first, more], late))
        return sources[-1]

    yield network, make
    for source in sources:
        source.store.close()


def test_a_view_goes_on_with_a_node_that_went_on(running: Any) -> None:
    network, make = running
    view = View(make(late=1))
    assert view.height == 3
    assert view.state().root() == network.states[4].root()
    assert (view.height, view.head) == (4, network.blocks[3].hash)
    assert [played.block.height for played in replay(view)] == [1, 2, 3, 4]


def test_a_proof_of_a_node_that_went_on_holds(running: Any) -> None:
    network, make = running
    proof = prove_state(View(make(late=1)), "balance", network.nodes[0].node)
    assert verify_proof(proof, network.genesis).checkpoint.size == network.tip.log.size


def test_a_node_that_outruns_its_reader_is_an_error(make_network: Any, tmp_path: Path) -> None:
    network = make_network()
    heights = []
    for _ in range(STATE_TRIES_MAX + 1):
        before = len(network.puts) if heights else 0
        network.close()
        heights.append(network.puts[before:])
    source = Running(tmp_path / "node.db", heights, late=STATE_TRIES_MAX)
    with pytest.raises(BrokenChain, match="faster than"):
        View(source).state()
    assert View(source).state().root() == network.states[-1].root()
    source.store.close()
