"""The two documents of a vertical job as typed, strict dataclasses. Imports no torch and opens no table.

job.toml     what all parties agree on, the same everywhere: who they are, how ids are aligned, what is learned
party.toml   one party's own: its key, its address, its table; `job` names the other
"""

# ruff: noqa: RUF009  -- option() makes a dataclass field

import json
import tomllib
from dataclasses import MISSING, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from p2pfl.config.documents import KeyDoc
from p2pfl.config.schema import TLS_DOC, NodeEntry, check_nodes, check_reach, listens_on, parse_listen, parse_name
from p2pfl.config.strict import Origin, build, describe, option, options
from p2pfl.errors import ConfigError

JOB_FILE, PARTY_FILE = "job.toml", "party.toml"
PARTIES_MAX = 5
IDS_MAX = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignConfig:
    mode: Literal["ring", "star"] = option(
        "ring", doc="How sets of ids travel: ring shows the label holder the sizes of intersections of two only."
    )
    salt: str = option("", doc="A secret of the parties that goes into every id's hash.")
    bucket: int = option(1, low=1, high=IDS_MAX, doc="Sizes are padded to a multiple of this; 1 pads nothing.")
    ids_max: int = option(IDS_MAX, low=1, high=IDS_MAX, doc="A party that declares more ids ends the job.")
    least: int = option(10, low=2, high=IDS_MAX, doc="Fewer common rows than this end the job.")
    trim: bool = option(True, doc="White space around ids does not count.")
    fold: bool = option(True, doc="Upper and lower case of ids do not count.")
    nfkc: bool = option(True, doc="Compatible characters of ids (full width, decomposed accents) are one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsConfig:
    kind: Literal["split", "logistic", "linear", "transfer"] = option(
        "split",
        doc="A network cut between the parties; encrypted regression (linear: the label is a number); or a transfer "
        "from the label holder to one party that has few rows in common with it.",
    )
    hidden: int = option(32, low=0, high=4096, doc="Hidden units of each party's bottom net; 0: a straight line.")
    width: int = option(8, low=1, high=4096, doc="Values of a row that each party sends: its embedding.")
    top_hidden: int = option(16, low=0, high=4096, doc="Hidden units of the label holder's top net.")
    alignment: float = option(
        0.1,
        low=1e-6,
        high=100.0,
        doc="Transfer: how strongly a person's place is pulled towards that at the source.",
    )
    ridge: float = option(0.01, low=1e-9, high=100.0, doc="Transfer: weight decay of the target's layer.")
    random_features: int = option(
        0, low=0, high=4000, doc="Transfer: rectified random features that the target adds to its columns."
    )
    rest_only: bool = option(True, doc="Transfer: the source learns only from people that the target does not have.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsConfig:
    epochs: int = option(6, low=1, high=10_000, doc="Passes over the common rows that are trained on.")
    batch_size: int = option(256, low=1, high=1 << 16, doc="Rows of one step.")
    lr: float = option(3e-3, low=1e-9, high=10.0, doc="Learning rate of Adam, at every party; not of regression.")
    sealed_lr: float | None = option(
        None, low=1e-9, high=100.0, doc="Of plain gradient descent on what is encrypted: 0.5 at level 1, 0.15 else."
    )
    decay: float = option(0.0, low=0.0, high=100.0, doc="Weight decay of regression.")
    tolerance: float = option(
        0.0, low=0.0, high=1e3, doc="Regression stops where an epoch's loss falls by less than this; 0: never early."
    )
    test_fraction: float = option(0.2, low=0.001, high=0.9, doc="Common rows held out and scored at the end.")
    seed: int = option(1, low=0, high=(1 << 63) - 1, doc="Gives the order of rows and the starting weights.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectConfig:
    level: Literal[0, 1] = option(
        0, doc="0: rows that leave are clipped and noised. 1: the first layer they meet in is encrypted as well."
    )
    key_holder: str | None = option(
        None, doc="A party without data (the last one) that holds the keys of level 1 or regression; else each its own."
    )
    key_bits: Literal[2048, 3072] = option(2048, doc="Size of Paillier keys.")
    weight_noise: float = option(
        0.05,
        low=0.0,
        high=1e4,
        doc="Level 1: noise on the gradient of the sealed layer, times embedding_clip; on a "
        "transfer's sums, times the longest share of one row.",
    )
    gradient_clip: float = option(
        0.1,
        low=1e-6,
        high=1e5,
        doc="Longest row of cut gradients that a label can make, over all parties; not of lessons.",
    )
    gradient_noise: float = option(
        4.0, low=0.0, high=1e5, doc="Gaussian noise on these rows (lessons too), as a multiple of the longest; 0: none."
    )
    embedding_clip: float = option(8.0, low=1e-6, high=1e5, doc="Longest embedding of a row.")
    embedding_noise: float = option(
        0.0, low=0.0, high=1e5, doc="Gaussian noise on embeddings, as a multiple of embedding_clip; 0: none."
    )
    delta: float = option(1e-5, low=1e-12, high=0.1, doc="The delta at which epsilons are reported.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatienceConfig:
    timeout_s: float = option(30.0, low=0.1, high=3600.0, doc="One attempt to reach another party, work included.")
    patience_s: float = option(
        600.0, low=0.1, high=864_000.0, doc="So long the others wait for a party that is gone; then the job ends."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """job.toml. The first of `parties` holds the labels."""

    path: Path
    format: Literal[1] = option(doc="The version of this file's format: 1.")
    name: str = option("vertical", doc="The job's name.", parse=parse_name)
    tls: Literal["auto", "off"] = option("auto", doc=TLS_DOC)
    align: AlignConfig = option(AlignConfig, doc="How ids are aligned.")
    model: PartsConfig = option(PartsConfig, doc="The network that is cut between the parties.")
    train: StepsConfig = option(StepsConfig, doc="How it is trained.")
    protect: ProtectConfig = option(ProtectConfig, doc="What is done to the rows that leave a party.")
    pace: PatienceConfig = option(PatienceConfig, doc="Who waits how long.")
    parties: tuple[NodeEntry, ...] = option((), doc="Who takes part; the first one holds the labels.")

    def __post_init__(self) -> None:
        if not 2 <= len(self.data_parties) <= PARTIES_MAX:
            raise ConfigError(f"expected 2 to {PARTIES_MAX} [[parties]] with data, got {len(self.data_parties)}")
        check_nodes(self.parties)
        holder = self.protect.key_holder
        if holder is not None and self.parties[-1].name != holder:
            raise ConfigError(f"protect.key_holder: expected the last of [[parties]], got {holder!r}")
        if self.model.kind == "transfer" and (len(self.parties) != 2 or holder is not None):
            raise ConfigError(f"model.kind: a transfer takes two [[parties]] with data, got {len(self.parties)}")
        if holder is not None and not self.has_keys:
            raise ConfigError("protect.key_holder: needs level = 1, or model.kind logistic or linear")
        if self.protect.level == 1 and self.model.kind not in ("split", "transfer"):
            raise ConfigError("protect.level: regression is encrypted anyway; expected level = 0 there")
        if self.pace.timeout_s > self.pace.patience_s:
            raise ConfigError(
                f"pace: expected timeout_s <= patience_s, got {self.pace.timeout_s} > {self.pace.patience_s}"
            )

    @property
    def label_holder(self) -> str:
        return self.parties[0].name

    @property
    def has_keys(self) -> bool:
        """Whether anything is encrypted."""
        return self.protect.level == 1 or self.model.kind in ("logistic", "linear")

    @property
    def data_parties(self) -> tuple[NodeEntry, ...]:
        """Those with a table."""
        return self.parties if self.protect.key_holder is None else self.parties[:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableConfig:
    path: Path = option(doc="The party's CSV, with a header.")
    id: str = option("id", doc="The column that says who a row is about.")
    label: str | None = option(None, doc="The label's column; at the label holder only.")
    features: tuple[str, ...] | None = option(
        None, doc="Columns to learn from; all but id, label and drop if not given. `[]`: none (label holder only)."
    )
    drop: tuple[str, ...] = option((), doc="Columns that are left out.")
    classes: tuple[str, ...] = option((), doc="The label's two values, the one that a high score means last.")
    delimiter: str = option(",", doc="What is between the cells of the CSV.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyConfig:
    """party.toml, with the job document that it names."""

    path: Path
    job: JobConfig
    format: Literal[1] = option(doc="The version of this file's format: 1.")
    name: str = option(doc="Which of the job's parties this machine is.", parse=parse_name)
    key_file: Path = option(doc="The party's secret key (`p2pfl keys new`), readable by its owner alone.")
    listen: str = option(
        doc="Address and port to listen on, like `127.0.0.1:9001`; `none`: not at all (its url is none, too).",
        parse=parse_listen,
    )
    out: Path = option(doc="The folder the party writes: its state, feed, part and results.")
    table: TableConfig | None = option(None, doc="The party's rows; of all but the key holder.")

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.job.parties]
        if self.name not in names:
            raise ConfigError(f"name: expected one of the job's parties ({', '.join(names)}), got {self.name!r}")
        mine = self.job.parties[self.index]
        check_reach(mine.name, mine.url, self.listen, self.job.parties, self.job.tls)
        if self.table is None:
            if not self.is_key_holder:
                raise ConfigError(f"table: missing; expected the rows of {self.name}")
            return
        if self.is_key_holder:
            raise ConfigError(f"table: {self.name} holds keys (protect.key_holder) and must not have data")
        if self.is_label_holder and self.table.label is None:
            raise ConfigError(f"labels missing: {self.name} holds the labels and names no column (table.label)")
        if not self.is_label_holder and self.table.label is not None:
            raise ConfigError(f"table.label: expected a label at {self.job.label_holder} only, got one here as well")

    @property
    def is_label_holder(self) -> bool:
        return self.name == self.job.label_holder

    @property
    def is_key_holder(self) -> bool:
        return self.name == self.job.protect.key_holder

    @property
    def rows(self) -> TableConfig:
        """The table. ConfigError at the key holder, which has none."""
        if self.table is None:
            raise ConfigError(f"{self.name} holds keys and has no table: only train concerns it")
        return self.table

    @property
    def index(self) -> int:
        return [entry.name for entry in self.job.parties].index(self.name)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of `listen`; None: this party does not."""
        return listens_on(self.listen)


def load_job(path: Path) -> JobConfig:
    """Raises ConfigError, in one line."""
    raw, origin = _read(path)
    return build(JobConfig, raw, origin, path=origin.file)


def load_party(path: Path) -> PartyConfig:
    """The party document in `path` and the job document that it names. Raises ConfigError."""
    raw, origin = _read(path)
    if "parties" in raw:
        raise ConfigError(f"{path}: expected a party's own document ({PARTY_FILE}), got a job document")
    named = raw.pop("job", None)
    if not isinstance(named, str):
        raise ConfigError(f"{path}: job: expected the path of the shared {JOB_FILE}, got {named!r}")
    job = load_job((origin.folder("job") / named).resolve())
    return build(PartyConfig, raw, origin, path=origin.file, job=job)


def vertical_keys() -> list[KeyDoc]:
    """Every key of both documents, in order."""
    named = KeyDoc(PARTY_FILE, "job", "a path", "required", f"The shared {JOB_FILE}.")
    return [*_keys(JobConfig, JOB_FILE, ""), named, *_keys(PartyConfig, PARTY_FILE, "")]


def _keys(cls: Any, file: str, prefix: str) -> list[KeyDoc]:
    hints, found = get_type_hints(cls), []
    for name, f in options(cls).items():
        required = f.default is MISSING and f.default_factory is MISSING
        default = "required" if required else "" if f.default in (None, (), MISSING) else json.dumps(f.default)
        found.append(KeyDoc(file, prefix + name, describe(hints[name], f), default, f.metadata["doc"]))
        inner = next((kind for kind in (hints[name], *get_args(hints[name])) if is_dataclass(kind)), None)
        if inner is not None:
            found += _keys(inner, file, f"{prefix}{name}.")
    return found


def _read(path: Path) -> tuple[dict[str, Any], Origin]:
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        why = f"cannot read {path}: {error.strerror}; make a job with: p2pfl vertical init DIR"
        raise ConfigError(why) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: expected a TOML document: {error}") from None
    return raw, Origin(path.absolute())
