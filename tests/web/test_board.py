"""What a page is told: the newest word, only what has changed, bounded curves, links between known nodes only."""

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.web.board import FIELDS, LINES_MAX, REFUSALS_MAX, Board
from p2pfl.web.curves import POINTS_MAX, points_for
from p2pfl.web.folders import Folder

KEYS = {f"n{i}": f"{i:02x}" * 32 for i in range(12)}


def board() -> Board:
    found = Board("test")
    for name, key in KEYS.items():
        found.introduce(name, key)
    return found


@given(rounds=st.lists(st.integers(0, 5000), min_size=1, max_size=1500))
@settings(max_examples=30)
def test_a_curve_stays_bounded_and_ends_with_the_newest(rounds: list[int]) -> None:
    found = board()
    for round_ in sorted(rounds):
        found.tell("n1", round=round_, accuracy=round_ / 5000, seconds=float(round_))
    points = found.snapshot()["judged"]["n1"]
    assert 0 < len(points) <= POINTS_MAX
    assert [point[1] for point in points] == sorted({point[1] for point in points})
    assert points[-1][1] == max(rounds)


def test_many_nodes_have_fewer_points_each() -> None:
    assert points_for(8) == POINTS_MAX
    assert points_for(1000) * 1000 <= 60_000
    assert points_for(100_000) > 0


def test_a_page_is_told_what_is_newer_than_what_it_has() -> None:
    found = board()
    for round_ in range(8):
        found.tell("n1", round=round_, accuracy=0.5 + round_ / 100)
    seen = found.snapshot()
    assert seen["whole"]
    assert len(seen["nodes"]) == len(KEYS)
    found.tell("n1", round=8, accuracy=0.6, apart=0.25)
    found.tell("n2", state="training", round=1)
    found.link("n1", "n2", 1)
    news = found.snapshot(seen["version"])
    assert not news["whole"]
    assert [node["name"] for node in news["nodes"]] == ["n1", "n2"]
    assert [point[1] for point in news["judged"]["n1"]] == [8]
    assert news["course"] == {"n1": [[0.0, 8, 0, 0.25]]}
    assert news["edges"] == [["n1", "n2", 1, None]]
    assert found.snapshot(news["version"])["nodes"] == []


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(KEYS)), st.integers(0, 9), st.sampled_from(sorted(KEYS))), max_size=30
    ),
    cuts=st.sets(st.integers(0, 30)),
)
@settings(max_examples=50)
def test_news_put_together_are_the_whole(steps: list[tuple[str, int, str]], cuts: set[int]) -> None:
    """Law: a page that takes all news knows what a page that opens now is told."""
    found, seen = board(), 0
    nodes: dict[str, Any] = {}
    edges: dict[tuple[str, str], Any] = {}

    def take() -> None:
        nonlocal seen
        news = found.snapshot(seen)
        seen = news["version"]
        nodes.update({node["name"]: node for node in news["nodes"]})
        edges.update({(a, b): rest for a, b, *rest in news["edges"]})

    for number, (name, round_, other) in enumerate(steps):
        found.tell(name, round=round_, accuracy=round_ / 10)
        found.met(name, [KEYS[other][:8]], float(number))
        if number in cuts:
            take()
    take()
    whole = found.snapshot()
    assert nodes == {node["name"]: node for node in whole["nodes"]}
    assert edges == {(a, b): rest for a, b, *rest in whole["edges"]}


def test_links_are_counted_once_whoever_tells_and_only_between_known_nodes() -> None:
    found = board()
    found.met("n1", [KEYS["n2"][:8]], 3.0)
    found.met("n2", [KEYS["n1"][:8]], 4.0)
    found.link("n1", KEYS["n2"], 1)
    found.link("n1", "ff" * 32, 5)
    found.link("n3", KEYS["n3"], 5)
    assert found.snapshot()["edges"] == [["n1", "n2", 2, 4.0]]


def test_nodes_are_in_the_order_that_people_count_in() -> None:
    assert [node["name"] for node in board().snapshot()["nodes"]] == [f"n{i}" for i in range(12)]


def test_only_what_changed_makes_a_new_version() -> None:
    found = board()
    found.tell("n1", state="training", round=3, accuracy=0.5)
    before = found.version
    found.tell("n1", state="training", round=3, accuracy=0.5)
    assert found.version == before
    found.tell("n1", state="gone", why="does not answer")
    assert found.version == before + 1


def test_a_node_that_was_only_heard_of_keeps_its_edges_when_it_says_its_name() -> None:
    found = Board("test")
    found.introduce("n0", KEYS["n0"])
    found.introduce(KEYS["n1"][:8], KEYS["n1"], state="heard of")
    found.link("n0", KEYS["n1"], 3)
    found.line("n0", KEYS["n1"], latency_ms=2.0)
    found.refusal("n0", KEYS["n1"], "late")
    seen = found.version
    found.rename(KEYS["n1"][:8], "n1")
    news = found.snapshot(seen)
    assert news["whole"], "an older page has a node of another name"
    assert news["edges"] == [["n0", "n1", 3, None]]
    detail = found.detail("n1")
    assert detail is not None
    assert detail["refusals"] == [{"by": "n0", "of": "n1", "why": "late", "times": 1}]
    assert found.cards["n0"].lines == {"n1": {"latency_ms": 2.0}}


def test_two_keys_of_one_name_are_two_nodes() -> None:
    found = board()
    other = found.introduce("n1", "ff" * 32)
    assert other.name == "n1 ffffffff"
    assert found.cards["n1"].key == KEYS["n1"]


# ------------------------------------------------------------------------------------------------ what is hostile

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.text(max_size=100), fields=st.dictionaries(st.sampled_from(sorted(FIELDS)), ANYTHING, max_size=6))
@settings(max_examples=100)
def test_whatever_a_node_says_a_page_can_read_it(name: str, fields: dict[str, object]) -> None:
    found = board()
    found.tell(name, **fields)
    text = json.dumps(found.snapshot(), allow_nan=False)
    assert len(text) < 30_000
    for node in json.loads(text)["nodes"]:
        assert len(node["name"]) <= 74
        assert node["name"].isprintable()
        assert isinstance(node["round"], int)
        assert node["accuracy"] is None or isinstance(node["accuracy"], float)


@pytest.mark.parametrize("value", [nan, inf, -inf, 1e300, 10**400, "0.5", True, [0.5], {"a": 1}])
def test_what_is_no_number_leaves_what_is_known(value: object) -> None:
    found = board()
    found.tell("n1", round=1, accuracy=0.5, loss=1.0)
    found.tell("n1", round=2, accuracy=value, loss=value)
    assert (found.cards["n1"].accuracy, found.cards["n1"].loss) == (0.5, 1.0)


def test_what_is_told_is_bounded() -> None:
    found = board()
    for number in range(REFUSALS_MAX + 9):
        found.refusal("n1", "n2", f"code {number}")
        found.line("n1", f"peer {number}", latency_ms=1.0)
    assert len(found.refusals()) == REFUSALS_MAX
    assert len(found.cards["n1"].lines) == LINES_MAX


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
    assert found.snapshot()["edges"] == [["n0", "n1", 1, 1.0]]
    with run.open("a") as file:
        file.write('{"seconds": 2.0, "event": "evaluation", "round": 2, "accuracy": 0.5, "lo')  # half a line
    folder.look()
    assert card.accuracy is None
    with run.open("a") as file:
        file.write('ss": 1.5}\nnot json\n[1]\n')
    write(run, {"seconds": 3.0, "event": "round", "round": 5, "rounds": 9, "apart": 0.5, "bytes_sent": 50})
    write(run, {"seconds": 4.0, "event": "finished", "round": 9, "bytes_sent": 99})
    folder.look()
    assert (card.state, card.round, card.accuracy, card.loss, card.bytes_sent) == ("done", 9, 0.5, 1.5, 99)
    assert card.apart == 0.5
    assert card.round_s == pytest.approx(1 / 3)


def test_the_common_test_set_counts_before_a_node_s_own(tmp_path: Path) -> None:
    run, found = demo(tmp_path), Board("test")
    for split, accuracy in (("validation", 0.9), ("test", 0.5), ("validation", 0.8)):
        write(run, {"seconds": 1, "event": "evaluation", "round": 2, "split": split, "accuracy": accuracy, "loss": 1})
    Folder(tmp_path, found).look()
    assert found.cards["n0"].accuracy == 0.5


def test_refusals_are_told_with_who_whom_and_why(tmp_path: Path) -> None:
    run, found = demo(tmp_path), Board("test")
    write(run, {"event": "rejected", "peer": KEYS["n1"][:8], "code": "size"})
    write(run, {"event": "rejected", "peer": KEYS["n1"][:8], "code": "size"})
    write(run, {"event": "refused_by", "peer": KEYS["n1"][:8], "code": "stranger"})
    Folder(tmp_path, found).look()
    assert found.refusals() == [
        {"by": "n0", "of": "n1", "why": "size", "times": 2},
        {"by": "n1", "of": "n0", "why": "stranger", "times": 1},
    ]
    assert found.cards["n0"].refused == 2


def test_the_privacy_budget_that_is_left_is_told(tmp_path: Path) -> None:
    run, found = demo(tmp_path), Board("test")
    write(run, {"seconds": 2, "event": "round", "round": 2, "rounds": 9, "budget": 4.0, "releases": 30, "planned": 90})
    Folder(tmp_path, found).look()
    card = found.cards["n0"]
    assert (card.budget, card.releases, card.planned) == (4.0, 30, 90)


def test_one_node_s_run_is_called_as_its_configuration_says(tmp_path: Path) -> None:
    write(tmp_path / "metrics.jsonl", {"seconds": 1.0, "event": "round", "round": 1, "rounds": 9})
    (tmp_path / "config.toml").write_text('name = "ward-3"\n')
    found = Board("test")
    Folder(tmp_path, found).look()
    assert list(found.cards) == ["ward-3"]


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
    assert found.snapshot()["edges"] == [["n0", "n1", 6, None]]


def test_a_simulation_is_followed_while_it_runs(tmp_path: Path) -> None:
    said = {"seconds": 0.5, "event": "round", "name": "n1", "round": 3, "rounds": 9, "apart": 0.25}
    write(tmp_path / "course.jsonl", {"event": "edge", "name": "n0", "peer": KEYS["n1"]}, said)
    entries = "".join(f'[[nodes]]\nname = "{name}"\nkey = "{KEYS[name]}"\n' for name in ("n0", "n1"))
    (tmp_path / "network.toml").write_text(entries)
    found = Board("test")
    Folder(tmp_path, found).look()
    assert (found.cards["n1"].round, found.cards["n1"].apart) == (3, 0.25)
    assert found.snapshot()["edges"] == [["n0", "n1", 0, None]]


def test_a_folder_without_a_run_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected the folder of a run \(metrics.jsonl in it\), found none"):
        Folder(tmp_path, Board("test"))
