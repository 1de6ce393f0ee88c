"""p2pfl's dense engine as a side of the race.

    python ours.py NETWORK.toml NODES ENGINE

A round ends where the first node tells of the next: no part of the engine is left out, telling included.
"""

import sys
from pathlib import Path
from typing import Any

from turns import Turns

from p2pfl.config import load_network
from p2pfl.core.party import Emit
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import simulated


def main(document: Path, num_nodes: int, engine: Any) -> None:
    turns = Turns()
    config = simulated(load_network(document), num_nodes)
    first = config.nodes[0].name

    def on_emit(outcome: Outcome, emit: Emit) -> None:
        if emit.name == "round" and outcome.name == first:
            turns.between_rounds()

    run_dense(build_dense(config, engine=engine, on_emit=on_emit))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
