"""What a person reads while a vertical job runs: each thing once, in plain words."""

from typing import Any

from p2pfl.cli.vertical_live import Progress
from p2pfl.core.party import Emit


def said(events: list[tuple[float, Emit]], capsys: Any, **how: bool) -> list[str]:
    progress = Progress("lab", **{"quiet": False, **how})
    for seconds, emit in events:
        progress.take(seconds, emit)
    progress.close()
    lines: list[str] = capsys.readouterr().err.splitlines()
    return lines


def test_a_run_is_told_line_by_line_with_a_rate(capsys: Any) -> None:
    lines = said(
        [
            (
                0.1,
                Emit(
                    "waiting", {"peer": "clinic", "why": "Cannot connect to host a:1 ssl:default [x]", "patience_s": 9}
                ),
            ),
            (0.4, Emit("returned", {"peer": "clinic", "after_s": 0.3})),
            (1.0, Emit("aligning", {"raised": 8, "of": 8, "per_second": 16.0})),
            (1.1, Emit("aligned", {"rows": 5, "of": 8})),
            (2.0, Emit("step", {"step": 1, "steps": 4, "loss": 0.7})),
            (3.0, Emit("step", {"step": 4, "steps": 4, "loss": 0.6})),
        ],
        capsys,
    )
    assert lines[:4] == [
        "lab: waiting for clinic, 9 s at most: Cannot connect to host a:1",
        "lab: clinic is there after 0.3 s",
        "lab: aligning: 8 of 8 points, 16.0 a second",
        "lab: aligned: 5 common rows of 8",
    ]
    assert lines[-1] == "lab: step 4 of 4, 3.0 a second"


def test_a_refusal_is_said_once_and_in_words(capsys: Any) -> None:
    refused = Emit("refused", {"code": "network", "detail": "this is another network"})
    waiting = Emit("waiting", {"peer": "clinic", "why": "network", "patience_s": 9})
    lines = said([(0.0, refused), (0.1, refused), (0.2, waiting)], capsys)
    assert lines == [
        "lab: refused a message: this is another network",
        "lab: waiting for clinic, 9 s at most: it has another job.toml, or does something else than this command",
    ]


def test_quiet_is_quiet(capsys: Any) -> None:
    blamed = Emit("blamed", {"party": "clinic", "key": "ab", "reason": "psi-point"})
    assert said([(0.0, blamed)], capsys, quiet=True) == []
    assert said([(0.0, blamed)], capsys, brief=True) == ["lab: blamed: party clinic, key ab, reason psi-point"]
