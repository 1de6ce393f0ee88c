"""What a start costs: `p2pfl --help` beside a bare interpreter, an idle node beside a bare import of torch.

- help: CPU seconds of `python -m p2pfl --help` and of `import p2pfl`, over those of `python -c pass`, and over those of
  `import click, importlib.metadata`: less than a command line cannot do. The sides take turns, median of several.
- memory: resident bytes of a node that has begun and waits (its neighbour never comes), over those of a process that
  has imported torch and done one product: what any node that learns must have.
- first round: CPU seconds until a node's first round is over, over those of that import. CPU seconds, since the machine
  may be busy; a node's other costs are waiting.

    python bench/startup.py [--quick] [--json FILE]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from harness import bar, parse_args, table, write_json

from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.outcome import Outcome

TORCH = "import torch; torch.set_num_threads(1); (torch.ones(64, 64) @ torch.ones(64, 64)).sum()"
SIDES = {
    "python -c pass": ["-c", "pass"],
    "import click, importlib.metadata": ["-c", "import click, importlib.metadata"],
    "import p2pfl": ["-c", "import p2pfl"],
    "p2pfl --help": ["-m", "p2pfl", "--help"],
    "p2pfl topology show ring --n 8": ["-m", "p2pfl", "topology", "show", "ring", "--n", "8"],
    "import torch": ["-c", TORCH],
}
LIMIT_S = 240.0


def cpu_of(arguments: list[str]) -> float:
    """CPU seconds of one process, all its threads together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starts(repeats: int) -> dict[str, float]:
    """Median CPU seconds of each side; the sides take turns."""
    spent: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(repeats):
        for name, arguments in SIDES.items():
            spent[name].append(cpu_of(arguments))
    return {name: median(times) for name, times in spent.items()}


def resident(pid: int) -> int:
    """Bytes that are the process's own: what it shares with others of its kind is not counted twice."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Rss:"))


def bare() -> tuple[int, float]:
    """Resident bytes and CPU seconds of a process that has imported torch and holds still."""
    code = f"{TORCH}; print(flush=True); import time; time.sleep({LIMIT_S})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = resident(process.pid), cpu_so_far(process.pid)
        process.kill()
    return found


def cpu_so_far(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def node(home: Path) -> tuple[int, float]:
    """Resident bytes of a node whose neighbour never comes, and its CPU seconds until its first round was over."""
    document = write_trial(home, free_ports(2), "complete", SAMPLES["digits"], ("pace.rounds=3",))[0]
    process = Process(document, document.parent / "run", Outcome("n0", 0))
    process.start()
    assert process.handle is not None
    deadline, first = time.monotonic() + LIMIT_S, 0.0
    try:
        while not first and time.monotonic() < deadline:
            time.sleep(0.02)
            process.follow()
            first = cpu_so_far(process.handle.pid) if process.outcome.round else 0.0
        time.sleep(1.0)  # it is idle now: alone, with nothing to do but to ask for its neighbour
        return resident(process.handle.pid), first
    finally:
        end_processes([process])


def main() -> None:
    args = parse_args(__doc__)
    spent = starts(3 if args.quick else 11)
    pairs = []
    with tempfile.TemporaryDirectory(prefix="p2pfl-startup-") as folder:
        for turn in range(1 if args.quick else 3):
            pairs.append((*bare(), *node(Path(folder) / str(turn))))
    torch_bytes, torch_s, node_bytes, node_s = (median(column) for column in zip(*pairs, strict=True))
    base = spent["python -c pass"]
    rows: list[dict[str, str | float]] = [
        {"process": name, "CPU s": seconds, "of python -c pass": seconds / base} for name, seconds in spent.items()
    ]
    table(rows)
    print()
    held: list[dict[str, str | float]] = [
        {"process": "import torch, one product", "MB resident": torch_bytes / 1e6, "CPU s": torch_s},
        {"process": "node, idle; CPU until its first round", "MB resident": node_bytes / 1e6, "CPU s": node_s},
    ]
    table(held)
    print()
    floor = spent["import click, importlib.metadata"]
    bar("p2pfl --help, CPU of a bare interpreter", spent["p2pfl --help"] / base, 10.0, at_least=False)
    bar("p2pfl --help, CPU of importing click alone", spent["p2pfl --help"] / floor, 1.5, at_least=False)
    bar("import p2pfl, CPU of a bare interpreter", spent["import p2pfl"] / base, 1.5, at_least=False)
    bar("memory of an idle node, of a bare torch import", node_bytes / torch_bytes, 1.5, at_least=False)
    bar("CPU to a node's first round, of a bare torch import", node_s / torch_s, 2.5, at_least=False)
    write_json(args, [*rows, *held])


if __name__ == "__main__":
    main()
