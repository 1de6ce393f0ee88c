"""Hostile clients against one node of a running network: its round time, its memory, and the honest exchanges.

Four nodes, each a process, train on loopback; n0 is the target. Windows take turns: the hostile load aimed at a sink
(a port that reads and throws away: the same clients, the same cores), then aimed at n0. What counts is the median time
of a round of n0 in the one and in the other. The clients (hostile.py) are niced, capped in rate, number and time.
Twice: from addresses of their own (127.0.0.2 and up), and from the address that the honest nodes have.

    python bench/overload.py [--quick] [--rate 200]
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from harness import bar, parse_args, table, write_json

from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.runs.fetch import opener
from p2pfl.runs.folder import METRICS
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.outcome import Outcome

NODES = 4
WARM_ROUNDS = 20
START_S = 180.0
FROM = {"addresses of their own": ",".join(f"127.0.0.{n}" for n in range(2, 10)), "the nodes' address": "127.0.0.1"}
TROUBLE = ("unreachable", "late", "lost", "refused_by", "rejected", "failed", "epoch")
"""What a node says when an exchange with a neighbour did not succeed."""
GROWTH_MIB_MAX = 64.0
SINK = """
import asyncio, sys
async def main():
    async def read(reader, writer):
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        writer.close()
    await (await asyncio.start_server(read, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""


@contextmanager
def network() -> Iterator[tuple[list[Process], str, str, str]]:
    """A network that trains: its processes, n0's URL, and in hex the network's name and the key of n1."""
    with TemporaryDirectory(prefix="p2pfl-overload-") as folder:
        home = Path(folder) / "net"
        documents = write_trial(home, free_ports(NODES), "complete", SAMPLES["digits"])
        document = home / "network.toml"
        text = re.sub(r"\[ledger\][^\[]*", "", document.read_text("utf-8"))  # its blocks are another matter
        document.write_text(text.replace("rounds = 100 ", "rounds = 1000000 "), "utf-8")
        processes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in documents]
        nodes = load_network(document).nodes
        try:
            for process in processes:
                process.start()
            yield processes, nodes[0].url, _name_of(nodes[0].url), nodes[1].key.hex()
        finally:
            end_processes(processes)


def _name_of(url: str) -> str:
    """The network's name, once its node trains."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with opener().open(f"{url}/v1/status", timeout=5) as reply:
                status = json.loads(reply.read())
            if status.get("round", 0) > WARM_ROUNDS:
                return str(status["network"])
        except OSError:
            pass
        time.sleep(0.5)
    raise SystemExit("the network did not start")


class Watch:
    """What the nodes' metrics tell from one look to the next."""

    def __init__(self, processes: list[Process]) -> None:
        self.processes = processes
        self.at = [0] * len(processes)
        self.look()

    def look(self) -> list[list[dict[str, Any]]]:
        """The events of each node since the last look."""
        found = []
        for number, process in enumerate(self.processes):
            with (process.out / METRICS).open("rb") as file:
                file.seek(self.at[number])
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self.at[number] += len(whole)
            found.append([json.loads(line) for line in whole.splitlines()])
        return found

    def rss_mib(self) -> float:
        handle = self.processes[0].handle
        assert handle is not None
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{handle.pid}/status").read_text())
        assert found is not None
        return int(found.group(1)) / 1024


def window(watch: Watch, port: int, seconds: float, rate: float, source: str, names: list[str]) -> dict[str, Any]:
    """One load against one port: n0's rounds, troubles of all nodes, what the clients got."""
    watch.look()
    command = [sys.executable, str(Path(__file__).with_name("hostile.py")), str(port), str(seconds), str(rate), source]
    ran = subprocess.run([*command, *names], capture_output=True, text=True, check=True, timeout=seconds + 120)
    told = watch.look()
    ends = [event["seconds"] for event in told[0] if event["event"] == "round"]
    return {
        "rounds": [after - before for before, after in pairwise(ends)],
        "trouble": Counter(event["event"] for events in told for event in events if event["event"] in TROUBLE),
        "came": Counter(json.loads(ran.stdout)),
        "rss": watch.rss_mib(),
    }


def main() -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rate", type=float, default=200.0, help="hostile connections a second (default 200)")

    args = parse_args(__doc__, more)
    seconds, turns = (3.0, 2) if args.quick else (12.0, 4)
    rows: list[dict[str, Any]] = []
    (sink_port,) = free_ports(1)
    sink = subprocess.Popen([sys.executable, "-c", SINK, str(sink_port)])
    try:
        with network() as (processes, url, name, author):
            watch, target = Watch(processes), int(url.rpartition(":")[2])
            before = watch.rss_mib()
            for who, source in FROM.items():
                rows.append(compare(watch, who, source, (sink_port, target), seconds, turns, args.rate, [author, name]))
            rss = [before, *(row["MiB after"] for row in rows)]
            with opener().open(f"{url}/v1/status", timeout=5) as reply:
                refused = json.loads(reply.read())["refused"]
    finally:
        sink.kill()
        sink.wait()
    table([{key: cell for key, cell in row.items() if key != "came"} for row in rows])
    for row in rows:
        print(f"\nfrom {row['from']}: {dict(row['came'])}")
    print(f"\nn0: {before:.0f} MiB before, {rss[1:]} after each; refused at its door: {refused}\n")
    for row in rows:
        bar(f"round time under load from {row['from']}, of the same load elsewhere", row["ratio"], 1.5, at_least=False)
    bar(
        "troubles in honest exchanges under load, of none allowed",
        sum(row["troubles"] for row in rows),
        0,
        at_least=False,
    )
    bar(f"growth of memory, of {GROWTH_MIB_MAX:g} MiB", (max(rss) - before) / GROWTH_MIB_MAX, 1.0, at_least=False)
    write_json(args, [{key: cell for key, cell in row.items() if key != "came"} for row in rows])


def compare(
    watch: Watch,
    who: str,
    source: str,
    ports: tuple[int, int],
    seconds: float,
    turns: int,
    rate: float,
    names: list[str],
) -> dict[str, Any]:
    """The load at the sink and at the node, in turns."""
    quiet, loud = [], []
    for _ in range(turns):
        quiet.append(window(watch, ports[0], seconds, rate, source, names))
        loud.append(window(watch, ports[1], seconds, rate, source, names))
    idle, busy = (median(r for w in windows for r in w["rounds"]) for windows in (quiet, loud))
    return {
        "from": who,
        "rounds": sum(len(w["rounds"]) for w in loud),
        "ms a round, load elsewhere": 1000 * idle,
        "ms a round under load": 1000 * busy,
        "ratio": busy / idle,
        "longest ms": 1000 * max(r for w in loud for r in w["rounds"]),
        "troubles": sum(w["trouble"].total() for w in loud),
        "troubles elsewhere": sum(w["trouble"].total() for w in quiet),
        "MiB after": loud[-1]["rss"],
        "came": sum((w["came"] for w in loud), Counter()),
    }


if __name__ == "__main__":
    main()
