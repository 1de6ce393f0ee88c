"""Progress of one party of a vertical job on a terminal: a line when a phase turns, a rate in between. Knows events."""

import sys
import time

import click

from p2pfl.core.party import Emit
from p2pfl.vertical.split.parties import plainly

EVERY_S = 2.0
"""Between two lines of one kind where there is no terminal to write over."""

LOUD = {"resumed", "blamed", "ended", "failed"}

OTHER_WORDS = {
    "network": "it has another job.toml, or does something else than this command",
    "stranger": "this party is not in its job.toml",
    "aligns-only": "it aligns and does not train",
    "aligning": "it is still aligning",
}
"""Refusals' codes, for people."""


class Progress:
    """Gets a party's events. Lines go to stderr; on a terminal the last is written over. `brief`: no progress."""

    def __init__(self, name: str, quiet: bool, brief: bool = False) -> None:
        self._name, self._quiet, self._brief = name, quiet, brief
        self._tty = sys.stderr.isatty()
        self._said_at = 0.0
        self._open = False  # a line that may be written over
        self._refused: set[str] = set()  # said once each
        self._first: tuple[float, int] | None = None  # when the first step of this life was done, and which

    def say(self, text: str) -> None:
        if self._quiet:
            return
        click.echo(("\r\x1b[K" if self._open else "") + f"{self._name}: {text}", err=True)
        self._open = False

    def take(self, seconds: float, emit: Emit) -> None:
        f = emit.fields
        match emit.name:
            case "aligning":
                last = f["raised"] == f["of"]
                self._now(f"aligning: {f['raised']} of {f['of']} points, {f['per_second']} a second", last)
            case "aligned":
                self.say(f"aligned: {f['rows']} common rows" + (f" of {f['of']}" if f["of"] else ""))
            case "step":
                self._step(seconds, int(f["step"] or 0), int(f["steps"] or 0))
            case "epoch" if not self._tty:
                self.say(f"epoch {f['epoch']}: loss {f['loss']:.4f}")
            case "turn":
                self._now(f"turn {f['turn']}", False)
            case "scored":
                self._now(f"scoring: {f['left']} batches left", f["left"] == 0)
            case "refused" if f["code"] in self._refused:
                pass
            case "refused":
                self._refused.add(str(f["code"]))
                self.say(f"refused a message: {f['detail']}")
            case "waiting" if f["why"] == "ending":
                pass
            case "waiting":
                why = plainly(str(f["why"]))
                why = OTHER_WORDS.get(why, why)
                self.say(f"waiting for {f['peer']}, {f['patience_s']:g} s at most: {why}")
            case "returned":
                self.say(f"{f['peer']} is there after {f['after_s']:.1f} s")
            case name if name in LOUD:
                self.say(f"{name}: " + ", ".join(f"{key} {value}" for key, value in f.items()))

    def close(self) -> None:
        if self._open:
            click.echo("", err=True)
            self._open = False

    def _step(self, seconds: float, step: int, steps: int) -> None:
        if self._first is None:
            self._first = (seconds, step)
        passed, done = seconds - self._first[0], step - self._first[1]
        rate = f", {done / passed:.1f} a second" if passed > 0 and done else ""
        self._now(f"step {step} of {steps}{rate}", step == steps)

    def _now(self, text: str, last: bool) -> None:
        """A line that the next one of its kind replaces."""
        if self._quiet or self._brief:
            return
        if self._tty:
            click.echo(f"\r\x1b[K{self._name}: {text}", err=True, nl=False)
            self._open = True
            return
        if last or time.monotonic() - self._said_at >= EVERY_S:
            self._said_at = time.monotonic()
            click.echo(f"{self._name}: {text}", err=True)
