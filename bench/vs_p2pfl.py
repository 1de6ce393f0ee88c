"""The same learning task on p2pfl 0.4.4 (the package of that name on the index, another project) and on this p2pfl.

    python bench/vs_p2pfl.py [--quick] [--json FILE] [--venvs DIR] [--train-set N] [--settings standalone|default]

The digits of scikit-learn, a fifth held out for judging, the rest dealt out evenly; an MLP 64-256-128-10 (50,826
values), Adam at 0.001, batches of 64, one pass over a node's share in a round, 10 rounds. Every node is a process of
its own with one torch thread, on the loopback of a network of its own, one system after the other.

    theirs   gRPC, FedAvg, the library's settings for its examples ("standalone"); of N nodes 4 train in each round, as
             by default (--train-set changes that); its import troubles and Ray are out of its way
    ours     `p2pfl node`, the default rule and codec, pace "lockstep"; every node trains in each round

Seconds a round: from the end of the first round to the end of the run, over the other nine; start-up counts for nobody,
what closes a run counts. Bytes: all of the loopback until the end (theirs from the word to start, ours from the nodes'
first greeting), headers, acknowledgements, heartbeats and membership included, over nodes and rounds. Accuracy: of
every node's last model on all that was held out, the mean; not judged by --quick, which is 3 rounds. Who has not
finished after --limit seconds has neither.
"""

import argparse
import json
import os
import select
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from groups import Group, network
from harness import Row, bar, parse_args, table, write_json
from ours_network import write_network
from simulators import PEERS, Unavailable, environment

from p2pfl.config import load_network
from p2pfl.runs.folder import METRICS

REQUIREMENTS = (
    *("torch==2.13.0", "numpy==1.26.4", "pyarrow==14.0.2", "huggingface-hub==0.36.2", "opendp==0.16.0"),
    *("lightning==2.6.6", "p2pfl==0.4.4"),
)
"""What it takes for it to be imported today: it bounds few of its own requirements."""

ROUNDS = 10
PORT = 9101
FAMILIES = {"full": "complete", "ring": "ring"}

SECTIONS = """
[model]
name = "mlp"
args = {{ hidden = [256, 128] }}
input_shape = [1, 8, 8]
num_classes = 10
[train]
optimizer = "adam"
lr = 0.001
batch_size = 64
epochs = 1
schedule = {{ kind = "constant" }}
[data]
source = "digits"
args = {{ test_seed = 0 }}
partition = {{ by = "iid" }}
validation_fraction = 0.0
[pace]
mode = "lockstep"
rounds = {rounds}
evaluate = 0
[topology]
family = "{family}"
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One system on one graph. round_s and accuracy are None if it did not finish."""

    round_s: float | None
    bytes_: float
    memory_mb: float
    accuracy: float | None
    note: str = ""


def shares(folder: Path, document: Path, nodes: int) -> list[Path]:
    """Each node's samples and the common test set as files, dealt out as ours are."""
    from p2pfl.assemble.splits import load_held, shares_of

    config = load_network(document)
    held = load_held(config.data, config.seed)
    paths = []
    for place, rows in enumerate(shares_of(held, config.data, nodes, config.seed)):
        home = folder / f"node{place}"
        home.mkdir(parents=True)
        arrays = {"x": held.train.x[rows], "y": held.train.y[rows], "test_x": held.test.x, "test_y": held.test.y}
        flat = {name: array.flatten(1) if name.endswith("x") else array for name, array in arrays.items()}
        np.savez(home / "data.npz", **{name: array.numpy() for name, array in flat.items()})
        paths.append(home / "data.npz")
    return paths


def until(group: Group, limit_s: float) -> list[dict[str, object]] | None:
    """A line of each process, or None if they have not all spoken by then."""
    deadline = time.monotonic() + limit_s
    found = []
    for process in group.processes:
        ready, _, _ = select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0.0))
        if not ready:
            return None
        found.append(group.told(process))
    return found


# ---------------------------------------------------------------------------------------------------- theirs


def theirs(stack: ExitStack, python: Path, data: Sequence[Path], graph: str, args: argparse.Namespace) -> Run:
    nodes, place = len(data), stack.enter_context(network())
    log = stack.enter_context((data[0].parent.parent / "log.txt").open("w+b"))
    script = str(PEERS / "p2pfl_node.py")
    commands = [
        (str(python), "-E", script, str(path), str(PORT + i), str(args.rounds), args.settings)
        for i, path in enumerate(data)
    ]
    group = stack.enter_context(Group("p2pfl 0.4.4", commands, place, log))
    for process in group.processes:
        group.told(process)
    for i, process in enumerate(group.processes):
        others = range(i) if graph == "full" else [j for j in (i - 1, i + 1 - nodes) if 0 <= j < i]
        if others:
            group.write(process, "connect " + " ".join(f"127.0.0.1:{PORT + j}" for j in others))
            group.told(process)
    if any(told["known"] < nodes - 1 for told in group.tell(f"know {nodes - 1}")):
        return Run(None, 0.0, group.cost().memory_mb / nodes, None, "nodes do not know each other")
    before = place.loopback_bytes()
    group.write(group.processes[0], f"start {args.train_set}")
    told = until(group, args.limit)
    moved, memory = place.loopback_bytes() - before, group.cost().memory_mb
    if told is None:
        return Run(None, moved / nodes / args.rounds, memory / nodes, None, f"not done after {args.limit:g} s")
    times: list[list[float]] = [one["times"] for one in told]  # type: ignore[misc]
    lasted = max(one[-1] for one in times) - max(one[1] for one in times)
    accuracies = [float(one["accuracy"]) for one in told]  # type: ignore[arg-type]
    return Run(lasted / (args.rounds - 1), moved / nodes / args.rounds, memory / nodes, fmean(accuracies))


# ---------------------------------------------------------------------------------------------------- ours


def ours(stack: ExitStack, documents: Sequence[Path], args: argparse.Namespace) -> Run:
    nodes, place = len(documents), stack.enter_context(network())
    log = stack.enter_context((documents[0].parent.parent / "log.txt").open("w+b"))
    commands = [(sys.executable, "-m", "p2pfl", "node", "--json", "--config", str(path)) for path in documents]
    before = place.loopback_bytes()
    group = stack.enter_context(Group("ours", commands, place, log))
    memory, told = 0.0, None
    deadline = time.monotonic() + args.limit
    while told is None and time.monotonic() < deadline:
        memory = max(memory, group.cost().memory_mb)
        if all(process.poll() is not None for process in group.processes):
            told = [json.loads(process.stdout.read()) for process in group.processes if process.stdout]
        time.sleep(0.1)
    moved = place.loopback_bytes() - before
    if told is None or any(one["code"] for one in told):
        return Run(None, moved / nodes / args.rounds, memory / nodes, None, group.last_words())
    lasted = max(_lasted(path.parent / "run" / METRICS) for path in documents)
    accuracy = fmean(one["accuracy"] for one in told)
    return Run(lasted / (args.rounds - 1), moved / nodes / args.rounds, memory / nodes, accuracy)


def _lasted(metrics: Path) -> float:
    """Seconds from a node's first round to its end."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    first = next(line["seconds"] for line in lines if line["event"] == "round")
    return float(next(line["seconds"] for line in lines if line["event"] == "finished") - first)


# ---------------------------------------------------------------------------------------------------- the race


def compare(nodes: int, graph: str, python: Path, folder: Path, args: argparse.Namespace) -> tuple[Run, Run]:
    home = folder / f"{graph}{nodes}"
    documents = write_network(home / "ours", nodes, SECTIONS.format(rounds=args.rounds, family=FAMILIES[graph]))
    data = shares(home / "theirs", home / "ours" / "network.toml", nodes)
    with ExitStack() as stack:
        other = theirs(stack, python, data, graph, args)
    with ExitStack() as stack:
        own = ours(stack, documents, args)
    return other, own


def row(side: str, nodes: int, graph: str, run: Run) -> dict[str, str | int | float | None]:
    return {
        "side": side,
        "nodes": nodes,
        "graph": graph,
        "s/round": run.round_s,
        "kB/node/round": run.bytes_ / 1e3,
        "memory MB/node": round(run.memory_mb),
        "accuracy": run.accuracy,
        "load": round(os.getloadavg()[0], 1),
        "note": run.note,
    }


def bars(found: dict[tuple[int, str], tuple[Run, Run]], whole: bool) -> None:
    for (nodes, graph), (other, own) in found.items():
        where = f"{graph} of {nodes}"
        bar(f"{where}: finished", float(own.round_s is not None), 1.0)
        if own.round_s is None or own.accuracy is None:
            continue
        if other.round_s is None or other.accuracy is None:
            print(f"{where}: p2pfl 0.4.4: {other.note}; nothing to compare with")
            continue
        bar(f"{where}: rounds, times faster", other.round_s / own.round_s, 10)
        bar(f"{where}: bytes, times fewer", other.bytes_ / own.bytes_, 20)
        if whole:  # after a few rounds neither has learned enough to be told from chance
            bar(f"{where}: accuracy, of theirs", own.accuracy / other.accuracy, 1.0)


def main() -> None:
    cache = Path.home() / ".cache" / "p2pfl-bench"

    def extra(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--venvs", type=Path, metavar="DIR", default=cache, help=f"of the peer; default: {cache}")
        parser.add_argument("--train-set", type=int, default=4, metavar="N", help="of theirs that train in a round")
        parser.add_argument("--settings", choices=("standalone", "default"), default="standalone", help="of theirs")
        parser.add_argument("--limit", type=float, default=300.0, metavar="S", help="seconds that a run may take")
        parser.add_argument("--only", default="", metavar="4:ring", help="one number of nodes and one graph")

    args = parse_args(__doc__, extra)
    torch.set_num_threads(1)
    args.rounds = 3 if args.quick else ROUNDS
    cases = [(4, "ring")] if args.quick else [(nodes, graph) for nodes in (4, 8) for graph in FAMILIES]
    if args.only:
        cases = [(int(args.only.split(":")[0]), args.only.split(":")[1])]
    found: dict[tuple[int, str], tuple[Run, Run]] = {}
    rows: list[Row] = []
    try:
        python = environment(args.venvs / "p2pfl", REQUIREMENTS)
        with tempfile.TemporaryDirectory() as folder:
            for nodes, graph in cases:
                pair = found[nodes, graph] = compare(nodes, graph, python, Path(folder), args)
                both = [row("p2pfl 0.4.4", nodes, graph, pair[0]), row("ours", nodes, graph, pair[1])]
                table(both)
                print(flush=True)
                rows += both
    except Unavailable as reason:
        print(f"left out: {reason}", flush=True)
    bars(found, whole=not args.quick)
    write_json(args, rows)


if __name__ == "__main__":
    main()
