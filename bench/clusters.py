"""Two levels without a middle: what clusters save on the wide area, against flat graphs, with heads killed in mid-run.

64 nodes in 8 sites of 8. Inside a site a message takes 0.5 ms and lines carry 1 Gbit/s; between sites it takes 50 ms,
and lines carry what `--wide-mbps` says. Digits, split by Dirichlet(0.3), the default rule and codec, async, in the
event engine: the whole protocol in virtual time. Numbers are simulated seconds, and bytes put on lines between sites
(heads of messages included, lost ones too), until the mean accuracy of the living nodes on the common test set is
--target. Clusters have half of their members as heads at a time (the family's default); with one head they need fewer
bytes still, and end a little lower.

Flat graphs are laid as well as they can be: rows of the torus are sites. Two members of every second site die early,
heads of two of the first intervals; nobody replaces them.

    python bench/clusters.py [--quick] [--json FILE] [--wide-mbps 2] [--target 0.95] [--seeds 0,1,2] [--graphs a+b]
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf
from pathlib import Path
from statistics import fmean, median

import torch
from harness import Row, bar, parse_args, table, write_json

from p2pfl.config import NetworkConfig, load_network
from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit
from p2pfl.hosts.faults import Crash, Faults, Line, between
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

TASK = Path(__file__).resolve().parent.parent / "examples" / "tasks" / "digits_mlp.toml"
GRAPHS = {
    "clusters": ("clusters", "clusters={sites}"),
    "clusters, one head": ("clusters", "clusters={sites},heads=1"),
    "torus, rows are sites": ("torus", "rows={sites}"),
    "random regular": ("random-regular", "k=4"),
    "exponential": ("exponential", ""),
}
FLAT = ("torus, rows are sites", "random regular", "exponential")
TICK_S = 0.05
LIMIT_S = 120.0
DEATH_S = 0.3


@dataclass(frozen=True, slots=True)
class Setting:
    sites: int
    size: int
    wide: Line
    rounds: int
    target: float

    @property
    def num_nodes(self) -> int:
        return self.sites * self.size


@dataclass(frozen=True, slots=True)
class End:
    """One run's: simulated seconds and wide-area bytes at the target; inf if it was not reached."""

    seconds: float
    wide_bytes: float
    accuracy: float
    finished: bool


def document(setting: Setting, graph: str, seed: int) -> NetworkConfig:
    family, params = GRAPHS[graph]
    words = [word.split("=") for word in params.format(sites=setting.sites).split(",") if word]
    changes = (
        f"seed={seed}",
        f"topology.family={family}",
        *(f"topology.params.{key}={value}" for key, value in words),
        "pace.mode=async",
        f"pace.rounds={setting.rounds}",
        "pace.evaluate=4",
        "pace.timeout_s=2.0",
        "data.partition.by=dirichlet",
        "data.partition.alpha=0.3",
    )
    return simulated(load_network(TASK, changes), setting.num_nodes)


def world(setting: Setting, config: NetworkConfig, killed: Sequence[int]) -> World:
    """Two kinds of lines, and who dies for good."""
    site = {entry.key: number // setting.size for number, entry in enumerate(config.nodes)}
    lines: dict[tuple[NodeId, NodeId], Line] = {
        between(a, b): setting.wide for a, b in combinations(site, 2) if site[a] != site[b]
    }
    crashes = tuple(Crash(config.nodes[number].key, DEATH_S, restart_after=None) for number in killed)
    faults = Faults(delay_s=0.0005, bytes_per_s=1e9 / 8, lines=lines, crashes=crashes)
    return World(step_s=0.004, wire_s=0.0004, faults=faults)


def run(setting: Setting, graph: str, seed: int, killed: Sequence[int]) -> End:
    """Goes on in small steps of virtual time until the target is reached."""
    config = document(setting, graph, seed)
    dead = {config.nodes[number].name for number in killed}
    judged: dict[str, float] = {}

    def heard(outcome: Outcome, emit: Emit) -> None:
        if emit.name == "evaluation" and outcome.accuracy is not None:
            judged[outcome.name] = outcome.accuracy

    simulation = build_simulation(config, world(setting, config, killed), on_emit=heard)
    living = [entry.name for entry in config.nodes if entry.name not in dead]
    now, ended = 0.0, False
    while not ended and now < LIMIT_S:
        now += TICK_S
        trace = run_simulation(simulation, until=now)
        ended = trace.outcome != "until"
        accuracy = fmean(judged.get(name, 0.0) for name in living)
        if accuracy >= setting.target:
            return End(trace.now, float(trace.counts.get("bytes_wide", 0)), accuracy, ended)
    return End(inf, inf, fmean(judged.get(name, 0.0) for name in living), ended)


def heads(setting: Setting) -> tuple[int, ...]:
    """Members 1 and 3 of every second site."""
    return tuple(site * setting.size + member for site in range(0, setting.sites, 2) for member in (1, 3))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wide-mbps", type=float, default=2.0, help="of a line between two sites")
    parser.add_argument("--target", type=float, help="mean accuracy; 0.95, with --quick 0.9")
    parser.add_argument("--seeds", default="", help="0,1,2: medians over these; without it 0")
    parser.add_argument("--graphs", default="", help="some of the graphs, by the beginning of their names: clu+tor")


def main() -> None:
    args = parse_args(__doc__, options)
    torch.set_num_threads(1)
    sites, size, rounds = (4, 8, 80) if args.quick else (8, 8, 200)
    target = args.target or (0.9 if args.quick else 0.95)
    setting = Setting(sites, size, Line(0.05, args.wide_mbps * 1e6 / 8, "wide"), rounds, target)
    seeds = [int(seed) for seed in args.seeds.split(",")] if args.seeds else [0]
    words = (args.graphs or ("clusters+torus" if args.quick else "")).split("+")
    chosen = [graph for graph in GRAPHS if any(graph.startswith(word) for word in words)]
    rows: list[Row] = []
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for fate, killed in (("all live", ()), ("heads killed", heads(setting))):
        for graph in chosen:
            ends = [run(setting, graph, seed, killed) for seed in seeds]
            seconds, wide = median(end.seconds for end in ends), median(end.wide_bytes for end in ends)
            best[fate, graph] = (seconds, wide)
            rows.append(
                {
                    "graph": graph,
                    "nodes": fate,
                    "seconds": _or_none(seconds),
                    "wide-area MB": _or_none(wide / 1e6),
                    "accuracy": fmean(end.accuracy for end in ends),
                }
            )
            print(f"{fate}: {graph}: {seconds:.1f} s, {wide / 1e6:.3f} MB", flush=True)
    print()
    table(rows)
    print()
    for fate in ("all live", "heads killed"):
        flat = [best[fate, graph] for graph in FLAT if (fate, graph) in best]
        if flat and (fate, "clusters") in best:
            seconds, wide = (min(end[i] for end in flat) / best[fate, "clusters"][i] for i in (0, 1))
            bar(f"wide-area bytes to {target}, best flat over clusters, {fate}", wide, 2.0)
            bar(f"seconds to {target}, best flat over clusters, {fate}", seconds, 1.0)
    write_json(args, rows)


def _or_none(value: float) -> float | None:
    return None if value == inf else value


if __name__ == "__main__":
    main()
