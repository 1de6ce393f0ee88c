"""Five processes, four of them in the genesis: the fifth joins while all run, by the commands a person types."""

import json
import signal
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.ledger.check.verify import verify_store
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.network import finals_in, ledger_agreement
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.spool import FOLDER

TASK = Path(__file__).with_name("task.py")


def ledger(capsys, *arguments):
    capsys.readouterr()
    code = main(["ledger", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return json.loads(out) if code == 0 else err


def make_genesis(home: Path) -> None:
    """All but the last node, two sponsors, windows of three heights."""
    (home / "genesis.toml").unlink()
    chosen = [word for name in ("n0", "n1", "n2", "n3") for word in ("--validator", name, "--authority", name)]
    more = ["--sponsors", "2", "--window", "3", "--epoch", "4", "--out", str(home / "genesis.toml")]
    assert main(["genesis", str(home / "network.toml"), *chosen, *more]) == 0


@pytest.mark.slow
def test_a_newcomer_joins_a_running_network(tmp_path, capsys, until):
    home = tmp_path / "trial"
    changes = (
        *("pace.rounds=100000", "pace.timeout_s=3.0", "pace.window=5", "ledger.interval_s=0.3"),
        *(f'model.name="{TASK}:slow"', "model.args.step_s=0.02"),
    )
    documents = write_trial(home, free_ports(5), "ring", SAMPLES["digits"], changes)
    make_genesis(home)
    processes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in documents]
    runs = [process.out for process in processes]

    def wait(found, what):
        until(found, processes, what)

    def height(process):
        process.follow()
        return process.outcome.ledger.get("height", 0)

    def standing(name):
        found = ledger(capsys, "balance", runs[0])
        return next((row for row in found["nodes"] if name in row["name"]), None)

    try:
        for process in processes:
            process.start()
        wait(lambda: all(height(process) >= 1 for process in processes), "the first height")
        assert "is no sponsor" in ledger(capsys, "endorse", runs[4], "n4")
        assert ledger(capsys, "join", runs[4], "--role", "worker", "--role", "validator")["kind"] == "join"
        for sponsor in (0, 2):
            said = ledger(capsys, "endorse", runs[sponsor], "n4", "--role", "worker", "--role", "validator")
            assert said["kind"] == "endorse"
        wait(lambda: not any(list(run.glob(f"{FOLDER}/*")) for run in runs), "requests that are done")
        wait(lambda: (standing("n4") or {}).get("balance", 0) > 0, "the newcomer's first credits")
        wait(lambda: ledger(capsys, "status", runs[1])["validators"] == 5, "five validators")
        for process in processes:
            process.handle.send_signal(signal.SIGINT)
        wait(lambda: all(process.handle.poll() == 0 for process in processes), "their ends")
    finally:
        end_processes(processes, 5.0)
    assert ledger_agreement([finals_in(process.store) for process in processes])["ledger_agrees"]
    assert all(verify_store(process.store).problems == () for process in processes)
