"""What a simulation leaves for the dashboard: neighbours first, then events with names, bounded and readable."""

import json
from pathlib import Path

from p2pfl.cli import main
from p2pfl.web.board import Board
from p2pfl.web.folders import Folder


def test_a_simulation_s_course_is_a_board(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "trial"), "--nodes", "3"]) == 0
    out = tmp_path / "out"
    words = ["sim", str(tmp_path / "trial" / "network.toml"), "--set", "pace.rounds=8", "--no-baselines"]
    assert main([*words, "--out", str(out), "--quiet"]) == 0
    lines = [json.loads(line) for line in (out / "course.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines[:3]] == ["edge"] * 3
    assert all({"seconds", "event", "name"} <= line.keys() for line in lines)
    board = Board("test")
    Folder(out, board).look()
    cards = [board.cards[name] for name in ("n0", "n1", "n2")]
    assert [(card.state, card.round, card.accuracy is not None) for card in cards] == [("done", 8, True)] * 3
    assert all(card.apart is not None and card.apart > 0 for card in cards)
    told = board.snapshot()
    assert all(len(points) >= 4 for points in told["course"].values())
    assert sum(count for _, _, count, _ in told["edges"]) > 0
