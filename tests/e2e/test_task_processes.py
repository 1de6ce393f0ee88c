"""Four processes learn, and one of them pays another for it: published, bid for under seal, opened by the bidder's own
node, delivered and paid, all from the command line while they run."""

import json
import signal
import time
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.ledger.check.verify import verify_store
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.outcome import Outcome

NODES = 4
LIMIT_S = 240.0
LOOK_S = 0.2


class Town:
    """The processes, and the command line beside them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        task = Path(__file__).with_name("task.py")
        changes = (
            *("pace.rounds=100000", "pace.timeout_s=3.0", "pace.window=5", "ledger.interval_s=0.5"),
            *(f'model.name="{task}:slow"', "model.args.step_s=0.02"),
        )
        documents = write_trial(folder / "trial", free_ports(NODES), "complete", SAMPLES["digits"], changes)
        self.processes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in documents]
        self.capsys, self.deadline = capsys, time.monotonic() + LIMIT_S

    def call(self, *argv: object) -> object:
        """What a command prints with --json; None if it could not be done."""
        code = main([*map(str, argv), "--json"])
        out, err = self.capsys.readouterr()
        self.said = err
        return json.loads(out) if code == 0 else None

    def wait(self, found, what: str):
        """The first value that `found` gives."""
        while not (value := found()):
            assert time.monotonic() < self.deadline, (what, self.said)
            for process in self.processes:
                assert process.handle.poll() is None, (what, process.summary())
            time.sleep(LOOK_S)
        return value


@pytest.mark.slow
def test_work_is_bought_between_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town = Town(tmp_path, capsys)
    buyer, worker = (process.out for process in town.processes[:2])
    try:
        for process in town.processes:
            process.start()

        def credits() -> bool:
            rows = town.call("ledger", "balance", buyer)
            return bool(rows) and all(row["balance"] >= 1000 for row in rows["nodes"])

        town.wait(credits, "credits")
        terms = ("--budget", 1000, "--price", 100, "--working", 2)
        assert town.call("task", "publish", buyer, "--title", "learn with me", *terms), town.said
        (task,) = town.wait(lambda: town.call("task", "show", worker), "the task")
        assert town.call("task", "bid", worker, task["id"], "--units", 20, "--ask", 300), town.said

        def closed():
            found = town.call("task", "show", worker, task["id"])
            return found if found and found["phase"] == "closed" else None

        told = town.wait(closed, "the task's end")
        (offer,) = told["offers"]
        assert (offer["units"], offer["ask"], offer["credits"]) == (20, 300, 1000)
        assert offer["delivered"] > 0
        assert offer["paid"] == 1000 * offer["delivered"] // 20
        assert told["returned"] == 1000 - offer["paid"]
        assert not list((worker / "requests").glob("*.request")), "the bid was opened by the node itself"
        for process in town.processes:
            process.handle.send_signal(signal.SIGINT)
        for process in town.processes:
            assert process.handle.wait(max(town.deadline - time.monotonic(), 1.0)) == 0, process.summary()
            assert verify_store(process.store).problems == ()
        print(f"delivered {offer['delivered']} of 20 units, {offer['paid']} of 1000 credits")
    finally:
        end_processes(town.processes)
