"""MNIST with differential privacy: eight processes over HTTP beside one machine with all data, at the same epsilon.

    python bench/dp_mnist.py [--quick] [--json FILE] [--data DIR] [--epsilon E ..]

Everybody trains the same small CNN with the same rate, clip, steps and learning rate; so the noise that a budget needs
is the same too. Rows:

central, no noise     the clipped and sampled steps on all data, with noise that is nothing
central               DP-SGD on all data: the promise is each example's, as in the network
central, sqrt(n)      the same with sqrt(n) times the noise: what the mean of n nodes' noisy steps has, if nothing else
                      is lost. Each node hides an example among its own n-th of the data
network               n node processes over HTTP on loopback, pairwise gossip
alone                 the first node without the others

The data set is not part of this repository: --data names the folder that holds `mnist/`.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import fmean

import torch
from harness import Row, add_data, bar, parse_args, table, write_json

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of
from p2pfl.cli.demo import settle_noise
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import NetworkConfig, load_network
from p2pfl.runs.baselines import compute_baselines
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.outcome import Outcome

NODES = 8
TINY = 1e-3
"""Noise that changes nothing: of a clipped sum of hundreds."""
LIMIT_S = 3000.0
PUBLISHED = {1.11: 0.97, 4.55: 0.98}
"""What EFLS reports for a central MNIST CNN: epsilon to accuracy."""


def document(folder: Path, data: Path, epsilon: float, quick: bool) -> NetworkConfig:
    """The network's documents in `folder`, noise solved."""
    steps = 15 if quick else 300
    changes = (
        'data.source="mnist"',
        f'data.path="{data / "mnist"}"',
        *(("data.args={ limit = 6000 }",) if quick else ()),
        "data.validation_fraction=0.0",
        'data.partition={ by = "iid" }',
        'model.name="cnn"',
        "model.input_shape=[1, 28, 28]",
        "model.args={ channels = [8, 16], hidden = 64 }",
        'privacy.unit="example"',
        f"privacy.epsilon={epsilon}",
        f"privacy.delta={1e-4 if quick else 1e-5}",
        "privacy.rate=0.05",
        "privacy.clip=1.0",
        "train.steps=1",
        "train.lr=1.0",
        f"pace.rounds={steps}",
        "pace.evaluate=0",
        "pace.timeout_s=60.0",
    )
    write_trial(folder, free_ports(NODES), "exponential", SAMPLES["digits"], changes)
    settle_noise(folder / "network.toml")
    return load_network(folder / "network.toml")


def network(folder: Path, config: NetworkConfig) -> tuple[list[float], list[float]]:
    """Accuracies of the nodes at their ends, and the megabytes that each sent."""
    processes = []
    for entry in config.nodes:
        home = folder / "nodes" / entry.name
        processes.append(Process(home / "node.toml", home / "run", Outcome(entry.name, 0)))
    run_processes(processes, lambda: None, LIMIT_S)
    rows = [process.summary() for process in processes]
    assert not any(row["failure"] for row in rows), [row["failure"] for row in rows]
    return [row["accuracy"] for row in rows], [row.get("bytes_sent", 0) / 1e6 for row in rows]


def side(config: NetworkConfig, noise: float | None, alone: bool = False) -> float:
    """Accuracy of one machine with all data, or of the first node by itself, at this noise (None: the network's)."""
    if noise is not None:
        config = replace(config, privacy=replace(config.privacy, noise=noise, epsilon=None))
    shared, held = assemble(config, "cpu"), load_held(config.data, config.seed)
    shares = shares_of(held, config.data, len(config.nodes), config.seed)
    found = compute_baselines(shared, held, shares[:1] if alone else shares, config.data, alone=False)
    assert found.centralised is not None
    return found.centralised


def measure(folder: Path, data: Path, epsilon: float, quick: bool) -> list[Row]:
    config = document(folder, data, epsilon, quick)
    noise = config.privacy.noise
    assert noise is not None
    accuracies, sent = network(folder, config)
    sides: dict[str, Callable[[], float]] = {
        "central": lambda: side(config, None),
        "central, sqrt(n)": lambda: side(config, noise * sqrt(NODES)),
        "alone": lambda: side(config, None, alone=True),
    }
    if not quick:
        sides["central, no noise"] = lambda: side(config, TINY)
    found = {name: run() for name, run in sides.items()}
    rows: list[Row] = []
    for name, accuracy in {**found, "network": fmean(accuracies)}.items():
        row: dict[str, str | float | None] = {"epsilon": epsilon, "noise": noise, "what": name, "accuracy": accuracy}
        least = min(accuracies) if name == "network" else None
        rows.append(row | {"worst node": least, "MB sent": fmean(sent) if name == "network" else None})
    return rows


def main() -> None:
    torch.set_num_threads(1)

    def more(parser: argparse.ArgumentParser) -> None:
        add_data(parser)
        parser.add_argument("--epsilon", type=float, nargs="+", default=[1.11, 4.55], help="budgets of a node")

    args = parse_args(__doc__, more)
    data = (args.data or Path(__file__).resolve().parents[2] / "shared" / "data").absolute()
    rows: list[Row] = []
    for epsilon in [8.0] if args.quick else args.epsilon:
        with tempfile.TemporaryDirectory(prefix="p2pfl-dp-") as home:
            rows += measure(Path(home) / "network", data, epsilon, args.quick)
            table(rows)
    by = {(float(str(row["epsilon"])), row["what"]): float(str(row["accuracy"])) for row in rows}
    for epsilon in sorted({key[0] for key in by}):
        network_, ceiling = by[epsilon, "network"], by[epsilon, "central, sqrt(n)"]
        if not args.quick:  # so few steps say nothing
            bar(f"epsilon {epsilon:g}: network of central with its noise", network_ / ceiling, 0.98)
        bar(f"epsilon {epsilon:g}: network of a node alone", network_ / by[epsilon, "alone"], 1.0)
        if epsilon in PUBLISHED and not args.quick:
            bar(f"epsilon {epsilon:g}: network of EFLS's central CNN", network_ / PUBLISHED[epsilon], 0.95)
    write_json(args, rows)


if __name__ == "__main__":
    main()
