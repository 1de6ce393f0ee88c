"""A trial of vertical learning in a folder: one job document, and for each party a table, a key and a document.

The tables are scikit-learn's breast cancer data, its columns split: the clinic knows the diagnosis and a few
measurements, the others know the rest. Every table has its own order of rows, misses some people, and writes ids in its
own way. Knows data and texts; imports no torch.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from p2pfl.config.vertical import JOB_FILE, PARTY_FILE, load_job
from p2pfl.errors import ConfigError
from p2pfl.wire import keyfile

NAMES = ("clinic", "lab", "imaging", "insurer", "registry")
HOLDER = "notary"
OWN = ("mean texture", "mean smoothness", "mean symmetry", "mean fractal dimension")
"""The clinic's columns."""

NEW = 69
"""People kept for `predict`."""
MISSING = 0.08
"""Share of people that a party does not have."""
TABLE, NEW_TABLE = "table.csv", "new.csv"

_HEAD = Template("""\
# What all parties agree on: the same file at every party. All keys: docs/vertical.md

format = 1
name = "trial"

[align]
salt = "$salt"    # a secret of the parties: without it nobody can test ids against what travels

""")

_SPLIT = Template("""\
[model]
hidden = 16                 # of each party's bottom net
width = 4                   # values of a row that a party sends
top_hidden = $top_hidden              # of the label holder's top net

[train]
epochs = $epochs
batch_size = 32
lr = 0.01
test_fraction = 0.3

[protect]
level = $level                   # 1: the layer where the parties' data meet is encrypted
gradient_clip = 0.1         # gradients at the cut say much about labels: each row is clipped,
gradient_noise = 4.0        # and noised by so many times that
""")

_REGRESSION = Template("""\
[model]
kind = "logistic"           # encrypted regression

[train]
epochs = $epochs
batch_size = 128
test_fraction = 0.3

[protect]
key_bits = 2048
""")

_TRANSFER = Template("""\
[model]
kind = "transfer"           # the lab learns, on the patients both have, where the clinic would put them
hidden = 16                 # of the clinic's net
width = 4                   # of the latent space
alignment = 0.1

[train]
epochs = $epochs
batch_size = 32
lr = 0.01
test_fraction = 0.4

[protect]
level = $level                   # 1: lessons are sealed, only their sums are opened
gradient_noise = 1.0        # level 0: on each lesson, as a multiple of the longest
weight_noise = 0.05         # level 1: on the sums, as a multiple of one patient's largest share
""")

_PACE = """
[pace]
timeout_s = 30.0
patience_s = 300.0          # so long the others wait for a party that is gone
"""

_PARTY = Template("""\
# $name's own document: nobody else needs it.

format = 1
job = "../job.toml"
name = "$name"
key_file = "key"
listen = "$address"
out = "run"
""")

_TABLE = """
[table]
path = "table.csv"
id = "id"
"""

_LABELS = """\
label = "diagnosis"
classes = ["benign", "malignant"]   # a high score means the last
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is learned, and how. key_holder: one more party, without data, holds the keys."""

    epochs: int = 8
    kind: Literal["split", "logistic", "transfer"] = "split"
    level: int = 0
    key_holder: bool = False
    seed: int = 1

    def job(self, salt: str) -> str:
        """The job document up to its parties."""
        if self.kind == "split":
            body = _SPLIT.substitute(epochs=self.epochs, level=self.level, top_hidden=3 if self.level else 8)
        elif self.kind == "transfer":
            body = _TRANSFER.substitute(epochs=5 * self.epochs, level=self.level)
        else:
            body = _REGRESSION.substitute(epochs=self.epochs)
        holder = f'key_holder = "{HOLDER}"\n' if self.key_holder else ""
        return _HEAD.substitute(salt=salt) + body + holder + _PACE


@dataclass(frozen=True, slots=True)
class Share:
    """What one party knows of all people: `columns` of the whole."""

    name: str
    columns: tuple[int, ...]


def shares(features: Sequence[str], count: int) -> list[Share]:
    """The clinic has its own columns; the others get neighbouring blocks of the rest."""
    own = tuple(place for place, name in enumerate(features) if name in OWN)
    rest = [place for place in range(len(features)) if place not in own]
    blocks = np.array_split(np.array(rest), count - 1)
    others = [Share(name, tuple(int(i) for i in block)) for name, block in zip(NAMES[1:count], blocks, strict=True)]
    return [Share(NAMES[0], own), *others]


def write_vertical_trial(folder: Path, ports: Sequence[int], trial: Trial | None = None) -> list[Path]:
    """A party for each port, on loopback, in a new or empty folder, the key holder (if any) last; the party documents'
    paths. Raises ConfigError."""
    trial = trial or Trial()
    if not 2 <= len(ports) - trial.key_holder <= len(NAMES):
        raise ConfigError(f"expected 2 to {len(NAMES)} parties with data, got {len(ports) - trial.key_holder}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: expected a new or empty folder")
    try:
        return _write(folder, ports, trial, np.random.default_rng(trial.seed))
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or folder}: {error.strerror}") from None


def _write(folder: Path, ports: Sequence[int], trial: Trial, draw: np.random.Generator) -> list[Path]:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    x, benign = np.asarray(bunch.data, np.float64), np.asarray(bunch.target) == 1
    names = [str(name) for name in bunch.feature_names]
    order = draw.permutation(len(x))
    people, new = order[NEW:], order[:NEW]
    job = [trial.job(draw.bytes(8).hex())]
    documents: list[Path] = []
    held_by = shares(names, len(ports) - trial.key_holder)
    if trial.kind == "transfer":  # who has the labels has the telling columns too
        held_by = [Share(one.name, other.columns) for one, other in zip(held_by, reversed(held_by), strict=True)]
    for share, port in zip(held_by, ports, strict=False):
        home = folder / share.name
        job.append(_begin(home, port))
        labels = benign if not documents else None
        known = people if trial.kind != "transfer" else _half(people, first=not documents)
        for file, rows in ((TABLE, known), (NEW_TABLE, new)):
            held = rows[draw.random(len(rows)) >= MISSING]
            _write_table(home / file, share, names, x, labels, draw.permutation(held))
        documents.append(home / PARTY_FILE)
        text = documents[-1].read_text("utf-8") + _TABLE + ("" if labels is None else _LABELS)
        documents[-1].write_text(text, "utf-8")
    if trial.key_holder:
        job.append(_begin(folder / HOLDER, ports[-1]))
        documents.append(folder / HOLDER / PARTY_FILE)
    (folder / JOB_FILE).write_text("\n".join(job), "utf-8")
    load_job(folder / JOB_FILE)
    return documents


def _half(people: NDArray[np.int64], first: bool) -> NDArray[np.int64]:
    """Of a transfer: the source knows the first seven tenths of all people, the target the last seven tenths."""
    others = 3 * len(people) // 10
    return people[:-others] if first else people[others:]


def _begin(home: Path, port: int) -> str:
    """A party's folder with a key and a document without a table; its entry in the job document."""
    address, name = f"127.0.0.1:{port}", home.name
    home.mkdir(parents=True)
    signer = keyfile.create(home / "key")
    (home / PARTY_FILE).write_text(_PARTY.substitute(name=name, address=address), "utf-8")
    return f'[[parties]]\nname = "{name}"\nkey = "{signer.node.hex()}"\nurl = "http://{address}"\n'


def _write_table(
    path: Path,
    share: Share,
    names: Sequence[str],
    x: NDArray[np.float64],
    benign: NDArray[np.bool_] | None,
    rows: NDArray[np.int64],
) -> None:
    """Odd parties write ids in capitals: the alignment's rules make them one."""
    spelled = str.upper if NAMES.index(share.name) % 2 else str.lower
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *(names[c] for c in share.columns), *([] if benign is None else ["diagnosis"])])
        for row in rows:
            label = [] if benign is None else ["benign" if benign[row] else "malignant"]
            writer.writerow([spelled(f"patient-{row:04d}"), *(f"{x[row, c]:g}" for c in share.columns), *label])
