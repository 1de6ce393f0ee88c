"""Many nodes on this machine, each a process of its own, over HTTP on loopback. Knows processes and run folders."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pfl.core.party import Emit
from p2pfl.errors import HostError
from p2pfl.runs.folder import METRICS, STORE, SUMMARY
from p2pfl.runs.outcome import Outcome

LOOK_S = 0.2
GRACE_S = 10.0


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody uses at this moment."""
    sockets = []
    try:
        for _ in range(count):
            sock = socket.socket()
            sockets.append(sock)
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


@dataclass(eq=False)
class Process:
    """One node's process, its folder, and what its metrics have told so far."""

    document: Path
    out: Path
    outcome: Outcome
    arguments: tuple[str, ...] = ()
    quiet: bool = True
    handle: subprocess.Popen[bytes] | None = None
    _read: int = field(default=0)

    def start(self) -> None:
        command = [sys.executable, "-m", "p2pfl", "node", "--config", str(self.document), *self.arguments]
        command += ["--quiet"] * self.quiet
        log = self.document.with_name("log.txt").open("ab")
        with log:
            self.handle = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def follow(self) -> None:
        """Take in the metrics that were written since."""
        path = self.out / METRICS
        if not path.exists():
            return
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self._read:  # it was full, and a new one has begun
                self._read = 0
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            fields = json.loads(line)
            self.outcome.take(fields.pop("seconds"), Emit(fields.pop("event"), fields))

    def summary(self) -> dict[str, Any]:
        """What the node wrote at its end, or what is known if it wrote nothing. The last line of its log says why."""
        try:
            summary = json.loads((self.out / SUMMARY).read_text())
        except (OSError, ValueError):
            summary = self.outcome.summary()
        if self.handle is not None and self.handle.returncode:
            log = self.document.with_name("log.txt").read_text().strip().splitlines()
            why = log[-1] if log else f"exit code {self.handle.returncode}"
            summary["failure"] = summary.get("failure") or why
        assert isinstance(summary, dict)
        return summary

    @property
    def store(self) -> Path:
        return self.out / STORE


def run_processes(
    processes: Sequence[Process], watch: Callable[[], None], limit_s: float, kill_grace_s: float = GRACE_S
) -> None:
    """Start all, follow them to their end, and leave none behind, whatever happens. `watch` is called now and then.

    Raises HostError if they have not ended within `limit_s`.
    """
    begun = time.monotonic()
    try:
        for process in processes:
            process.start()
        while any(p.handle is not None and p.handle.poll() is None for p in processes):
            for process in processes:
                process.follow()
            watch()
            if time.monotonic() - begun > limit_s:
                raise HostError(f"the nodes have not ended within {limit_s:.0f} s; their logs are beside node.toml")
            time.sleep(LOOK_S)
    finally:
        end_processes(processes, kill_grace_s)
    for process in processes:
        process.follow()


def end_processes(processes: Sequence[Process], grace_s: float = GRACE_S) -> None:
    """Ask those that still run to end; kill those that do not within `grace_s`."""
    live = [p.handle for p in processes if p.handle is not None and p.handle.poll() is None]
    for handle in live:
        os.killpg(handle.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for handle in live:
        try:
            handle.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            os.killpg(handle.pid, signal.SIGKILL)
            handle.wait()
