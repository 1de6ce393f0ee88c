"""How many rounds of a node a second: the dense engine against a plain PyTorch loop, pfl and Flower.

A node's round is 5 steps of plain SGD on batches of 32 (learning rate 0.05, an MLP 64-128-10, digits, 160 samples a
node drawn with replacement), then averaging with 4 neighbours on a random regular graph; nobody is judged. The peers
from the index average at a server instead, which is less state. Every side is a process with one torch thread; sides of
a race live at the same time and take turns. Figures are medians over the turns, of seconds of work (process time),
except against Flower, which has two workers and is taken by the clock.

    plain loop        an nn.Module and a torch.optim.SGD a node (peers/plain.py)
    loop, vmap, best  p2pfl, rule "average", codec "fp32", with that engine; best is what "auto" finds
    default           p2pfl's default rule and codec with the same local training; as it comes: with its optimiser, too
    pfl, Flower       FedAvg over all nodes; a worker reads the data once, whatever clients it runs

At 10,000 nodes the plain loop has 1,000: its cost a node does not depend on their number, its memory does.

    python bench/sim_throughput.py [--quick] [--json FILE] [--sizes 16,100,1000,10000] [--venvs DIR] [--no-peers]
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from harness import Row, bar, parse_args, table, write_json
from simulators import Pace, Side, Unavailable, environment, ours, peer, plain, race_sides
from sklearn.datasets import load_digits

SIZES = (16, 100, 1_000, 10_000)
TORCH = "torch==2.13.0"
PEERS = {"pfl": (TORCH, "pfl==0.6.0"), "Flower": (TORCH, "flwr[simulation]==1.41.0")}
LOOP_MAX = 1_000
PEERS_AT = 100
NODE_ROUNDS = 300
"""In a turn, at least: short turns are noise."""

SAME = 'optimizer = "sgd"\ngradient_limit = 0\nschedule = { kind = "constant" }\n'
AVERAGE = '[mix]\nrule = "average"\n[compress]\ncodec = "fp32"\n'
MODELS = {
    "mlp": 'name = "mlp"\nargs = { hidden = [128] }\ninput_shape = [64]\n',
    "cnn": 'name = "cnn"\nargs = { channels = [16, 32], hidden = 64 }\ninput_shape = [1, 28, 28]\n',
}


@dataclass(eq=False)
class Bench:
    """What is the same for all races, and what they gave: a node's round by nodes and side."""

    folder: Path
    turns: int
    rows: list[Row] = field(default_factory=list)
    paces: dict[tuple[int, str], Pace] = field(default_factory=dict)

    def race(self, task: str, nodes: int, sides: Sequence[Side], base: str = "plain loop") -> Mapping[str, Pace]:
        load, found = os.getloadavg()[0], race_sides(sides, self.turns, self.folder)
        rows = []
        for side in sides:
            pace = found[side.name]
            row: dict[str, str | int | float | None] = {"task": task, "nodes": nodes, "side": side.name}
            row |= {"/CPU-s": 1 / pace.cpu_s, "us": pace.cpu_s * 1e6, "/s": 1 / pace.wall_s}
            row |= {"of the loop": found[base].cpu_s / pace.cpu_s, "peak MB": round(pace.peak_mb), "load": load}
            rows.append(row)
        table(rows)
        print(flush=True)
        self.rows += rows
        self.paces |= {(nodes, name): pace for name, pace in found.items()}
        return found

    def document(self, name: str, model: str, train: str, mixing: str) -> Path:
        data = f'[data]\nsource = "npz"\npath = "{model}.npz"\npartition = {{ by = "bootstrap", samples = 160 }}\n'
        steps = "[train]\nsteps = 5\nbatch_size = 32\nlr = 0.05\n"
        pace = '[topology]\nfamily = "random-regular"\n[pace]\nmode = "lockstep"\nrounds = 10000\nevaluate = 0\n'
        text = (
            f'format = 1\nname = "bench"\n[model]\n{MODELS[model]}num_classes = 10\n{data}{steps}{train}{mixing}{pace}'
        )
        path = self.folder / f"{name}.toml"
        path.write_text(text, "utf-8")
        return path


def write_data(folder: Path) -> None:
    """The digits, and as many images as are needed to be busy."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    np.savez(folder / "mlp.npz", x=(x / 16).astype(np.float32), y=y.astype(np.int64))
    np.savez(folder / "cnn.npz", x=rng.random((1_000, 1, 28, 28), dtype=np.float32), y=rng.integers(0, 10, 1_000))


def race_engines(bench: Bench, nodes: int, quick: bool) -> None:
    """The engines and the default algorithm."""
    average = bench.document("average", "mlp", SAME, AVERAGE)
    same, default = bench.document("same", "mlp", SAME, ""), bench.document("default", "mlp", "", "")
    rounds = max(NODE_ROUNDS // nodes, 1)
    loops = min(nodes, LOOP_MAX)
    sides = [plain("plain loop", bench.folder / "mlp.npz", loops, "mlp", max(NODE_ROUNDS // loops, 1))]
    if nodes <= LOOP_MAX:
        sides += [ours(engine, average, nodes, engine, rounds) for engine in ("vmap", "loop")[: 1 if quick else 2]]
    else:
        sides.append(ours(f"best, {LOOP_MAX} nodes", average, LOOP_MAX))
    sides.append(ours("best", average, nodes, rounds=rounds))
    sides.append(ours("default", same, nodes, rounds=rounds))
    if not quick:
        sides.append(ours("default, as it comes", default, nodes, rounds=rounds))
    bench.race("mlp", nodes, sides)


def race_images(bench: Bench, nodes: int) -> None:
    document = bench.document("images", "cnn", SAME, AVERAGE)
    sides = [plain("plain loop", bench.folder / "cnn.npz", nodes, "cnn"), ours("best", document, nodes)]
    found = bench.race("cnn 28x28", nodes, sides)
    bar(f"CNN, {nodes} nodes: auto, of the plain loop", found["plain loop"].cpu_s / found["best"].cpu_s, 0.95)


def race_peers(bench: Bench, nodes: int, venvs: Path) -> None:
    """A peer at a time: when one cannot be had, the others can."""
    data, average = bench.folder / "mlp.npz", bench.document("average", "mlp", SAME, AVERAGE)
    rounds = max(NODE_ROUNDS // nodes, 1)
    best = ours("best", average, nodes, rounds=10 * rounds)
    loop = plain("plain loop", data, nodes, "mlp", rounds)
    try:
        python = environment(venvs / "pfl", PEERS["pfl"])
        found = bench.race("mlp", nodes, [loop, best, peer("pfl", python, "pfl_fedavg.py", data, nodes, rounds)])
        bar(f"{nodes} nodes: best, of pfl", found["pfl"].cpu_s / found["best"].cpu_s, 5)
    except Unavailable as why:
        print(f"pfl: skipped: {why}", flush=True)
    try:
        python = environment(venvs / "flower", PEERS["Flower"])
        flower = peer("Flower", python, "flower_fedavg.py", data, nodes)
        found = bench.race("mlp", nodes, [loop, best, flower])
        bar(f"{nodes} nodes: best, of Flower, by the clock", found["Flower"].wall_s / found["best"].wall_s, 90)
    except Unavailable as why:
        print(f"Flower: skipped: {why}", flush=True)


def bars(bench: Bench, sizes: Sequence[int]) -> None:
    def cpu(nodes: int, side: str) -> float:
        return bench.paces[nodes, side].cpu_s

    for nodes in sizes:
        if 100 <= nodes <= LOOP_MAX:
            bar(f"{nodes} nodes: vmap, of the plain loop", cpu(nodes, "plain loop") / cpu(nodes, "vmap"), 3.5)
        if nodes >= 1_000:
            bar(f"{nodes} nodes: best, of the plain loop", cpu(nodes, "plain loop") / cpu(nodes, "best"), 6)
        if nodes >= 100:
            cost = cpu(nodes, "default") / cpu(nodes, "best")
            bar(f"{nodes} nodes: the default algorithm and codec, cost of averaging's", cost, 2, at_least=False)
        if nodes >= 10_000:
            cost = cpu(nodes, "best") / cpu(nodes, f"best, {LOOP_MAX} nodes")
            bar(f"a node at {nodes} nodes, cost of one at {LOOP_MAX}", cost, 1.2, at_least=False)
            for side, limit_mb in (("best", 2_000), ("default", 4_000), ("default, as it comes", 4_000)):
                share = bench.paces[nodes, side].peak_mb / limit_mb
                bar(f"{nodes} nodes: memory, {side}, of {limit_mb} MB", share, 1, at_least=False)


def options(parser: argparse.ArgumentParser) -> None:
    cache = Path.home() / ".cache" / "p2pfl-bench"
    parser.add_argument("--sizes", metavar="N,N", help=f"numbers of nodes; default: {','.join(map(str, SIZES))}")
    parser.add_argument("--venvs", type=Path, metavar="DIR", default=cache, help=f"of the peers; default: {cache}")
    parser.add_argument("--no-peers", action="store_true", help="only p2pfl and the plain loop")


def main() -> None:
    args = parse_args(__doc__, options)
    sizes = [int(size) for size in args.sizes.split(",")] if args.sizes else list(SIZES[: 3 if args.quick else 4])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), turns=3 if args.quick else 7)
        write_data(bench.folder)
        for nodes in sizes:
            race_engines(bench, nodes, args.quick)
        race_images(bench, 8 if args.quick else 16)
        if not (args.quick or args.no_peers):
            race_peers(bench, PEERS_AT, args.venvs)
    bars(bench, sizes)
    write_json(args, bench.rows)


if __name__ == "__main__":
    main()
