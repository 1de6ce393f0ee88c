"""What secure cells and differential privacy cost in accuracy: the digits, 8 nodes, Dirichlet(0.1), over seeds.

    python bench/secure_accuracy.py [--quick] [--json FILE] [--seeds 0,1,2]

plain cells    the same cells with plain means of the models (the dense engine)
secure cells   `p2pfl demo --secure` in virtual time: masked integers, drawn cells, every message signed
and with epsilon 4 of each example, `p2pfl demo --secure --epsilon 4 --rounds 200`: the network, and its nodes each
alone at the same budget (mean). All are judged on the common test set.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from harness import Row, bar, parse_args, table, write_json

from p2pfl.cli.demo import PRIVATELY, SECURELY, settle_noise
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import NetworkConfig, load_network
from p2pfl.config.schema import LedgerConfig
from p2pfl.runs.baselines import compute_baselines
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

NODES, EPSILON = 8, 4.0


def document(seed: int, rounds: int, *changes: str) -> NetworkConfig:
    """The demo's document with this seed."""
    always = (*SECURELY, f"seed={seed}", f"pace.rounds={rounds}", "pace.evaluate=0", "data.partition.alpha=0.1")
    with tempfile.TemporaryDirectory(prefix="p2pfl-cells-") as home:
        folder = Path(home) / "network"
        ports = list(range(9001, 9001 + NODES))
        write_trial(folder, ports, "exponential", SAMPLES["digits"], (*always, *changes))
        settle_noise(folder / "network.toml")
        config = load_network(folder / "network.toml")
    return simulated(replace(config, ledger=LedgerConfig()), NODES)  # a ledger changes no model


def plain(config: NetworkConfig) -> float:
    run = build_dense(config)
    run_dense(run)
    return fmean(float(outcome.summary()["accuracy"]) for outcome in run.outcomes.values())


def secure(config: NetworkConfig) -> float:
    simulation = build_simulation(config, World())
    run_simulation(simulation)
    return fmean(float(outcome.summary()["accuracy"]) for outcome in simulation.outcomes.values())


def alone(config: NetworkConfig) -> float:
    run = build_dense(config)
    found = compute_baselines(run.shared, run.held, run.shares, config.data).alone_mean
    assert found is not None
    return found


def main() -> None:
    torch.set_num_threads(1)

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seeds", default="0,1,2", help="by commas")

    args = parse_args(__doc__, more)
    seeds = [0] if args.quick else [int(seed) for seed in args.seeds.split(",")]
    rows: list[Row] = []
    for seed in seeds:
        open_ = document(seed, 15 if args.quick else 100)
        private = document(seed, 20 if args.quick else 200, *PRIVATELY, f"privacy.epsilon={EPSILON}")
        found = {"seed": seed, "plain cells": plain(open_), "secure cells": secure(open_)}
        rows.append(found | {"secure, epsilon 4": secure(private), "alone, epsilon 4": alone(private)})
        table(rows)
    mean = {name: fmean(float(str(row[name])) for row in rows) for name in rows[0]}
    off = abs(mean["secure cells"] - mean["plain cells"])
    bar("points between secure and plain cells", 100 * off, 1.0, at_least=False)
    if not args.quick:
        bar("points over a node alone at epsilon 4", 100 * (mean["secure, epsilon 4"] - mean["alone, epsilon 4"]), 10.0)
    write_json(args, rows)


if __name__ == "__main__":
    main()
