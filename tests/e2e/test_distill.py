"""examples/distill with a process for every node, as its page tells: unlike models over HTTP."""

from pathlib import Path
from shutil import copy

import pytest

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of
from p2pfl.cli.network import appended
from p2pfl.cli.templates import node_text
from p2pfl.config import NodeEntry, load_network
from p2pfl.runs.baselines import compute_baselines
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.outcome import Outcome
from p2pfl.wire import keyfile

EXAMPLE = Path(__file__).parents[2] / "examples" / "distill"


def started(home: Path, num_nodes: int, rounds: int) -> list[Process]:
    copy(EXAMPLE / "digits.py", home)
    text, found = (EXAMPLE / "network.toml").read_text("utf-8").replace("rounds = 60", f"rounds = {rounds}"), []
    for index, port in enumerate(free_ports(num_nodes)):
        folder, name, address = home / "nodes" / f"n{index}", f"n{index}", f"127.0.0.1:{port}"
        folder.mkdir(parents=True)
        text = appended(text, NodeEntry(name=name, key=keyfile.create(folder / "key").node, url=f"http://{address}"))
        (folder / "node.toml").write_text(node_text(name, address, index), "utf-8")
        found.append(Process(folder / "node.toml", folder / "run", Outcome(name, 1)))
    (home / "network.toml").write_text(text, "utf-8")
    return found


@pytest.mark.slow
def test_an_mlp_a_cnn_and_a_linear_model_teach_each_other_over_http(tmp_path: Path) -> None:
    processes = started(tmp_path, 6, rounds=40)
    run_processes(processes, lambda: None, 300.0)
    told = [process.summary() for process in processes]
    assert not any(summary["failure"] for summary in told)
    config = load_network(tmp_path / "network.toml")
    shared, held = assemble(config, device="cpu"), load_held(config.data, config.seed)
    alone = compute_baselines(shared, held, shares_of(held, config.data, 6, config.seed), config.data).alone
    for summary, before in zip(told, alone, strict=True):
        assert before is not None
        assert summary["accuracy"] > before
    mlp = told[0]
    assert mlp["body_bytes_sent"] < mlp["bodies_sent"] * shared.of("n0").schema.size
