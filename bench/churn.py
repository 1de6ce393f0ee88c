"""What it costs the others when one vanishes, and what a newcomer costs: real processes on loopback, and virtual time.

python bench/churn.py [--quick] [--json FILE] [--nodes N]

A ring of nodes in processes of their own, whose local steps take a fixed time whatever the machine is busy with. After
a calm while one is killed (kill -9: connections break) or stopped (SIGSTOP: it is silent). The others' seconds a round
while it is away are compared with those before, of the same nodes in the same run; and no round of theirs may take
longer than the hard deadline. Then, simulated: a ninth node comes to eight at half time (three seeds), and twenty come
to eight at once.
"""

import json
import os
import signal
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import tomli_w
import torch
from harness import bar, parse_args, table, write_json

from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import parse_network
from p2pfl.hosts.faults import Faults
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

TASK = '''
import time
import torch
from torch import nn

class Slow(nn.Sequential):
    """A phase takes its time without taking the machine's."""
    def forward(self, x):
        if self.training:
            time.sleep(STEP_S)
        return super().forward(x)

STEP_S = 0.05

def slow(input_shape, num_classes):
    torch.set_num_threads(1)
    return Slow(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))
'''
HARD_S = 5.0
LOOK_S = 0.2
START_S = 300.0
SEEDS = (1, 2, 3)


def processes(folder, count):
    task = folder / "slow.py"
    task.write_text(TASK)
    changes = (
        "pace.rounds=100000",
        f"pace.timeout_s={HARD_S}",
        "pace.evaluate=0",
        "pace.gather_s=120.0",
        "train.steps=5",
        f'model.name="{task}:slow"',
        "model.args={}",
        "ledger.interval_s=5.0",
    )
    paths = write_trial(folder / "net", free_ports(count), "ring", SAMPLES["digits"], changes)
    return [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in paths]


def times_of(process):
    """When each round ended, by the node's own clock."""
    lines = (process.out / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines if '"round"' in line and line.endswith("}")]
    return [row["seconds"] for row in rows if row.get("event") == "round"]


def wait_for_rounds(nodes, rounds):
    limit = time.monotonic() + START_S
    while min(_round(node) for node in nodes) < rounds:
        for node in nodes:
            if node.handle.poll() is not None:
                raise SystemExit(f"{node.outcome.name} ended: {node.summary()['failure']}")
        if time.monotonic() > limit:
            raise SystemExit("the nodes did not get going")
        time.sleep(LOOK_S)


def _round(node):
    node.follow()
    return node.outcome.round


def vanish(count, how, calm_s, away_s):
    """Seconds a round of the median other before, while one is away, and the longest of any other meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        nodes = processes(Path(place), count)
        try:
            for node in nodes:
                node.start()
            wait_for_rounds(nodes, 5)
            time.sleep(calm_s)
            others = nodes[1:]
            marks = {node.outcome.name: len(times_of(node)) for node in others}
            os.killpg(nodes[0].handle.pid, signal.SIGKILL if how == "kill -9" else signal.SIGSTOP)
            time.sleep(away_s)
            before, after, longest = [], [], []
            for node in others:
                times, mark = times_of(node), marks[node.outcome.name]
                calm = [b - a for a, b in pairwise(times[:mark])][5:]
                away = [b - a for a, b in pairwise(times[mark - 1 :])]
                before.append(fmean(calm))
                after.append(fmean(away))
                longest.append(max(away))
            if how == "SIGSTOP":
                os.killpg(nodes[0].handle.pid, signal.SIGCONT)
        finally:
            end_processes(nodes, grace_s=3.0)
    return median(before), median(after), max(longest)


def document(count, family, rounds, seed=0, **sections):
    plain = {
        "format": 1,
        "seed": seed,
        "model": {"name": "mlp", "args": {"hidden": [64]}, "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"rounds": rounds, "evaluate": 1, "timeout_s": 1.0, "gather_s": 1.0},
        "topology": {"family": family},
        "train": {"lr": 0.2, "batch_size": 32, "steps": 5},
        "data": {"source": "digits", "test_fraction": 0.4, "partition": {"by": "dirichlet", "alpha": 0.1}},
    }
    for name, values in sections.items():
        plain[name] = {**plain[name], **values}
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), count)


def join(config, starts, until_s=10_000.0):
    """A simulated run in which some come late: what each emitted, and what each donor gave."""
    told = {}
    world = World(step_s=0.01, wire_s=0.001, faults=Faults(delay_s=0.005), starts=starts)
    simulation = build_simulation(config, world, on_emit=lambda o, e: told.setdefault(o.name, []).append(e))
    run_simulation(simulation, until_s)
    return told, {name: node.job.donor.given for name, node in simulation.nodes.items()}


def curve(emits):
    return [
        (e.fields["round"], e.fields["accuracy"])
        for e in emits
        if e.name == "evaluation" and e.fields["split"] == "test"
    ]


def ninth(seed):
    """One comes to eight at half time, and is looked at for a quarter of the run."""
    told, _ = join(document(9, "random-regular", 120, seed), {"n8": 3.0}, 5.0)
    fields = next(dict(e.fields) for e in told["n8"] if e.name == "joined")
    network = {}
    for name, emits in told.items():
        for round_, accuracy in curve(emits) if name != "n8" else ():
            network.setdefault(round_, []).append(accuracy)
    own = curve(told["n8"])
    needed = next((i for i, (r, a) in enumerate(own, 1) if a >= fmean(network.get(r, [1.0])) - 0.01), len(own))
    return {"what": "a ninth comes to eight", "seed": seed, **fields, "rounds_needed": needed}


def twenty():
    """Twenty come to eight at once."""
    config = document(28, "complete", 80, pace={"evaluate": 0}, model={"args": {"hidden": [16]}})
    late = [entry.name for entry in config.nodes[8:]]
    told, given = join(config, dict.fromkeys(late, 1.0), 4.0)
    fields = [dict(e.fields) for name in late for e in told[name] if e.name == "joined"]
    share = max(given.values()) / max(sum(given.values()), 1)
    return {
        "what": "twenty come to eight",
        "joined": len(fields),
        "share": share,
        "seconds": max(f["took_s"] for f in fields),
    }


def main():
    args = parse_args(__doc__, lambda p: p.add_argument("--nodes", type=int, default=12, help="processes"))
    torch.set_num_threads(1)
    count, calm_s, away_s = (6, 4.0, 5.0) if args.quick else (args.nodes, 20.0, 20.0)
    rows = []
    for how in ("kill -9",) if args.quick else ("kill -9", "SIGSTOP"):
        before, after, longest = vanish(count, how, calm_s, away_s)
        rows.append(
            {"one of": count, "vanishes by": how, "s/round before": before, "while away": after, "longest": longest}
        )
        table(rows[-1:])
        bar(f"{how}: seconds per round while one is away, of before", after / before, 1.3, at_least=False)
        bar(f"{how}: longest round while one is away, of the hard deadline", longest / HARD_S, 1.0, at_least=False)
    found = [ninth(seed) for seed in SEEDS]
    table(found)
    needed = max(row["rounds_needed"] for row in found)
    bar("rounds of its own until a newcomer is within a point, the worst of three", needed, 5, at_least=False)
    rows += found
    if not args.quick:
        found = twenty()
        table([found])
        bar("of twenty newcomers, those that joined", found["joined"] / 20, 1.0)
        bar("share of what was given that one of eight donors gave", found["share"], 1 / 3, at_least=False)
        rows.append(found)
    write_json(args, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
