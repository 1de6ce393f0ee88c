"""Peers side by side: each a process on a loopback of its own network, told when to run rounds and timed till the last
is done. Knows processes, namespaces and counters; knows no peer and no bar.

The processes speak as `peers/paced.py` says. Their network is a namespace with nothing but a loopback, so its counters
hold their bytes and nobody else's, TCP and IP headers and acknowledgements included; where namespaces are not allowed
it is the machine's own loopback, and what else uses that is counted too.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO, Any

from simulators import QUIET, Unavailable

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Network:
    """Where processes meet: `prefix` starts a command in it; `pid` is a process that lives there."""

    prefix: tuple[str, ...]
    pid: int
    own: bool
    """Nobody else is on it."""

    def loopback_bytes(self) -> int:
        """Bytes over the loopback so far; each is counted once."""
        lines = Path(f"/proc/{self.pid}/net/dev").read_text().splitlines()
        fields = next(line.split() for line in lines if line.strip().startswith("lo:"))
        return int(fields[1])


@contextmanager
def network() -> Iterator[Network]:
    """A network namespace that ends with the block; the machine's own network where none can be made."""
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    command = ("unshare", *user, "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
    try:
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        yield Network((), os.getpid(), False)
        return
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "up\n":
            yield Network((), os.getpid(), False)
            return
        into = ("--user", "--preserve-credentials") if user else ()
        yield Network(("nsenter", f"--target={holder.pid}", "--net", *into, "--"), holder.pid, True)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


# ---------------------------------------------------------------------------------------------------- processes


@dataclass(frozen=True, slots=True)
class Cost:
    """What a group's processes, their children included, have used so far: seconds of CPU; and what they hold."""

    cpu_s: float
    memory_mb: float


class Group:
    """The processes of one side. `with` it: they are gone afterwards, with whatever they started."""

    def __init__(self, name: str, commands: Sequence[Sequence[str]], place: Network, log: IO[bytes]) -> None:
        self.name, self.log = name, log
        self.processes = [self._start((*place.prefix, *command)) for command in commands]

    def _start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | QUIET,
            start_new_session=True,
        )

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *error: object) -> None:
        sessions = {process.pid for process in self.processes}
        for process in self.processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()  # at the end of its input it ends
            process.stdout.close()
        for process in self.processes:
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in _of_sessions(sessions):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def told(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """The next line of one of them. Raises Unavailable if it has ended."""
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Unavailable(f"{self.name}: it ended: {self.last_words()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def tell(self, text: str) -> list[dict[str, Any]]:
        """The same line to all; their answers, in the order of the processes."""
        for process in self.processes:
            self.write(process, text)
        return [self.told(process) for process in self.processes]

    def write(self, process: subprocess.Popen[str], text: str) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(text + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it says why when it is listened to

    def rounds(self, count: int) -> float:
        """Seconds from the word to go until the last of them has done so many rounds."""
        begun = perf_counter()
        self.tell(str(count))
        return perf_counter() - begun

    def cost(self) -> Cost:
        ticks = kib = 0
        for pid in _of_sessions({process.pid for process in self.processes}):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                held = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (OSError, ProcessLookupError):
                continue  # it has just ended
            ticks += sum(int(field) for field in fields[11:15])  # user and system, its own and its dead children's
            kib += sum(int(line.split()[1]) for line in held.splitlines() if line.startswith("Pss:"))
        return Cost(ticks / TICKS_PER_S, kib * 1024 / 1e6)

    def last_words(self) -> str:
        self.log.seek(0)
        said = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        return "".join(said[-1:])[:200]


def _of_sessions(sessions: set[int]) -> Iterable[int]:
    """All processes that these session leaders started, themselves included."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            except (OSError, ProcessLookupError):
                continue
            if session in sessions:
                yield int(folder.name)
