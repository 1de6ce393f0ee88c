"""Node processes that learn together over HTTP on this machine, with and without a ledger. Knows no bar.

Two networks, alike but for the ledger, learn at the same time: each process gets the same share of a machine that may
be busy with other things, so the ratio of their times is that of their work. One after the other, the same pair of
runs came out at 0.83 and at 1.18 within a quarter of an hour; at once, four pairs at 1.00 to 1.03.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.outcome import Outcome

LIMIT_S = 300.0
STEPS_FIRST = 100
ROUND_S = 2.0
"""Aimed at: the first rounds, by which this is measured, are slower than the others, and a second is wanted."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: seconds a round (learning alone, from the first round on, all nodes' mean), and the ledger's height."""

    round_s: float
    height: int


def side_by_side(folder: Path, nodes: int, rounds: int, steps: int, ledger_first: bool) -> tuple[Trial, Trial]:
    """Two fresh networks of the digits, trained to their ends at once: the one with a ledger, the one without."""
    order = (True, False) if ledger_first else (False, True)
    both = {ledger: prepare(folder / str(ledger), nodes, rounds, steps, ledger) for ledger in order}
    every = [process for processes in both.values() for process in processes]
    run_processes(every, lambda: None, LIMIT_S)
    assert [process.handle and process.handle.returncode for process in every] == [0] * len(every)
    return trial(both[True], rounds), trial(both[False], rounds)


def prepare(folder: Path, nodes: int, rounds: int, steps: int, ledger: bool) -> list[Process]:
    """The documents of one network; `ledger` says whether it keeps one."""
    changes = (f"pace.rounds={rounds}", "pace.evaluate=0", f"train.steps={steps}")
    documents = write_trial(folder, free_ports(nodes), "complete", SAMPLES["digits"], changes)
    network = folder / "network.toml"
    if not ledger:
        head, _, tail = network.read_text().partition("[ledger]\n")
        network.write_text(head + tail[tail.index("[[nodes]]") :])
    assert (load_network(network).ledger.genesis is not None) == ledger
    return [Process(at, at.with_name("run"), Outcome(at.parent.name, 0)) for at in documents]


def trial(processes: list[Process], rounds: int) -> Trial:
    """What came of one network."""
    outcomes = [process.outcome for process in processes]
    seconds = mean(float(outcome.summary()["seconds"]) for outcome in outcomes)
    return Trial(seconds / (rounds - 1), min(int(outcome.ledger.get("height") or 0) for outcome in outcomes))


def compare(folder: Path, nodes: int, rounds: int, turns: int) -> tuple[float, Trial, Trial]:
    """A round with a ledger over one without, the median of some turns; and a run of each."""
    first, _ = side_by_side(folder / "first", nodes, 4, STEPS_FIRST, ledger_first=True)
    steps = max(STEPS_FIRST, round(STEPS_FIRST * ROUND_S / first.round_s))
    runs = [side_by_side(folder / str(turn), nodes, rounds, steps, turn % 2 == 0) for turn in range(turns)]
    return median(on.round_s / off.round_s for on, off in runs), *runs[turns // 2]
