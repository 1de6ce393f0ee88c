"""Why a number is what it is, in words that are true: for zero most of all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.faults import fork_fault
from p2pfl.ledger.check.explain import explain, replay, standing, windows_of_round
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.ledger.stores.reader import open_reader


@contextmanager
def view_of(network: Any, folder: Path) -> Iterator[View]:
    with open_reader(network.write(folder / "node.db")) as reader:
        yield View(FileSource(reader))


def why(network: Any, folder: Path, who: int, window: int | None = None) -> tuple[int, str]:
    with view_of(network, folder) as view:
        found = explain(view, network.nodes[who].node, window)
        return found.credits, "\n".join(found.lines)


def test_replaying_gives_the_same_states(make_played: Any, tmp_path: Path) -> None:
    network = make_played(9)
    with view_of(network, tmp_path) as view:
        played = list(replay(view))
    assert [p.outcome.state.root() for p in played] == [state.root() for state in network.states[1:]]
    assert [p.outcome.settlement is not None for p in played] == [h % 4 == 0 for h in range(1, 10)]


def test_every_payout_is_explained_with_its_number(make_played: Any, tmp_path: Path) -> None:
    network = make_played(12)
    for number, outcome in enumerate(o for o in network.outcomes if o.settlement):
        for who in range(4):
            credits, text = why(network, tmp_path / f"{number}{who}", who, number)
            assert credits == outcome.settlement.payouts.get(network.nodes[who].node, 0)
            assert text.split("\n")[-1].endswith(f": {credits}")


def test_a_stranger(make_network: Any, tmp_path: Path) -> None:
    network = make_network(window=1)
    network.sends(3, 0, 2)
    network.close()
    credits, text = why(network, tmp_path, 3)
    assert credits == 0
    assert "cannot be paid in this window: not a member: it has not asked to join" in text
    assert "(delta.reveal) had no effect:" in text
    assert "is not admitted as a worker" in text


def test_one_who_waits_for_sponsors(make_network: Any) -> None:
    network = make_network(authorities=3, sponsors=2)
    network.say(3, "join", [1])
    network.say(0, "endorse", [network.nodes[3].node, 1])
    state = network.close().state
    words = standing(state, network.nodes[3].node, 2)
    assert words == "member: no role; asked for worker: 1 of 2 needed sponsors spoke"


def test_too_few_receivers_and_what_is_not_confirmed(make_network: Any, tmp_path: Path) -> None:
    network = make_network(authorities=3, window=2)
    network.sends(0, 1, 3)
    network.sends(0, 2, 4, taken=False)
    network.close()
    network.close()
    credits, text = why(network, tmp_path, 0)
    assert credits == 0
    assert "1 of 2 needed receivers confirm: nothing counts" in text
    assert f"4 messages that it says it sent to {network.nodes[2].node[:4].hex()} are not confirmed" in text


def test_the_convicted(make_network: Any, tmp_path: Path) -> None:
    from p2pfl.ledger.feeds.entry import make

    network = make_network(window=1)
    entry = network.say(1, "model", [b"\x11" * 32, 0])
    other = make(network.nodes[1], network.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    network.close(fork_fault(evidence_of(entry, other)))
    _, text = why(network, tmp_path, 1)
    assert "cannot be paid in this window: frozen: it signed two entries at one position of its feed" in text


def test_an_open_window_is_said_to_be_open(make_played: Any, tmp_path: Path) -> None:
    network = make_played(6)
    with view_of(network, tmp_path) as view:
        found = explain(view, network.nodes[0].node, 1)
        assert (found.closed, found.first_height, found.last_height) == (False, 5, 8)
        assert found.lines[0].startswith("the window closes at height 8, and this is height 6")
        assert found.credits > 0
        with pytest.raises(ConfigError, match="window 2 has not begun: window 1 is open, at height 6"):
            explain(view, network.nodes[0].node, 2)


def test_a_round_is_found_in_its_windows(make_network: Any, tmp_path: Path) -> None:
    network = make_network(window=2)
    for round_ in (0, 0, 0, 1, 2, 2):
        network.say(0, "model", [b"\x11" * 32, 0], round_=round_)
        network.close()
    with view_of(network, tmp_path) as view:
        found = [windows_of_round(view, network.nodes[0].node, round_) for round_ in range(4)]
    assert found == [[0, 1], [1], [2], []]
