"""Five processes, one ledger, and a bad day: kill -9, SIGSTOP, a full disk, a write-ahead log that lost its end;
at its end it is asked over HTTP, and what one file holds is proven to whoever has the genesis."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.local import Process, end_processes, free_ports
from p2pfl.runs.network import finals_in, ledger_agreement
from p2pfl.runs.outcome import Outcome
from p2pfl.wire import keyfile

NODES = 5
TASK = Path(__file__).with_name("task.py")
DISK_BYTES = 24 * 1024 * 1024
RECOVER = "run: p2pfl ledger recover"


@contextlib.contextmanager
def small_disk(folder: Path):
    """A file system of its own for the folder where the machine allows it. Yields whether it does."""
    folder.mkdir(parents=True)
    size = f"size={DISK_BYTES}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True).returncode
    try:
        yield mounted == 0
    finally:
        if mounted == 0:
            subprocess.run(["umount", str(folder)], check=True, capture_output=True)


class Room:
    """The processes, and what happens to them."""

    def __init__(self, until, folder: Path, seed: int) -> None:
        self.until, self.home = until, folder / "trial"
        self.rng = random.Random(seed)
        changes = (
            *("pace.rounds=100000", "pace.timeout_s=3.0", "pace.window=5", "ledger.interval_s=0.5"),
            *(f'model.name="{TASK}:slow"', "model.args.step_s=0.02"),
        )
        documents = write_trial(self.home, free_ports(NODES), "ring", SAMPLES["digits"], changes)
        self.processes = [Process(path, path.parent / "run", Outcome(path.parent.name, 0)) for path in documents]
        self.small = self.processes[-1]
        self.told: list[str] = []

    def say(self, line: str) -> None:
        self.told.append(line)
        print(line)

    def height(self, process: Process) -> int:
        process.follow()
        return int(process.outcome.ledger.get("height", 0))

    def wait(self, found, what: str, but: Process | None = None) -> None:
        self.until(found, self.processes, f"{what}; so far: {self.told}", () if but is None else (but,))

    def grow(self, by: int, nodes=None) -> None:
        """Until these nodes have made so many heights more final than anybody had."""
        nodes = nodes or self.processes
        height = max(map(self.height, self.processes)) + by
        self.wait(lambda: all(self.height(process) >= height for process in nodes), f"height {height}")

    def last_line(self, process: Process) -> str:
        return process.document.with_name("log.txt").read_text().strip().splitlines()[-1]

    # ------------------------------------------------------------------------------------------ what happens

    def kill(self, process: Process) -> None:
        process.handle.send_signal(signal.SIGKILL)
        process.handle.wait()
        self.resume(process)

    def stop(self, process: Process) -> None:
        """It stands still while the others make some heights final without it."""
        process.handle.send_signal(signal.SIGSTOP)
        self.grow(self.rng.randint(1, 4), [other for other in self.processes if other is not process])
        process.handle.send_signal(signal.SIGCONT)

    def cut_log(self, process: Process) -> None:
        """kill -9, and the file system has lost the end of the write-ahead log: as if an older disk were restored."""
        process.handle.send_signal(signal.SIGKILL)
        process.handle.wait()
        log = process.store.with_name(process.store.name + "-wal")
        size = log.stat().st_size if log.exists() else 0
        if size:
            os.truncate(log, int(size * self.rng.uniform(0.2, 1.0)))
        self.resume(process)

    def fill_disk(self, process: Process) -> None:
        """No room for the next commit: the node ends with one line; with room again it goes on."""
        ballast = process.out / "ballast"
        if os.path.ismount(process.out):
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
        else:
            size = max(path.stat().st_size for path in process.out.iterdir())
            resource.prlimit(process.handle.pid, resource.RLIMIT_FSIZE, (size, size))
        self.wait(lambda: process.handle.poll() is not None, "the end of a node without room", process)
        assert process.handle.returncode == 2, process.summary()
        assert "cannot write" in self.last_line(process)
        ballast.unlink(missing_ok=True)
        self.resume(process)

    def resume(self, process: Process) -> None:
        """Start it again; if it says that it needs it, recover it first."""
        process.arguments = ("--resume",)
        log = process.document.with_name("log.txt")
        before = len(log.read_text()) if log.exists() else 0
        process.start()
        height = self.height(process)
        self.wait(lambda: process.handle.poll() is not None or self.height(process) > height, "a new start", process)
        if process.handle.poll() is not None:
            assert RECOVER in log.read_text()[before:], log.read_text()[before:]
            assert process.handle.returncode == 2
            assert main(["ledger", "recover", str(process.out)]) == 0
            self.say(f"{process.outcome.name}: recovered")
            process.start()
            self.wait(lambda: self.height(process) > height, "a recovered node")


def state_of(store: Path):
    with open_reader(store) as reader:
        view = View(FileSource(reader))
        return view.height, view.genesis, view.state()


def check(processes) -> None:
    stores = [process.store for process in processes]
    for store in stores:
        assert verify_store(store).problems == ()
    agreement = ledger_agreement([finals_in(store) for store in stores])
    assert agreement["ledger_agrees"]
    positions = defaultdict(set)
    held = {}
    for process in processes:
        with open_reader(process.store) as reader:
            rows = list(reader.rows())
        held[process.outcome.name] = {(row.author, row.incarnation, row.seq) for row in rows}
        for row in rows:
            positions[row.author, row.incarnation, row.seq].add(row.id)
    assert all(len(ids) == 1 for ids in positions.values()), "no feed is forked"
    keys = {process.outcome.name: key_of(process) for process in processes}
    for name, key in keys.items():
        lost = {place for place in positions if place[0] == key} - held[name]
        assert not lost, f"{name} has lost entries of its own that others hold"
    for store in stores:
        height, genesis, state = state_of(store)
        settled = [value for _, value in state.items("settled")]
        assert len(settled) == height // genesis.window
        assert all(paid in (0, genesis.supply) for *_, paid in settled)
        assert sum(a for _, (a,) in state.items("balance")) == sum(paid for *_, paid in settled)
        assert not state.items("frozen")


def answers_over_http(room: Room) -> None:
    """A node that runs shows its ledger to whoever asks, and nothing else."""
    url = load_network(room.home / "network.toml").nodes[0].url
    assert main(["ledger", "status", url]) == 0
    assert main(["ledger", "balance", url]) == 0
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/v1/status", timeout=30.0) as reply:
        assert json.loads(reply.read())["ledger"]["validators"] == NODES
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(f"{url}/v1/ledger/../../etc/passwd", timeout=30.0)
    refused.value.close()


def can_be_proven(room: Room) -> None:
    """What one node's file holds convinces whoever has the genesis."""
    proof = room.home / "proof"
    assert main(["ledger", "prove", str(room.processes[1].store), "#3", "--out", str(proof)]) == 0
    assert main(["ledger", "verify-proof", str(proof), "--genesis", str(room.home / "genesis.toml")]) == 0


def key_of(process: Process) -> bytes:
    return bytes(keyfile.load(process.document.with_name("key")).node)


def a_bad_day(until, folder: Path, seed: int, events: int) -> Room:
    room = Room(until, folder, seed)
    with small_disk(room.small.out) as mounted:
        try:
            for process in room.processes:
                process.start()
            room.grow(2)
            deeds = [room.kill, room.stop, room.cut_log, room.fill_disk]
            room.rng.shuffle(deeds)
            deeds += room.rng.choices([room.kill, room.stop, room.cut_log], k=max(events - len(deeds), 0))
            for deed in deeds[:events]:
                victim = room.small if deed == room.fill_disk else room.rng.choice(room.processes)
                room.say(f"{victim.outcome.name}: {deed.__name__} at height {room.height(victim)}")
                deed(victim)
            room.grow(3)
            answers_over_http(room)
            for process in room.processes:
                process.handle.send_signal(signal.SIGINT)
            room.wait(lambda: all(process.handle.poll() == 0 for process in room.processes), "their ends")
            check(room.processes)
            can_be_proven(room)
            height = min(map(room.height, room.processes))
            print(f"seed {seed}: equal up to height {height}, {'a small disk' if mounted else 'a file size limit'}")
        finally:
            for process in room.processes:
                if process.handle is not None and process.handle.poll() is None:
                    process.handle.send_signal(signal.SIGCONT)
            end_processes(room.processes, 5.0)
    return room


@pytest.mark.slow
def test_a_bad_day(tmp_path, until):
    a_bad_day(until, tmp_path, 1, 4)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 22))
def test_twenty_bad_days(tmp_path, until, seed):
    a_bad_day(until, tmp_path, seed, 6)
