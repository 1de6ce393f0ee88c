"""kill -9 of a real node between what it promised to show and the showing of it: it shows it after its restart."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli.demo_strategies import WINDOW, prepare
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.errors import ConfigError
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.kinds import COPIED, FAIR, STALE, UNOPENED, WIRE
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.outcome import Outcome

pytestmark = pytest.mark.slow

NODES = 4
TASK = Path(__file__).with_name("task.py")
PROMISES = {"update.commit": "draw.salt", "score.commit": "score.reveal"}
"""What is hidden, and what opens it."""
BROKEN = {UNOPENED, COPIED, STALE, WIRE}
"""What is found of somebody that shows something else than it promised."""


@dataclass(eq=False)
class Player:
    """A node, by its process and its key."""

    process: Process
    key: bytes

    def said(self, kind: str) -> int:
        """How often, in its own feed."""
        try:
            with open_reader(self.process.store) as reader:
                return sum(1 for row in reader.rows() if (row.author, row.kind) == (self.key, kind.encode()))
        except ConfigError:  # the file is just being made
            return 0

    def kill(self) -> None:
        assert self.process.handle is not None
        self.process.handle.send_signal(signal.SIGKILL)
        self.process.handle.wait()

    def resume(self) -> None:
        self.process.arguments = ("--resume",)
        self.process.start()

    def stop(self) -> None:
        assert self.process.handle is not None
        self.process.handle.send_signal(signal.SIGINT)

    @property
    def has_ended_well(self) -> bool:
        return self.process.handle is not None and self.process.handle.poll() == 0

    @property
    def window(self) -> int:
        """The window that is open at its last height."""
        self.process.follow()
        return int(self.process.outcome.ledger.get("height", 0)) // WINDOW

    def findings(self, of: "Player") -> dict[int, int]:
        """What was found of the work of `of` in each of the last 16 windows, as this node's ledger has it."""
        with open_reader(self.process.store) as reader:
            rows = View(FileSource(reader)).state().items("score")
        return {window: value[2] for (window, subject), value in rows if subject == of.key}  # type: ignore[index,misc]


@contextmanager
def trial(folder: Path) -> Iterator[list[Player]]:
    """Nodes that are paid by score and learn for as long as it takes. All end with the block."""
    changes = ("pace.rounds=100000", f'model.name="{TASK}:slow"', "model.args.step_s=0.005")
    paths = write_trial(folder, free_ports(NODES), "complete", SAMPLES["digits"], changes)
    prepare(folder, ("honest",) * NODES, ("ledger.interval_s=0.3",))
    keys = [bytes(entry.key) for entry in load_network(folder / "network.toml").nodes]
    processes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in paths]
    try:
        for process in processes:
            process.start()
        yield [Player(process, key) for process, key in zip(processes, keys, strict=True)]
    finally:
        end_processes(processes)


def test_nodes_that_are_killed_after_they_promised(tmp_path: Path, until: Any) -> None:
    """Two nodes of one network, one after the other: each is killed with something hidden, opens it when it is back,
    and is scored for what it does from then on."""
    with trial(tmp_path / "trial") as players:
        first, *victims = players[: 1 + len(PROMISES)]
        wait = partial(until, processes=[player.process for player in players])
        for victim, (promise, opening) in zip(victims, PROMISES.items(), strict=True):
            wait(lambda: victim.said(promise) > victim.said(opening), what=f"a {promise} that is not opened")  # noqa: B023
            victim.kill()
            hidden = victim.said(promise)
            victim.resume()
            wait(lambda: victim.said(opening) >= hidden, what=f"{hidden} of {opening}")  # noqa: B023
        back = first.window
        for victim in victims:
            wait(
                lambda: any(window > back and found == FAIR for window, found in first.findings(victim).items()),  # noqa: B023
                what="a score for what it did since it is back",
            )
        for player in players:
            player.stop()
        wait(lambda: all(player.has_ended_well for player in players), what="their ends")
    assert all(verify_store(player.process.store).ok for player in players)
    for player in players:
        found = set(first.findings(player).values())
        assert not found & BROKEN, "it may have shown too late what it did while it was away; it never showed else"
