"""What a page is told: the newest word, bounded histories, links between known nodes only."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.web.board import POINTS_MAX, Board
from p2pfl.web.folders import Folder

KEYS = {f"n{i}": f"{i:02x}" * 32 for i in range(12)}


def board() -> Board:
    found = Board("test")
    for name, key in KEYS.items():
        found.introduce(name, key)
    return found


@given(rounds=st.lists(st.integers(0, 5000), min_size=1, max_size=1500))
def test_a_history_stays_bounded_and_ends_with_the_newest(rounds: list[int]) -> None:
    found = board()
    for round_ in sorted(rounds):
        found.tell("n1", round=round_, accuracy=round_ / 5000, seconds=float(round_))
    history = found.snapshot()["history"]["n1"]
    assert 0 < len(history) <= POINTS_MAX
    assert [point[1] for point in history] == sorted({point[1] for point in history})
    assert history[-1][1] == max(rounds)


def test_a_page_that_has_points_gets_the_later_ones() -> None:
    found = board()
    for round_ in range(10):
        found.tell("n1", round=round_, accuracy=0.5)
    later = found.snapshot({"n1": 7})["history"]["n1"]
    assert [point[1] for point in later] == [7, 8, 9]


def test_links_are_counted_once_whoever_tells_and_only_between_known_nodes() -> None:
    found = board()
    found.met("n1", [KEYS["n2"][:8]])
    found.met("n2", [KEYS["n1"][:8]])
    found.link("n1", KEYS["n2"], 1)
    found.link("n1", "ff" * 32, 5)
    found.link("n3", KEYS["n3"], 5)
    assert found.snapshot()["edges"] == [["n1", "n2", 2]]


def test_nodes_are_in_the_order_that_people_count_in() -> None:
    assert [node["name"] for node in board().snapshot()["nodes"]] == [f"n{i}" for i in range(12)]


def test_only_what_changed_makes_a_new_version() -> None:
    found = board()
    found.tell("n1", "training", round=3, accuracy=0.5)
    before = found.version
    found.tell("n1", "training", round=3, accuracy=0.5)
    assert found.version == before
    found.tell("n1", "gone", why="does not answer")
    assert found.version == before + 1


# ------------------------------------------------------------------------------------------------ folders


def write(path: Path, *events: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(json.dumps(event) + "\n" for event in events))


def demo(folder: Path) -> Path:
    entries = "".join(f'[[nodes]]\nname = "{name}"\nkey = "{KEYS[name]}"\n' for name in ("n0", "n1"))
    (folder / "network.toml").write_text("format = 1\n" + entries)
    run = folder / "nodes" / "n0" / "run" / "metrics.jsonl"
    write(run, {"seconds": 1.0, "event": "round", "round": 1, "rounds": 9, "mixed": KEYS["n1"][:8], "bytes_sent": 10})
    return run


def test_a_folder_is_followed_while_it_grows(tmp_path: Path) -> None:
    run = demo(tmp_path)
    found = Board("test")
    folder = Folder(tmp_path, found)
    folder.look()
    card = found.cards["n0"]
    assert (card.state, card.round, card.rounds, card.accuracy) == ("training", 1, 9, None)
    assert found.snapshot()["edges"] == [["n0", "n1", 1]]
    with run.open("a") as file:
        file.write('{"seconds": 2.0, "event": "evaluation", "round": 2, "accuracy": 0.5, "lo')  # half a line
    folder.look()
    assert card.accuracy is None
    with run.open("a") as file:
        file.write('ss": 1.5}\nnot json\n[1]\n')
    write(run, {"seconds": 3.0, "event": "finished", "round": 9, "bytes_sent": 99})
    folder.look()
    assert (card.state, card.round, card.accuracy, card.loss, card.bytes_sent) == ("done", 9, 0.5, 1.5, 99)


def test_a_finished_simulation_is_shown_node_by_node(tmp_path: Path) -> None:
    for name in ("n0", "n1"):
        write(tmp_path / name / "summary.json", {})
    edge = {"peer": KEYS["n1"], "seq": 6}
    (tmp_path / "n0" / "network.toml").write_text(f'[[nodes]]\nname = "n1"\nkey = "{KEYS["n1"]}"\n')
    write(
        tmp_path / "metrics.jsonl",
        {"name": "n0", "round": 20, "accuracy": 0.9, "edges": [edge]},
        {"name": "n1", "round": 12, "accuracy": None, "edges": [], "failure": "lost its disk"},
    )
    found = Board("test")
    Folder(tmp_path, found).look()
    assert [(card.state, card.accuracy) for _, card in sorted(found.cards.items())] == [("done", 0.9), ("gone", None)]
    assert found.cards["n1"].why == "lost its disk"
    assert found.snapshot()["edges"] == [["n0", "n1", 6]]


def test_a_folder_without_a_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected the folder of a run \(metrics.jsonl in it\), found none"):
        Folder(tmp_path, Board("test"))
