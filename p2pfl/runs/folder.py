"""The folder a run leaves behind. Knows files; knows no socket and no rule.

config.toml         the configuration as used, overrides included
node.db             the node's durable state and its feed (docs/formats/store.md)
metrics.jsonl       one JSON object per event: {"seconds", "event", ...}; metrics.1.jsonl: what was there before
model.safetensors   the model's tensors by name, adapters merged; metadata: recipe, round
personal.safetensors  likewise: the node's own copy, if it made one
encoder.json        how rows of a table became numbers, for `p2pfl predict` (tables only)
summary.json        what the run came to
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from p2pfl.config import NetworkConfig, NodeConfig, dump_toml
from p2pfl.core.limits import METRICS_BYTES_MAX
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError, HostError
from p2pfl.learn.datasets import write_encoder
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.table import Encoder
from p2pfl.learn.warm import MODEL as MODEL
from p2pfl.learn.warm import read_tensors
from p2pfl.ledger.stores.reader import STORE as STORE

CONFIG = "config.toml"
NETWORK = "network.toml"
METRICS, METRICS_BEFORE = "metrics.jsonl", "metrics.1.jsonl"
PERSONAL = "personal.safetensors"
ENCODER = "encoder.json"
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    path: Path

    @classmethod
    def open(cls, path: Path, resume: bool) -> "RunFolder":
        """The folder for a run, made if it is missing.

        Raises ConfigError if it holds a run and `resume` is not asked for: nothing is ever overwritten by accident.
        """
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            held = sorted(p.name for p in path.iterdir())
        except OSError as error:
            raise ConfigError(f"cannot use the run folder {path}: {error.strerror}") from None
        if held and not resume:
            if STORE in held or SUMMARY in held:
                raise ConfigError(f"{path} holds a run already: go on with --resume, or choose another with --out DIR")
            raise ConfigError(f"{path} is not empty (it holds {held[0]}): choose another folder with --out DIR")
        return folder

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write_config(self, config: NodeConfig | NetworkConfig) -> None:
        """The documents as used: `p2pfl predict` and a later look need no other file."""
        network = config
        if isinstance(config, NodeConfig):
            self._write(CONFIG, dump_toml(config))
            network = config.network
        self._write(NETWORK, dump_toml(network))

    def write_encoder(self, encoder: Encoder | None) -> None:
        if encoder is not None:
            write_encoder(self / ENCODER, encoder)

    def write_summary(self, summary: dict[str, Any]) -> None:
        self._write(SUMMARY, json.dumps(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """Raises ConfigError if there is none: the run has not ended."""
        try:
            value = json.loads((self / SUMMARY).read_text())
        except (OSError, ValueError):
            raise ConfigError(f"{self.path}: expected a finished run with {SUMMARY}, found none") from None
        assert isinstance(value, dict)
        return value

    def write_model(self, tensors: Mapping[str, Tensor], recipe: bytes, round_: int, name: str = MODEL) -> None:
        """A model by name, as `FlatModel.tensors` gives it."""
        part = self / (name + ".part")
        try:
            save_file(dict(tensors), part, {"recipe": recipe.hex(), "round": str(round_)})
            part.replace(self / name)
        except (OSError, SafetensorError) as error:
            raise HostError(f"cannot write the model into {self.path}: {error}") from None

    def load_model(self, into: FlatModel, name: str = MODEL) -> None:
        """Make `into` the run's model. Raises ConfigError if there is none, or it has other tensors."""
        path = self / name
        into.adopt(read_tensors(path), path)

    def _write(self, name: str, text: str) -> None:
        part = self / (name + ".part")
        try:
            part.write_text(text)
            part.replace(self / name)
        except OSError as error:
            raise HostError(f"cannot write {self / name}: {error.strerror}") from None


class Metrics:
    """Appends one line per emitted event, in one write, so that others may follow it.

    A line that would make the file longer than `bytes_max` begins a new one; the old one is kept beside it until the
    next time, so a node that runs for a year does not fill its disk with what it said.
    """

    def __init__(self, path: Path, append: bool, bytes_max: int = METRICS_BYTES_MAX) -> None:
        """With `append`, a last line that a former run could not finish is taken away."""
        self.path = path
        self._bytes_max = bytes_max
        try:
            self._file = path.open("ab" if append else "wb", buffering=0)
            self._file.truncate(_whole_lines(path))
            self._size = self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._refused(error) from None

    def write(self, seconds: float, emit: Emit) -> None:
        """Raises HostError if the disk refuses."""
        line = (json.dumps({"seconds": round(seconds, 3), "event": emit.name, **emit.fields}) + "\n").encode()
        try:
            if self._size and self._size + len(line) > self._bytes_max:
                self._turn()
            self._size += self._file.write(line)
        except OSError as error:
            raise self._refused(error) from None

    def _turn(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_name(METRICS_BEFORE))
        self._file, self._size = self.path.open("wb", buffering=0), 0

    def close(self) -> None:
        self._file.close()

    def _refused(self, error: OSError) -> HostError:
        return HostError(f"cannot write {self.path}: {error.strerror}")


def _whole_lines(path: Path) -> int:
    """The length of a file up to the end of its last whole line."""
    return path.read_bytes().rfind(b"\n") + 1
