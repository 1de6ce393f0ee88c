"""A party's trained part as files, and back. Knows formats of files; no party and no message.

part.safetensors   the weights by name
part.json          what else it takes to use them: the job, the party's role, sizes, what is done to embeddings
encoder.json       how the party's columns become numbers
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from p2pfl.errors import ConfigError, HostError
from p2pfl.learn.datasets import read_encoder, write_encoder
from p2pfl.learn.table import Encoder
from p2pfl.runs.folder import ENCODER
from p2pfl.vertical.job.agreement import Agreement

WEIGHTS, ABOUT = "part.safetensors", "part.json"
FORMAT = 1
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class About:
    """part.json. `secret` (hex) is what noise on embeddings is drawn from; it never leaves the party."""

    format: int
    job: str
    party: str
    role: str
    kind: str
    level: int
    features: int
    hidden: int
    widths: list[int]
    top_hidden: int
    embedding_clip: float
    embedding_noise: float
    secret: str


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A part as it was written."""

    about: About
    weights: Mapping[str, Tensor]
    encoder: Encoder


def write_part(
    folder: Path, agreement: Agreement, index: int, encoder: Encoder, features: int, weights: Mapping[str, Tensor]
) -> None:
    """Files appear whole; part.json, the last, says that the part is there. Raises HostError."""
    a = agreement
    about = About(
        FORMAT, a.name, a.parties[index][0], _role(index), a.kind, a.level, features, a.hidden, list(a.widths),
        a.top_hidden, a.embeddings.clip, a.embeddings.noise, os.urandom(SECRET_BYTES).hex(),
    )  # fmt: skip
    try:
        write_encoder(folder / (ENCODER + ".part"), encoder)
        save_file({k: v.detach().clone().contiguous() for k, v in weights.items()}, folder / (WEIGHTS + ".part"))
        with open(folder / (ABOUT + ".part"), "w", opener=_private) as file:
            file.write(json.dumps(asdict(about), indent=2) + "\n")
        for name in (ENCODER, WEIGHTS, ABOUT):
            (folder / (name + ".part")).replace(folder / name)
    except (OSError, SafetensorError) as error:
        raise HostError(f"cannot write the trained part into {folder}: {error}") from None


def read_part(folder: Path, agreement: Agreement, index: int) -> Saved:
    """The part of the agreement's party `index`. ConfigError if there is none, or it is another's."""
    about, a = _read_about(folder), agreement
    expected = (a.name, a.parties[index][0], _role(index), a.kind, a.level)
    got = (about.job, about.party, about.role, about.kind, about.level)
    if got != expected:
        raise ConfigError(f"{folder / ABOUT}: expected the part of {_said(expected)}, got that of {_said(got)}")
    sizes = (list(a.widths), a.top_hidden)
    if (about.widths, about.top_hidden) != sizes:
        raise ConfigError(
            f"{folder / ABOUT}: expected widths and top_hidden {sizes}, got {(about.widths, about.top_hidden)}"
        )
    encoder = read_encoder(folder / ENCODER)
    if len(encoder.features) != about.features:
        raise ConfigError(f"{folder / ENCODER}: expected {about.features} features, got {len(encoder.features)}")
    return Saved(about, _read_weights(folder / WEIGHTS), encoder)


def _said(part: tuple[str, str, str, str, int]) -> str:
    job, party, role, kind, level = part
    return f"{party}, {role} of {job} ({kind}, level {level})"


def _role(index: int) -> str:
    return "feature holder" if index else "label holder"


def _read_about(folder: Path) -> About:
    try:
        raw: Any = json.loads((folder / ABOUT).read_text("utf-8"))
        about = About(**raw)
        if about.format != FORMAT or len(bytes.fromhex(about.secret)) != SECRET_BYTES:
            raise ValueError(f"expected format {FORMAT}, got {about.format}")
    except OSError:
        raise ConfigError(f"{folder}: expected a trained part ({ABOUT}), found none; train first") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{folder / ABOUT}: expected a part that p2pfl wrote: {error}") from None
    return about


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  -- not a mapping
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the part {path}: {str(error).splitlines()[0]}") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
