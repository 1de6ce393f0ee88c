"""Checkpoints of a run in shards: a folder each, whole once its run.json is there. Knows no shard and no worker.

DIR/round-00000010/shard-000.safetensors   each written by its own worker (shards_file.py)
                   run.json                written last, by whoever drives the run: names the files by digest

Format: docs/formats/shard.md.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from p2pfl.config import NetworkConfig, dump_toml
from p2pfl.errors import ConfigError, HostError
from p2pfl.hosts.shards_cut import Members
from p2pfl.runs.outcome import Outcome

FORMAT = 1
KEPT = 2
"""The newest so many are kept: the last one, and the one before it while the next is being written."""
MANIFEST = "run.json"
TOLD = ("name", "num_params", "round", "rounds", "loss", "evaluations", "traffic", "failure", "peers")
"""Of an outcome: what is not told again at the end."""
FOLDER = re.compile(r"round-(\d{8})")


@dataclass(frozen=True)
class Position:
    """Where a run is: rounds that are over, of them closing ones; and each worker's training engine."""

    rounds: int
    closed: int
    engines: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A complete checkpoint."""

    position: Position
    members: Members
    files: tuple[Path, ...]
    digests: tuple[bytes, ...]
    outcomes: dict[str, Outcome]


@dataclass(frozen=True)
class Checkpoints:
    """Those of one run of one document, in `folder`, which all workers reach."""

    folder: Path
    document: str

    @classmethod
    def of(cls, folder: Path, config: NetworkConfig) -> "Checkpoints":
        """Raises ConfigError if the folder cannot be used."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--checkpoint: cannot use the folder {folder}: {error.strerror}") from None
        return cls(folder.absolute(), blake3(dump_toml(config).encode()).hexdigest())

    def check_unused(self) -> None:
        """Raises ConfigError if there are checkpoints: nothing is overwritten by accident."""
        if self._folders():
            raise ConfigError(
                f"{self.folder} holds checkpoints of a run: go on with --resume, or choose another folder"
            )

    def files(self, rounds: int, count: int) -> list[Path]:
        """Where the shards are to be written."""
        return [self._of(rounds) / f"shard-{shard:03}.safetensors" for shard in range(count)]

    def complete(
        self, position: Position, members: Members, digests: Sequence[bytes], outcomes: Mapping[str, Outcome]
    ) -> None:
        """All shards are written: now the checkpoint counts. Older ones go. Raises HostError."""
        paths = self.files(position.rounds, len(digests))
        value = {
            "format": FORMAT,
            "document": self.document,
            **asdict(position),
            "members": members,
            "files": {path.name: digest.hex() for path, digest in zip(paths, digests, strict=True)},
            "outcomes": [{name: getattr(outcome, name) for name in TOLD} for outcome in outcomes.values()],
        }
        path = self._of(position.rounds) / MANIFEST
        part = path.with_name(MANIFEST + ".part")
        try:
            with part.open("w") as file:
                json.dump(value, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            raise HostError(f"cannot write the checkpoint {path}: {error.strerror}") from None
        for old in self._folders()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Found | None:
        """The newest complete checkpoint, if there is one. Raises ConfigError if it is not of this run."""
        complete = [path for path in self._folders() if (path / MANIFEST).exists()]
        return self._read(complete[-1] / MANIFEST) if complete else None

    def _read(self, path: Path) -> Found:
        try:
            value = json.loads(path.read_text("utf-8"))
            if value["format"] != FORMAT:
                raise ConfigError(f"{path}: expected a checkpoint of format {FORMAT}, got {value['format']!r}")
            if value["document"] != self.document:
                raise ConfigError(f"{path}: a checkpoint of another document, or of one that was changed since")
            return _found(path.parent, value)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"cannot read the checkpoint {path}: {type(error).__name__}: {error}") from None

    def _of(self, rounds: int) -> Path:
        return self.folder / f"round-{rounds:08}"

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if FOLDER.fullmatch(path.name))


def _found(folder: Path, value: Any) -> Found:
    outcomes = [Outcome(**one) for one in value["outcomes"]]
    return Found(
        Position(int(value["rounds"]), int(value["closed"]), tuple(value["engines"])),
        tuple(tuple(int(number) for number in numbers) for numbers in value["members"]),
        tuple(folder / Path(name).name for name in value["files"]),
        tuple(bytes.fromhex(digest) for digest in value["files"].values()),
        {outcome.name: outcome for outcome in outcomes},
    )
