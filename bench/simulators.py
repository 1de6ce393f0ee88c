"""Simulators side by side: each a process of its own that runs its rounds when it is its turn. Knows no bar.

The other ends are in `peers/`. A peer from the package index lives in a virtual environment of its own, which is made
where there is none yet.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO

PEERS = Path(__file__).resolve().parent / "peers"
INSTALL_S = 1800.0
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""For the peers: no telemetry, no advice. (p2pfl itself takes no settings from the environment.)"""


class Unavailable(Exception):
    """A peer cannot be had here; says why."""


@dataclass(frozen=True, slots=True)
class Side:
    """One process of a race. rounds: how many it runs in a turn, so that turns are long enough to be timed."""

    name: str
    nodes: int
    command: tuple[str, ...]
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """Medians over the turns: seconds of work, and seconds that passed, of a node's round; and peak memory."""

    cpu_s: float
    wall_s: float
    peak_mb: float


class Racer:
    """The process of a side."""

    def __init__(self, side: Side, log: IO[bytes]) -> None:
        self.side, self.log = side, log
        self.process = subprocess.Popen(
            side.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | QUIET
        )

    def __enter__(self) -> "Racer":
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()  # at the end of its input it ends
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def turn(self) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{self.side.rounds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it says why below
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            last = self.log.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Unavailable(f"{self.side.name}: it ended: {''.join(last)[:200]}")
        found: dict[str, float] = json.loads(line)
        return found


def race_sides(sides: Sequence[Side], turns: int, folder: Path) -> dict[str, Pace]:
    """All sides at once, one working at a time; medians over `turns` turns after one to warm up. Raises Unavailable."""
    with ExitStack() as stack:
        logs = [stack.enter_context((folder / f"side{place}.log").open("w+b")) for place in range(len(sides))]
        racers = [stack.enter_context(Racer(side, log)) for side, log in zip(sides, logs, strict=True)]
        for racer in racers:
            racer.turn()
        told: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
        for turn in range(turns):
            for racer in racers if turn % 2 else reversed(racers):
                told[racer.side.name].append(racer.turn())
    return {side.name: _pace(told[side.name], side.nodes * side.rounds) for side in sides}


def _pace(turns: Sequence[Mapping[str, float]], node_rounds: int) -> Pace:
    def usual(what: str) -> float:
        return median(turn[what] for turn in turns) / node_rounds

    return Pace(usual("cpu"), usual("wall"), max(turn["peak_mb"] for turn in turns))


def ours(name: str, document: Path, nodes: int, engine: str = "auto", rounds: int = 1) -> Side:
    return Side(name, nodes, (sys.executable, str(PEERS / "ours.py"), str(document), str(nodes), engine), rounds)


def plain(name: str, data: Path, nodes: int, kind: str, rounds: int = 1) -> Side:
    return Side(name, nodes, (sys.executable, str(PEERS / "plain.py"), str(data), str(nodes), kind), rounds)


def peer(name: str, python: Path, script: str, data: Path, nodes: int, rounds: int = 1) -> Side:
    return Side(name, nodes, (str(python), str(PEERS / script), str(data), str(nodes)), rounds)


def environment(folder: Path, requirements: Sequence[str]) -> Path:
    """The Python of a virtual environment at `folder` with these packages, made if it is not there. Raises
    Unavailable."""
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(requirements) + "\n"
    if done.exists() and done.read_text() == wanted:
        return python
    print(f"making an environment for {requirements[-1]} at {folder}: some minutes", flush=True)
    try:
        _run([sys.executable, "-m", "venv", str(folder)])
        for requirement in requirements:
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement])
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise Unavailable(f"{requirements[-1]}: {said.strip().splitlines()[-1]}") from None
    done.write_text(wanted)
    return python


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
