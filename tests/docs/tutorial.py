"""Runs what a page tells to type, block after block, in one empty folder. Knows Markdown, bash and processes.

Every line of a `sh` block, and every line after `$ ` of a `console` block, is a command that must end with 0; a
`python` block is run only if it says so. A comment before a block says what is special about it:

    <!-- not run: WHY -->             these lines are only read
    <!-- run -->                      this python block stands alone
    <!-- goes on -->                  each line is a program that lasts: it is interrupted at the end of the page
    <!-- together -->              all lines at a time; each must end with 0
    <!-- until it answers -->         each line may fail while such programs start
    <!-- where NAME is COMMAND -->    NAME in the next block stands for what COMMAND prints when it is needed
    <!-- before: COMMAND -->          done first, and of no interest to a reader
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("examples", "topology")
"""What a page takes from the checkout."""

TRIES = 200
LINE_S = 900.0
END_S = 60.0

_BLOCK = re.compile(r"^```(sh|console|bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_NOTE = re.compile(r"<!-- *(.*?) *-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """kind: `sh` or `python`; notes: what the comments right before it say; line: where it begins."""

    kind: str
    text: str
    notes: tuple[str, ...]
    line: int

    @property
    def commands(self) -> list[str]:
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.kind == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if shlex.split(line, comments=True)]

    def said(self, word: str) -> list[str]:
        """What the notes that begin with `word` say after it."""
        return [note.removeprefix(word).strip() for note in self.notes if note.startswith(word)]

    @property
    def is_run(self) -> bool:
        return bool(self.said("run")) if self.kind == "python" else not self.said("not run")


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    end = 0
    for found in _BLOCK.finditer(text):
        between = text[end : found.start()]
        notes = []
        while (note := re.search(r"<!--(?:(?!-->).)*-->\s*\Z", between, re.DOTALL)) is not None:
            match = _NOTE.match(between, note.start())
            assert match is not None
            notes.insert(0, " ".join(match[1].split()))
            between = between[: note.start()]
        yield Block(found[1], found[2], tuple(notes), text.count("\n", 0, found.start()) + 1)
        end = found.end()


@dataclass
class Folder:
    """An empty folder in which a page is carried out."""

    path: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in COPIED:
            shutil.copytree(ROOT / name, self.path / name)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "160"}

    def do(self, command: str, tries: int = 1) -> str:
        """Its standard output. Raises AssertionError if it never ends with 0."""
        for _ in range(tries):
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=self.path,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=LINE_S,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode == 0:
                assert "Traceback" not in done.stderr, f"{command}\n{done.stderr}"
                return done.stdout
        raise AssertionError(f"{command}\nends with {done.returncode}\n{done.stdout}{done.stderr}")

    def do_together(self, commands: list[str]) -> None:
        with ThreadPoolExecutor(len(commands)) as pool:
            list(pool.map(self.do, commands))

    def start(self, command: str) -> None:
        words = ["bash", "-c", f"exec {command}"]
        log = (self.path / f"output-{len(self.processes)}.txt").open("wb")
        with log:
            self.processes[command] = subprocess.Popen(
                words, cwd=self.path, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def end(self) -> None:
        """What still lasts is interrupted, as by Ctrl-C, and must take that well."""
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for command, process in self.processes.items():
            code = process.wait(END_S)
            assert code in (0, 130), f"{command}\nends with {code} when it is interrupted"

    @contextmanager
    def lasting(self) -> Iterator[None]:
        with ExitStack() as stack:
            for_sure = stack.enter_context(ExitStack())
            for_sure.callback(lambda: [process.kill() for process in self.processes.values()])
            yield
            self.end()


def carry_out(page: Path, folder: Path) -> int:
    """How many commands were run. Raises AssertionError with the page's line for one that fails."""
    here, count = Folder(folder), 0
    with here.lasting():
        for block in blocks_of(page):
            if not block.is_run:
                continue
            try:
                count += carry_out_block(block, here)
            except AssertionError as error:
                raise AssertionError(f"{page.name}:{block.line}: {error}") from error
    return count


def carry_out_block(block: Block, here: Folder) -> int:
    for command in block.said("before:"):
        here.do(command)
    if block.kind == "python":
        (here.path / "block.py").write_text(block.text)
        here.do("python block.py")
        return 1
    places = dict(re.split(r" is ", where, maxsplit=1) for where in block.said("where"))
    if block.said("together"):
        here.do_together(block.commands)
        return len(block.commands)
    for command in block.commands:
        for name, said in places.items():
            if name in command:
                command = command.replace(name, here.do(said).strip())
        if block.said("goes on"):
            here.start(command)
        else:
            here.do(command, TRIES if block.said("until it answers") else 1)
    return len(block.commands)
