"""Three kinds of model in one network over HTTP, a process for every node: examples/distill beside training alone.

    python bench/distill.py [--quick] [--json FILE]

Each node's accuracy on the common test set alone (as many steps) and in the network, and its bytes beside those of the
same messages with the node's own weights in int8 and float32 (which only nodes of one model could use).
"""

import tempfile
from pathlib import Path
from shutil import copy
from typing import Any

import torch
from harness import bar, parse_args, table, write_json

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of
from p2pfl.cli.network import appended
from p2pfl.cli.templates import node_text
from p2pfl.config import NodeEntry, load_network
from p2pfl.runs.baselines import compute_baselines
from p2pfl.runs.local import Process, free_ports, run_processes
from p2pfl.runs.outcome import Outcome
from p2pfl.wire import keyfile

EXAMPLE = Path(__file__).parent.parent / "examples" / "distill"
NODES = 6
LIMIT_S = 1500.0


def main() -> None:
    torch.set_num_threads(1)
    args = parse_args(__doc__)
    rows = [row for seed in range(1, 2 if args.quick else 4) for row in rows_of(seed, 15 if args.quick else 60)]
    table(rows)
    bar("accuracy over training alone, worst node", min(row["network"] - row["alone"] for row in rows), 0.0)
    bar("bytes in float32 weights over sent, MLPs", min(row["as float32"] / row["sent"] for row in rows[::3]), 1.0)
    write_json(args, rows)


def rows_of(seed: int, rounds: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as home:
        processes = written(Path(home), seed, rounds)
        run_processes(processes, lambda: None, LIMIT_S)
        told = [process.summary() for process in processes]
        config = load_network(Path(home) / "network.toml")
        shared, held = assemble(config, device="cpu"), load_held(config.data, config.seed)
        shares = shares_of(held, config.data, len(config.nodes), config.seed)
        alone = compute_baselines(shared, held, shares, config.data).alone
        return [
            row_of(seed, shared.of(entry.name), *pair) for entry, *pair in zip(config.nodes, told, alone, strict=True)
        ]


def row_of(seed: int, shared: Any, told: dict[str, Any], alone: float) -> dict[str, Any]:
    if told["failure"]:
        raise SystemExit(f"{told['name']}: {told['failure']}")
    heads = told["bytes_sent"] - told["body_bytes_sent"]
    return {
        "seed": seed,
        "node": told["name"],
        "model": str(shared.config.model.name),
        "values": shared.schema.size,
        "alone": alone,
        "network": told["accuracy"],
        "sent": told["bytes_sent"],
        "as int8": heads + told["bodies_sent"] * shared.schema.size,
        "as float32": heads + told["bodies_sent"] * 4 * shared.schema.size,
    }


def written(home: Path, seed: int, rounds: int) -> list[Process]:
    copy(EXAMPLE / "digits.py", home)
    text, processes = (EXAMPLE / "network.toml").read_text("utf-8"), []
    text = text.replace("rounds = 60", f"rounds = {rounds}\nevaluate = 0").replace(
        "format = 1", f"format = 1\nseed = {seed}"
    )
    for index, port in enumerate(free_ports(NODES)):
        folder, name, address = home / "nodes" / f"n{index}", f"n{index}", f"127.0.0.1:{port}"
        folder.mkdir(parents=True)
        key = keyfile.create(folder / "key").node
        text = appended(text, NodeEntry(name=name, key=key, url=f"http://{address}"))
        (folder / "node.toml").write_text(node_text(name, address, index), "utf-8")
        processes.append(Process(folder / "node.toml", folder / "run", Outcome(name, 1)))
    (home / "network.toml").write_text(text, "utf-8")
    return processes


if __name__ == "__main__":
    main()
