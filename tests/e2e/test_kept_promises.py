"""kill -9 of a real node between what it promised to show and the showing of it: it shows it after its restart."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from p2pfl.cli.demo_strategies import prepare
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.errors import ConfigError
from p2pfl.ledger.check.explain import replay
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.kinds import FAIR
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.outcome import Outcome

pytestmark = pytest.mark.slow

NODES, ROUNDS = 4, 700
TASK = Path(__file__).with_name("task.py")
LIMIT_S = 300.0
LOOK_S = 0.2
PROMISES = {"update.commit": "draw.salt", "score.commit": "score.reveal"}
"""What is hidden, and what opens it."""


def said(process: Process, key: bytes) -> Counter[str]:
    """How often the node said what in its own feed, by kind."""
    try:
        with open_reader(process.store) as reader:
            return Counter(bytes(row.kind).decode() for row in reader.rows() if row.author == key)
    except ConfigError:  # the file is just being made
        return Counter()


def has_promised(process: Process, key: bytes, promise: str) -> bool:
    """Whether something is hidden and not open yet."""
    words = said(process, key)
    return words[promise] > words[PROMISES[promise]]


def wait(until, processes: list[Process]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not until():
        assert time.monotonic() < deadline, [process.summary() for process in processes]
        for process in processes:
            process.follow()
            assert process.handle.poll() in (None, 0), process.summary()["failure"]
        time.sleep(LOOK_S)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_node_that_is_killed_after_it_promised(tmp_path: Path, promise: str) -> None:
    home, victim_at = tmp_path / "trial", 1
    changes = (f"pace.rounds={ROUNDS}", f'model.name="{TASK}:slow"', "model.args.step_s=0.005")
    paths = write_trial(home, free_ports(NODES), "complete", SAMPLES["digits"], changes)
    prepare(home, ("honest",) * NODES, ())
    config = load_network(home / "network.toml")
    processes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in paths]
    victim, key = processes[victim_at], config.nodes[victim_at].key
    try:
        for process in processes:
            process.start()
        wait(lambda: has_promised(victim, key, promise), processes)
        victim.handle.send_signal(signal.SIGKILL)
        victim.handle.wait()
        hidden = said(victim, key)[promise]
        victim.arguments = ("--resume",)
        victim.start()
        wait(lambda: said(victim, key)[PROMISES[promise]] >= hidden, processes)
        wait(lambda: all(process.handle.poll() is not None for process in processes), processes)
    finally:
        end_processes(processes)
    assert all(verify_store(process.store).ok for process in processes)
    found = [score for score in scores_of(processes[0].store, key) if score is not None]
    assert FAIR in found, "it was scored"
    assert found[-1] == FAIR, "whatever it could not show in time while it was away"


def scores_of(store: Path, key: bytes) -> list[int | None]:
    """What was found of the node's work, window by window, by the ledger of another."""
    findings: list[int | None] = []
    with open_reader(store) as reader:
        for played in replay(View(FileSource(reader))):
            rows = [value for (_, subject), value in played.outcome.state.items("score") if subject == key]
            findings += [row[2] for row in rows[-1:]]
    return findings
