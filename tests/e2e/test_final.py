"""Four node processes with a ledger, one of them killed and started again: one ledger, from files and over HTTP."""

import json
import os
import signal
import time
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from p2pfl.cli import root
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.ledger.check.verify import verify_store
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.network import finals_in, ledger_agreement
from p2pfl.runs.outcome import Outcome

LIMIT_S = 300.0
ROUNDS = 400


def run(*arguments):
    result = CliRunner().invoke(root, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def answered(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5.0) as reply:
            return reply.read()
    except (OSError, urllib.error.URLError):
        return None


class Watch:
    """Kills a node in mid-run, once the ledger has begun; starts it again; asks another one meanwhile."""

    def __init__(self, processes, url):
        self.processes, self.url = processes, url
        self.killed_at = None
        self.again = False
        self.seen = {}

    def __call__(self):
        heights = [process.outcome.ledger.get("height", 0) for process in self.processes]
        victim = self.processes[1]
        if self.killed_at is None and heights[1] >= 2 and victim.outcome.round < ROUNDS // 2:
            os.kill(victim.handle.pid, signal.SIGKILL)
            victim.handle.wait()
            self.killed_at = time.monotonic()
            victim.arguments = ("--resume",)
            victim.start()
            self.again = True
        if self.again and not self.seen and answered(self.url + "/v1/ledger/tip"):
            self.seen = {
                "status": run("ledger", "status", self.url),
                "balance": run("ledger", "balance", self.url),
                "node": json.loads(answered(self.url + "/v1/status") or "{}"),
                "nonsense": answered(self.url + "/v1/ledger/../../etc/passwd"),
            }


@pytest.mark.slow
def test_a_killed_process_comes_back_to_the_same_ledger(tmp_path):
    home = tmp_path / "trial"
    changes = (f"pace.rounds={ROUNDS}", "ledger.interval_s=0.3")
    write_trial(home, free_ports(4), "ring", SAMPLES["digits"], changes)
    config = load_network(home / "network.toml")
    folders = [home / "nodes" / entry.name for entry in config.nodes]
    processes = [Process(at / "node.toml", at / "run", Outcome(at.name, 0)) for at in folders]
    watch = Watch(processes, config.nodes[0].url)
    run_processes(processes, watch, LIMIT_S)
    assert watch.again
    assert [process.handle.returncode for process in processes] == [0, 0, 0, 0]
    stores = [process.store for process in processes]
    found = ledger_agreement([finals_in(store) for store in stores])
    assert found["ledger_agrees"]
    assert found["ledger_final_height"] >= 4
    for store in stores:
        result = verify_store(store)
        assert result.problems == ()
    assert watch.seen["status"][0] == 0, watch.seen
    assert watch.seen["balance"][0] == 0
    assert watch.seen["node"]["ledger"]["validators"] == 4
    assert watch.seen["nonsense"] is None
    out, genesis = tmp_path / "proof", home / "genesis.toml"
    assert run("ledger", "prove", stores[1], "#3", "--out", out)[0] == 0
    code, said = run("ledger", "verify-proof", out, "--genesis", genesis)
    assert code == 0, said
    print(f"final height {found['ledger_final_height']} on all nodes")
