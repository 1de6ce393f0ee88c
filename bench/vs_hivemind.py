"""One round of averaging a float32 vector over real processes: p2pfl beside hivemind 1.1.12.

    python bench/vs_hivemind.py [--quick] [--json FILE] [--venvs DIR]

Each node is a process of its own (hivemind's starts two more and a daemon), with one torch thread, on the loopback of a
network of their own. Both sides of a row live at the same time and take turns; a turn is one round, and lasts from the
word to go until the last node has its result. Before each round every node moves its vector, so that the result shows
what was averaged ("off by", at the end; 1e-6 is rounding). Ours has to be right. Theirs averages what has come in time,
so that it may be off on a busy machine, by parts of a vector.

    hivemind   DecentralizedAverager.step(): all nodes in one group, no compression, nothing between two rounds
    p2pfl      `p2pfl node` with rule "average", codec "fp32", lockstep, and a learner that does nothing: every vector
               is encoded, hashed, signed, sent over HTTP, checked chunk by chunk, decoded, answered by a signed
               receipt, mixed. On the complete graph the result is the average, as hivemind's; a ring's round is one
               step of gossip with two neighbours, which takes more rounds to agree.

Bytes are those of the loopback, headers and acknowledgements included, over the nodes and the size of the vector.
A round that hivemind fails ("could not find a group") is left out of its times and counted.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from groups import Group, Network, network
from harness import Row, bar, parse_args, table, write_json
from ours_network import write_network
from peers.averaged import expected
from simulators import PEERS, Unavailable, environment

REQUIREMENTS = ("torch==2.13.0", "hivemind==1.1.12")
MB = 250_000
"""Values of float32 in a megabyte."""
ROUNDING = 1e-4

SECTIONS = """
[model]
name = "ours_average:Vector"
args = {{ size = {size} }}
input_shape = [1]
num_classes = 2
[data]
source = "ours_average:nothing"
partition = {{ by = "iid" }}
[mix]
rule = "average"
[compress]
codec = "fp32"
[pace]
mode = "lockstep"
rounds = 1000000
evaluate = 0
window = 1000000
[topology]
family = "{family}"
"""
OWN = """
[train]
learner = "ours_average:Waiting"
learner_args = {{ node = {node}, nodes = {nodes} }}
steps = 1
"""


@dataclass(frozen=True, slots=True)
class Case:
    """wanted: p2pfl's time over hivemind's at most, by family of graphs."""

    nodes: int
    megabytes: int
    turns: int
    wanted: dict[str, float | None]

    @property
    def size(self) -> int:
        return self.megabytes * MB


CASES = (
    Case(4, 4, 15, {"complete": 0.5}),
    Case(8, 4, 9, {"ring": 0.4, "complete": None}),
    Case(4, 40, 7, {"complete": 0.65}),
    Case(8, 40, 5, {"ring": 0.4}),
)
QUICK = (Case(4, 4, 9, {"complete": 0.5}),)
WARM = 8
"""Turns before the first that counts: memory grows, groups and connections are made."""


@dataclass(eq=False)
class Side:
    """A group in the race, and what its turns gave, for each round."""

    group: Group
    place: Network
    case: Case
    graph: str
    seconds: list[float] = field(default_factory=list)
    bytes_: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    failed: int = 0

    def turn(self, counts: bool) -> None:
        case = self.case
        cost, moved = self.group.cost(), self.place.loopback_bytes()
        seconds = self.group.rounds(1)
        failed = max(told.get("failed", 0) for told in self.group.tell("check"))
        if failed > self.failed:
            self.failed = failed
        elif counts:
            self.seconds.append(seconds)
            self.bytes_.append((self.place.loopback_bytes() - moved) / case.nodes / (4 * case.size))
            self.cpu_s.append(self.group.cost().cpu_s - cost.cpu_s)

    def row(self) -> dict[str, str | int | float | None]:
        return {
            "side": self.group.name,
            "nodes": self.case.nodes,
            "MB": self.case.megabytes,
            "graph": self.graph,
            "s/round": median(self.seconds),
            "CPU s/round": median(self.cpu_s),
            "vectors/node": median(self.bytes_),
            "memory MB/node": round(self.group.cost().memory_mb / self.case.nodes),
            "failed": self.failed,
            "off by": off_by(self),
            "load": round(os.getloadavg()[0], 1),
        }


def start_hivemind(stack: ExitStack, case: Case, python: Path, folder: Path) -> Side:
    place = stack.enter_context(network())
    log = stack.enter_context((folder / f"hivemind-{case.nodes}-{case.megabytes}.log").open("w+b"))
    script = str(PEERS / "hivemind_average.py")
    commands = [(str(python), script, str(case.size), str(case.nodes), str(node)) for node in range(case.nodes)]
    group = stack.enter_context(Group("hivemind", commands, place, log))
    first, *others = group.processes
    group.write(first, "[]")
    addresses = json.dumps(group.told(first)["ready"]["addresses"])
    for process in others:
        group.write(process, addresses)
    for process in others:
        group.told(process)
    return Side(group, place, case, "one group")


def start_ours(stack: ExitStack, case: Case, family: str, folder: Path) -> Side:
    place = stack.enter_context(network())
    name = f"ours-{case.nodes}-{case.megabytes}-{family}"
    log = stack.enter_context((folder / f"{name}.log").open("w+b"))
    own = [OWN.format(node=node, nodes=case.nodes) for node in range(case.nodes)]
    documents = write_network(folder / name, case.nodes, SECTIONS.format(size=case.size, family=family), own)
    script = str(PEERS / "ours_average.py")
    commands = [(sys.executable, script, "node", "--quiet", "--config", str(path)) for path in documents]
    group = stack.enter_context(Group("p2pfl", commands, place, log))
    for process in group.processes:
        group.told(process)
    return Side(group, place, case, family)


def off_by(side: Side) -> float:
    """How far the furthest value of any node is from what so many rounds make of it."""
    reach = 1 if side.graph == "ring" else side.case.nodes
    done = WARM + side.case.turns
    wanted = expected(side.case.nodes, 0 if side.failed else done, reach)
    told = side.group.tell("check")
    return max(abs(one["off"] - number) + one["uneven"] for one, number in zip(told, wanted, strict=True))


def race(case: Case, python: Path, folder: Path) -> list[Row]:
    with ExitStack() as stack:
        sides = [start_hivemind(stack, case, python, folder)]
        sides += [start_ours(stack, case, family, folder) for family in case.wanted]
        for turn in range(WARM + case.turns):
            for side in sides if turn % 2 else reversed(sides):
                side.turn(turn >= WARM)
        rows: list[Row] = [side.row() for side in sides]
    table(rows)
    print(flush=True)
    if any(float(row["off by"] or 0) > ROUNDING for row in rows if row["side"] == "p2pfl"):  # type: ignore[arg-type]
        raise SystemExit("p2pfl averaged wrongly")
    return rows


def attempt(case: Case, python: Path, folder: Path) -> list[Row]:
    """What one case gave; nothing, and why, if a side ended."""
    try:
        return race(case, python, folder)
    except Unavailable as reason:
        print(f"left out: {case.nodes} nodes, {case.megabytes} MB: {reason}", flush=True)
        return []


def bars(cases: Sequence[Case], rows: Sequence[Row]) -> None:
    for case in cases:
        found = {str(row["graph"]): row for row in rows if (row["nodes"], row["MB"]) == (case.nodes, case.megabytes)}
        for family, wanted in case.wanted.items():
            if wanted is not None and found:
                ratio = float(found[family]["s/round"] or 0) / float(found["one group"]["s/round"] or 1)  # type: ignore[arg-type]
                what = f"{family} of {case.nodes}, {case.megabytes} MB: time of a round, of hivemind's"
                bar(what, ratio, wanted, at_least=False)


def main() -> None:
    cache = Path.home() / ".cache" / "p2pfl-bench"

    def extra(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--venvs", type=Path, metavar="DIR", default=cache, help=f"of the peer; default: {cache}")

    args = parse_args(__doc__, extra)
    cases, rows = QUICK if args.quick else CASES, list[Row]()
    try:
        python = environment(args.venvs / "hivemind", REQUIREMENTS)
        with tempfile.TemporaryDirectory() as folder:
            for case in cases:
                rows += attempt(case, python, Path(folder))
    except Unavailable as reason:
        print(f"left out: {reason}", flush=True)
    bars(cases, rows)
    write_json(args, rows)


if __name__ == "__main__":
    main()
