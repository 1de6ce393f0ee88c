"""Runs cells, here or in worker processes, and keeps each result as it ends. Knows processes; knows no terminal.

A worker that dies takes nothing with it but the cell it was at: another one tries that cell once more; if it dies too,
the cell is given up, said, and left to the next `--resume`.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from p2pfl.errors import ConfigError
from p2pfl.sweep.document import SweepConfig
from p2pfl.sweep.folder import SweepFolder
from p2pfl.sweep.grid import Cell

TRIES = 2
WORKERS_MAX = 256
Progress = Callable[[Cell, float], None]
"""Hears (cell, how much of it is done, 0 to 1); 1 when its result is kept."""
Say = Callable[[str], None]


@dataclass(eq=False)
class Pool:
    """`run` returns the cells that were given up, with the reason."""

    sweep: SweepConfig
    folder: SweepFolder
    overrides: Sequence[str] = ()
    workers: int = 1
    on_progress: Progress = lambda cell, part: None
    say: Say = lambda text: None
    _lock: Lock = field(default_factory=Lock)
    _processes: list["subprocess.Popen[str]"] = field(default_factory=list)
    _lost: dict[str, str] = field(default_factory=dict)
    _error: str | None = None

    def run(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Raises ConfigError for a cell that cannot be run at all, HostError if the disk refuses."""
        if self.workers == 1 or len(cells) < 2:
            self._run_here(cells)
        else:
            self._run_in_workers(cells)
        return self._lost

    def _run_here(self, cells: Sequence[Cell]) -> None:
        from p2pfl.sweep.cell import run_cell

        for cell in cells:

            def told(done: int, of: int, cell: Cell = cell) -> None:
                self.on_progress(cell, min(done / of, 0.999))

            self.folder.keep(run_cell(self.sweep, cell, told))
            self.on_progress(cell, 1.0)

    def _run_in_workers(self, cells: Sequence[Cell]) -> None:
        waiting: SimpleQueue[Cell] = SimpleQueue()
        for cell in cells:
            waiting.put(cell)
        threads = [Thread(target=self._serve, args=(waiting,)) for _ in range(min(self.workers, len(cells)))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # an interruption: the workers must not go on alone
            self._error = "interrupted"
            raise
        finally:
            with self._lock:
                for process in self._processes:
                    process.kill()
            for thread in threads:
                if thread.is_alive():
                    thread.join()
        if self._error is not None:
            raise ConfigError(self._error)

    def _serve(self, waiting: "SimpleQueue[Cell]") -> None:
        """One worker's cells, and its successor's if it dies."""
        process: subprocess.Popen[str] | None = None
        with suppress(Empty):
            while self._error is None:
                cell = waiting.get_nowait()
                for attempt in range(1, TRIES + 1):
                    if process is None or process.poll() is not None:
                        process = self._start()
                    if process is None or self._ask(process, cell) or self._error is not None:
                        break
                    self._died(process, cell, attempt)
        if process is not None:
            _end(process)

    def _start(self) -> "subprocess.Popen[str] | None":
        """None once all is being ended."""
        nodes = str(self.sweep.nodes or 0)  # 0: what the documents say
        arguments = [str(self.sweep.path), str(self.folder.path), self.sweep.engine, nodes, *self.overrides]
        command = [sys.executable, "-m", "p2pfl.sweep.worker", *arguments]
        with self._lock:
            if self._error is not None:
                return None
            pipe = subprocess.PIPE  # and a session of its own: Ctrl-C is for the sweep, which ends its workers
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
            self._processes.append(process)
        return process

    def _ask(self, process: "subprocess.Popen[str]", cell: Cell) -> bool:
        """Whether the cell has been dealt with; False if the worker died."""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.write(cell.id + "\n")
            process.stdin.flush()
            for line in process.stdout:
                with suppress(ValueError):  # half a line: its last word
                    if self._hear(json.loads(line), cell):
                        return True
        return False

    def _hear(self, said: dict[str, Any], cell: Cell) -> bool:
        """Whether it is the worker's last word on the cell."""
        with self._lock:
            if "error" in said:
                self._error = self._error or str(said["error"])
                return True
            if "kept" in said:
                self.on_progress(cell, 1.0)
                return True
            self.on_progress(cell, min(said["done"] / said["of"], 0.999))
            return False

    def _died(self, process: "subprocess.Popen[str]", cell: Cell, attempt: int) -> None:
        code = _end(process)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        with self._lock:
            if self._error is not None:
                return
            if attempt < TRIES:
                self.say(f"a worker died ({how}) at {cell.title}; another one runs it again")
            else:
                self._lost[cell.id] = f"the worker died ({how}), {TRIES} times"
                self.say(f"{cell.title} is given up: {self._lost[cell.id]}; --resume tries again")


def _end(process: "subprocess.Popen[str]") -> int:
    """Say that there is no more to do, and wait. Returns the exit code."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    code = process.wait()
    process.stdout.close()
    return code
