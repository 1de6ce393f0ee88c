"""What the two documents may say: one dataclass per section, its defaults, bounds and one sentence per key.

`network.toml` is shared by all machines and its content gives the recipe, which every exchange compares at the door.
`node.toml` is one machine's own. docs/configuration.md is generated from here. Knows no room and imports no torch:
names of rules, codecs, families and models are checked by the rooms that own them, when `assemble` looks them up.
"""

# ruff: noqa: RUF009  -- `option` declares a dataclass field, and a Reference is immutable

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from p2pfl.config.strict import Reference, option
from p2pfl.core.ids import NodeId
from p2pfl.core.limits import (
    NEIGHBOURS_MAX,
    NODES_MAX,
    PHASE_STEPS_MAX,
    PUBLIC_MAX,
    ROUNDS_MAX,
    STALENESS_MAX,
    WINDOWS_KEPT_MAX,
)
from p2pfl.core.urls import NOWHERE, is_guarded, is_loopback
from p2pfl.errors import ConfigError
from p2pfl.wire.keyfile import parse_public

NETWORK_FILE = "network.toml"
NODE_FILE = "node.toml"
GENESIS_FILE = "genesis.toml"

TLS_DOC = (
    "`auto`: all urls beyond a machine must be https; `off`: http will do, for networks that are guarded otherwise."
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def parse_name(text: str) -> str:
    """A network's or node's name: it becomes a folder's name and a column's. Raises ConfigError."""
    if not _NAME.fullmatch(text):
        raise ConfigError(f"expected 1 to 64 of A-Z a-z 0-9 _ . - (a letter or digit first), got {text[:70]!r}")
    return text


def parse_url(text: str) -> str:
    """Where other machines reach a node: http or https, host and port, no path; or "none". Raises ConfigError."""
    if text == NOWHERE:
        return text
    expected = f"expected a URL like https://192.0.2.7:9001 (or none), got {text[:70]!r}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError(expected) from None
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and parts.username is None
    printable = text.isascii() and text.isprintable() and not set(text) & set(" \"'\\<>")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port or not bare or not printable:
        raise ConfigError(expected)
    return text.rstrip("/")


def parse_listen(text: str) -> str:
    """An address and port to listen on: "127.0.0.1:9001", "0.0.0.0:9001", "[::]:9001"; "none". Raises ConfigError."""
    if text == NOWHERE:
        return text
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535 or (":" in host) != (host[0] == "["):
        raise ConfigError(f"expected address:port, like 127.0.0.1:9001, got {text[:70]!r}")
    return text


def parse_digest(text: str) -> str:
    """32 bytes in hex. Raises ConfigError."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ConfigError(f"expected 64 hex digits, got {text[:70]!r}")
    return text


def parse_dashboard(text: str) -> str:
    """Where a node serves its dashboard: "off", or an address and port. Raises ConfigError."""
    if text == "off":
        return text
    if text == NOWHERE:
        raise ConfigError(f"expected off, or address:port like 127.0.0.1:8090, got {text!r}")
    return parse_listen(text)


def listens_on(text: str) -> tuple[str, int] | None:
    """Host and port of a `listen`; None for a node that does not."""
    host, _, port = text.rpartition(":")
    return None if text == NOWHERE else (host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptersConfig:
    rank: int = option(0, low=0, high=4096, doc="Rank of low-rank adapters, which alone are learned and sent; 0: none.")
    alpha: float | None = option(
        None, low=1e-6, high=1e6, doc="Adapters count alpha / rank times; twice the rank if not given."
    )
    layers: tuple[str, ...] = option(("*",), doc="Patterns of the linear and convolution layers that get adapters.")
    also: tuple[str, ...] = option(
        (), doc="Patterns of parameters that are learned and sent whole beside them, like a new head."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    name: Reference = option(
        Reference("mlp"),
        doc="The model: mlp, cnn, linear, or your own as `module:attribute` or `file.py:attribute`.",
    )
    args: dict[str, Any] = option({}, doc="Arguments of the model, for example `{ hidden = [256, 128] }`.")
    input_shape: tuple[int, ...] = option(
        (1, 8, 8), low=1, high=1 << 24, doc="Shape of one example; every node must build the same model."
    )
    num_classes: int = option(10, low=1, high=1 << 20, doc="Number of outputs.")
    start: Path | None = option(
        None, doc="Begin from a .safetensors or torch file, or a finished run's folder; every node needs the same."
    )
    fresh: tuple[str, ...] = option((), doc="Patterns of parameters that are not taken from start, like a new head.")
    interpolate: float = option(
        1.0,
        low=0.0,
        high=1.0,
        doc="Of start and what was learned, the finished model has this share of the second (WiSE-FT); 1: it alone.",
    )
    freeze: tuple[str, ...] = option((), doc="Patterns of parameters that stay as they are, and never travel.")
    share: tuple[str, ...] = option(
        (), doc="Patterns of the parameters that travel; the others are each node's own. All if none are given."
    )
    adapters: AdaptersConfig = option(
        AdaptersConfig, doc="Low-rank adapters, for example `{ rank = 4 }`: the model itself stays as it is."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MixConfig:
    rule: Reference = option(
        Reference("pairwise"), doc="The gossip rule: pairwise, average, choco, .. or your own as `module:attribute`."
    )
    params: dict[str, Any] = option({}, rest=True, doc="Every other key of the section is a parameter of the rule.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressConfig:
    codec: Reference = option(
        Reference("deadzone"), doc="The codec of what travels: deadzone, or your own as `module:attribute`."
    )
    params: dict[str, Any] = option({}, rest=True, doc="Every other key of the section is a parameter of the codec.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceConfig:
    mode: Literal["async", "semi_sync", "lockstep"] | None = option(
        None,
        doc="`async`: nobody waits for anybody; `semi_sync`: rounds of a node's own pace, with the rows that are in by "
        "an adaptive deadline; `lockstep`: all nodes finish a round before the next. If not given: `async` for "
        "pairwise exchange, `semi_sync` for rules of neighbourhoods, `lockstep` for those that need every row.",
    )
    rounds: int = option(200, low=1, high=ROUNDS_MAX, doc="Local phases each node does before it is done.")
    timeout_s: float = option(30.0, low=0.01, high=3600.0, doc="Hard deadline of one attempt to deliver, seconds.")
    gather_s: float = option(
        60.0, low=0.0, high=86400.0, doc="How long a new run waits for all neighbours before it starts, seconds."
    )
    evaluate: int = option(10, low=0, high=ROUNDS_MAX, doc="Rounds between two evaluations; 0: only at the end.")
    participants: float = option(
        1.0, low=1e-6, high=1.0, doc="Share of the nodes that train in a round, drawn by lot (lockstep only)."
    )
    closing: int = option(1, low=0, high=1000, doc="Exchanges per edge after the last round, to end on one model.")
    stop_metric: Literal["accuracy", "loss"] = option("accuracy", doc="What early stopping looks at.")
    stop_at: float | None = option(
        None, doc="Stop early when the mean of `stop_metric` over the nodes reaches this; never if not given."
    )
    staleness: int = option(
        1, low=0, high=STALENESS_MAX, doc="How many rounds old a neighbour's row may be and still count (semi_sync)."
    )
    window: int = option(10, low=1, high=ROUNDS_MAX, doc="Rounds whose receipts go into the feed together.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyConfig:
    family: str | None = option(None, doc="A family of graphs (listed below); ring if no file is given.")
    file: Path | None = option(None, doc="Instead of a family: a graph as a .toml file, or a .py file with `build`.")
    params: dict[str, Any] = option({}, doc="Parameters of the family or of `build`, for example `{ k = 4 }`.")

    def __post_init__(self) -> None:
        if self.family is not None and self.file is not None:
            raise ConfigError(f"expected family or file, got both ({self.family!r} and {self.file.name!r})")
        if self.family is None and self.file is None:
            object.__setattr__(self, "family", "ring")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    kind: str = option("steps", doc="How the learning rate changes: steps, cosine or constant.")
    params: dict[str, Any] = option({}, rest=True, doc="Every other key is a parameter, like `at`, `factors`, `floor`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfreezeConfig:
    every: int = option(
        0, low=0, high=ROUNDS_MAX, doc="Rounds from one group of parameters to the next; 0: all are learned at once."
    )
    order: tuple[str, ...] = option(
        (), doc="A pattern for each group, the first at once; layer by layer from the last if none are given."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignConfig:
    rule: Literal["none", "coral", "mmd"] = option(
        "none", doc="Bring features near those of [public]: by covariances (coral) or whole distributions (mmd)."
    )
    weight: float = option(1.0, low=0.0, high=1e6, doc="How much that counts beside the loss.")
    layer: str = option("", doc="The layer whose inputs are the features; the last linear one if not given.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    learner: Reference = option(
        Reference("torch"), doc="What does the local steps: torch, or your own as `module:attribute`."
    )
    learner_args: dict[str, Any] = option({}, doc="Parameters of your own learner, for example `{ rho = 0.05 }`.")
    optimizer: str = option("sgd", doc="The local optimizer: sgd, momentum, adam or adamw.")
    lr: float = option(0.2, low=1e-9, high=1e3, doc="Learning rate.")
    momentum: float | None = option(None, low=0.0, high=0.9999, doc="Of the optimizer momentum; 0.9 if not given.")
    weight_decay: float | None = option(None, low=0.0, high=1.0, doc="Weight decay; the optimizer's own if not given.")
    beta1: float | None = option(None, low=0.0, high=0.9999, doc="Of adam and adamw; 0.9 if not given.")
    beta2: float | None = option(None, low=0.0, high=0.999999, doc="Of adam and adamw; 0.999 if not given.")
    eps: float | None = option(None, low=1e-16, high=1.0, doc="Of adam and adamw; 1e-8 if not given.")
    batch_size: int = option(32, low=1, high=1 << 20, doc="Examples in one local step.")
    batch_min: int | None = option(
        None,
        low=1,
        high=1 << 20,
        doc="Smallest batch of a machine slower than the others; if not given, an eighth of batch_size, at least 4.",
    )
    batch_max: int | None = option(
        None,
        low=1,
        high=1 << 20,
        doc="Largest batch of a faster machine; if not given, batch_size, and with seconds four times that.",
    )
    weighting: Literal["uniform", "samples"] = option(
        "uniform", doc="How much a node's data count: every node alike, or by its number of samples."
    )
    gradient_limit: float = option(
        2.0, low=0.0, high=1e6, doc="Bound each gradient at so many times its usual length; 0: no bound."
    )
    clip_norm: float | None = option(None, low=1e-12, doc="Clip each local update to this length.")
    noise: float = option(
        0.0, low=0.0, high=1e6, doc="Gaussian noise on each clipped update, as a multiple of clip_norm."
    )
    prox_mu: float = option(
        0.0, low=0.0, high=1e6, doc="FedProx: pull of each local step towards the model the phase began with; 0: none."
    )
    normalise: float = option(
        0.0, low=0.0, high=1e6, doc="FedNova: a phase counts as so many steps however many it took; 0: as it is."
    )
    steps: int | None = option(
        None, low=1, high=PHASE_STEPS_MAX, doc="Local steps between exchanges (H); 5 if no epochs given."
    )
    seconds: float | None = option(
        None,
        low=1e-3,
        high=86400.0,
        doc="Local steps between exchanges take so long: `steps` of them, in batches as this machine's speed allows.",
    )
    epochs: float | None = option(None, low=1e-3, high=1e3, doc="Instead of steps: passes over the node's own data.")
    pauses: tuple[str, ...] = option(
        (),
        doc='When this machine does not train, like `["mon-fri 08:00-18:00"]`; it goes on exchanging.',
    )
    zone: str = option("UTC", doc="The time zone of `pauses`, like `Europe/Berlin`.")
    schedule: ScheduleConfig = option(
        ScheduleConfig, doc='How lr changes over the run, for example `{ kind = "cosine", floor = 0.01 }`.'
    )
    unfreeze: UnfreezeConfig = option(UnfreezeConfig, doc="Gradual unfreezing, for example `{ every = 20 }`.")
    align: AlignConfig = option(AlignConfig, doc='Feature alignment, for example `{ rule = "coral" }`.')

    def __post_init__(self) -> None:
        if (self.batch_min or self.batch_size) > self.batch_size:
            raise ConfigError(f"batch_min: expected at most batch_size = {self.batch_size}, got {self.batch_min}")
        if (self.batch_max or self.batch_size) < self.batch_size:
            raise ConfigError(f"batch_max: expected at least batch_size = {self.batch_size}, got {self.batch_max}")
        if self.steps is not None and self.epochs is not None:
            raise ConfigError(f"expected steps or epochs, got both ({self.steps} and {self.epochs:g})")
        if self.seconds is not None and self.epochs is not None:
            raise ConfigError(f"expected seconds or epochs, got both ({self.seconds:g} and {self.epochs:g})")
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "steps", 5)

    @property
    def optimizer_args(self) -> dict[str, float]:
        """The optimizer's own parameters that were given."""
        given = {name: getattr(self, name) for name in ("momentum", "weight_decay", "beta1", "beta2", "eps")}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    unit: Literal["none", "example", "node"] = option(
        "none", doc="Differential privacy for each training example, for a node's whole data, or for nobody."
    )
    epsilon: float | None = option(
        None, low=1e-3, high=1e4, doc="The budget of each node; it trains until that is spent, then only relays."
    )
    delta: float = option(1e-5, low=1e-15, high=0.5, doc="The chance that the promise fails; below 1 / examples.")
    noise: float | None = option(
        None, low=1e-3, high=1e4, doc="Noise over what one unit can change; if not given, what epsilon needs."
    )
    clip: float = option(1.0, low=1e-9, high=1e9, doc="Length at which a gradient (of `node`: an update) is clipped.")
    rate: float = option(
        0.1, low=1e-6, high=1.0, doc="Share of a node's examples in one step, each drawn on its own; not of `node`."
    )
    group: int = option(
        1, low=1, high=1 << 20, doc="Examples whose mean gradient is clipped as one; above 1 noise is doubled."
    )

    coalition: int | None = option(
        None, low=0, high=5, doc="Of `node` in secure cells: so many members may work together; the others share noise."
    )

    def __post_init__(self) -> None:
        asked = self.epsilon is not None or self.noise is not None
        if self.unit == "none" and asked:
            raise ConfigError('expected unit = "example" or "node" with epsilon or noise, got "none"')
        if self.unit != "none" and not asked:
            raise ConfigError(f"expected epsilon or noise with unit = {self.unit!r}, got neither")
        if self.coalition is not None and self.unit != "node":
            raise ConfigError(
                f'coalition: expected unit = "node", got {self.unit!r}: members of a cell add up whole updates, and '
                "steps for each example are divided by numbers of examples that differ"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalConfig:
    steps: int = option(
        0,
        low=0,
        high=1 << 20,
        doc="At the end, tune a copy of the model to the node's own data; at most so many steps.",
    )
    look: int = option(5, low=1, high=1 << 20, doc="Steps between two looks at the node's validation examples.")
    patience: int = option(
        30, low=1, high=1 << 20, doc="Stop after so many steps without a better loss on them; the best copy is kept."
    )
    lr: float | None = option(
        None, low=1e-9, high=1e3, doc="Learning rate of these steps; a quarter of train.lr if not given."
    )
    prior: bool = option(
        True, doc="Begin with the output bias moved to the node's own frequencies of labels, where that is better."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    models: tuple[ModelConfig, ...] = option(
        (),
        doc="Of networks of unlike models: those of the [[nodes]], in turn; input_shape and num_classes are [model]'s.",
    )
    source: Reference | None = option(
        None, doc="The public examples, as in [data]: their labels are not used; `noise`: made from the seed."
    )
    args: dict[str, Any] = option({}, doc="Options of the source, for example `{ path = 'public.npz' }`.")
    samples: int = option(256, low=1, high=PUBLIC_MAX, doc="How many of them, drawn by the seed.")
    digest: str | None = option(
        None,
        doc="What these must be, 64 hex digits: a machine with another file says so before it starts.",
        parse=parse_digest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionConfig:
    by: Reference = option(Reference("dirichlet"), doc="How the whole data set is cut into one share per node.")
    params: dict[str, Any] = option({}, rest=True, doc="Every other key is a parameter of the partition, like alpha.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    source: Reference = option(
        Reference("digits"),
        doc="digits and breast_cancer (built in), mnist, csv, npz (from path), or your own as `file.py:attribute`.",
    )
    path: Path | None = option(None, doc="The file (csv, npz) or folder (mnist) of the source.")
    test: Path | None = option(None, doc="A csv with test examples of its own.")
    encoder: Path | None = option(None, doc="A file that says how a csv's columns become numbers, shared by all nodes.")
    label: str | None = option(None, doc="The label's column in a csv.")
    partition: PartitionConfig = option(
        PartitionConfig, doc='How the data set is cut into shares, for example `{ by = "dirichlet", alpha = 0.1 }`.'
    )
    index: int | None = option(
        None, low=0, high=NODES_MAX - 1, doc="node.toml only: take this share of the partition, not the whole."
    )
    test_fraction: float = option(0.2, low=0.0, high=0.9, doc="Share of the examples held out for the common test.")
    validation_fraction: float = option(0.1, low=0.0, high=0.9, doc="Share of a node's own examples kept for scoring.")
    args: dict[str, Any] = option({}, doc='Further options of the source, for example `{ drop = ["id"] }` of a csv.')

    @property
    def source_args(self) -> dict[str, Any]:
        """All options of the source that were given; paths absolute, as text."""
        paths = {"path": self.path, "test": self.test, "encoder": self.encoder}
        given = {name: str(path) for name, path in paths.items() if path is not None}
        return given | ({} if self.label is None else {"label": self.label}) | self.args


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicConfig:
    source: Reference | None = option(None, doc="Where the common samples are from, as data.source says it.")
    path: Path | None = option(None, doc="The file or folder of the source.")
    label: str | None = option(None, doc="The label's column in a csv; labels are not used.")
    args: dict[str, Any] = option({}, doc="Further options of the source.")
    rows: int | None = option(None, low=2, high=1 << 24, doc="Only the first so many samples.")
    digest: str | None = option(None, doc="What its digest must be; in any case it is part of the recipe.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    genesis: Path | None = option(
        None, doc="The network's genesis document (`p2pfl genesis`); without one there are feeds, and nothing is final."
    )
    interval_s: float = option(2.0, low=0.01, high=3600.0, doc="Seconds from one block to the next, at least.")
    rules: tuple[str, ...] = option((), doc="Paying rules of your own: `file.py:Class`, the same code on all machines.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipConfig:
    probe_s: float = option(
        0.0, low=0.0, high=60.0, doc="Seconds between two probes of a node; 0: nobody watches who is there."
    )
    admission: Literal["listed", "token", "open"] = option(
        "listed", doc="Who may be a member: the nodes listed here, also who has a join token, or anybody."
    )
    authorities: tuple[str, ...] = option(
        (), doc="Public keys that may sign join tokens; those of the genesis if none are given."
    )
    attach: Literal["near", "random"] = option(
        "near", doc="How a newcomer is placed where the graph is not drawn anew: beside the nearest keys, or by lot."
    )
    attach_k: int = option(2, low=1, high=NEIGHBOURS_MAX, doc="How many neighbours such a newcomer gets.")

    def __post_init__(self) -> None:
        for text in self.authorities:
            parse_public(text)
        if self.admission != "listed" and not self.probe_s:
            raise ConfigError(f'expected probe_s above 0 with admission = "{self.admission}": newcomers must be seen')

    @property
    def authority_keys(self) -> frozenset[NodeId]:
        return frozenset(parse_public(text) for text in self.authorities)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuationConfig:
    on: bool = option(False, doc="Whether members value each other's work, for rules that pay by it (needs a ledger).")
    split: Literal["validation", "test"] = option(
        "validation", doc="The examples on which an evaluator tries updates: its own kept ones, or the common test set."
    )
    share: float = option(
        0.1, low=0.001, high=10.0, doc="Bytes that valuing may take, as a share of those said to neighbours."
    )
    estimator: Literal["permutations", "gtg"] = option(
        "permutations",
        doc="Shapley values of more than 6 updates: by 24 truncated orders, or by GTG-Shapley until they have settled.",
    )
    unit: Literal["node", "cell"] = option(
        "node", doc="What is scored: each node's work, or with secure cells what a cell did, shared by its members."
    )
    keep: int = option(
        8,
        low=0,
        high=WINDOWS_KEPT_MAX,
        doc="Windows whose shown updates a node keeps, for `p2pfl ledger audit-scores`.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """One line of the guest list. `key` is 64 hex digits in the file."""

    name: str = option(doc="The node's name, unique in the network.", parse=parse_name)
    key: NodeId = option(doc="The node's public key, 64 hex digits (`p2pfl keys show`).", parse=parse_public)
    url: str = option(
        doc="Where other nodes reach it, like `https://192.0.2.7:9001`; `none`: nowhere, it fetches what is for it.",
        parse=parse_url,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """network.toml. `path` is the file it was read from."""

    path: Path
    format: Literal[1] = option(doc="The version of this file's format: 1.")
    name: str = option("trial", doc="The network's name.", parse=parse_name)
    tls: Literal["auto", "off"] = option("auto", doc=TLS_DOC)
    seed: int = option(1, low=0, high=(1 << 63) - 1, doc="Gives the starting model, and the simulators' randomness.")
    model: ModelConfig = option(ModelConfig, doc="What is learned.")
    mix: MixConfig = option(MixConfig, doc="How neighbours' models are mixed.")
    compress: CompressConfig = option(CompressConfig, doc="How what travels is made small.")
    pace: PaceConfig = option(PaceConfig, doc="How long, and who waits for whom.")
    topology: TopologyConfig = option(TopologyConfig, doc="Who is whose neighbour.")
    train: TrainConfig = option(TrainConfig, doc="Local training: the default of every node.")
    privacy: PrivacyConfig = option(PrivacyConfig, doc="What the models that leave a node may say of its data.")
    data: DataConfig = option(DataConfig, doc="The whole data set of a demo or simulation, and the nodes' default.")
    personal: PersonalConfig = option(
        PersonalConfig, doc="A copy of the model that is a node's own; it never leaves it."
    )
    distill: DistillConfig = option(DistillConfig, doc='What unlike models are asked, with mix.rule = "distill".')
    public: PublicConfig = option(PublicConfig, doc="A small set of samples that all nodes hold.")
    ledger: LedgerConfig = option(LedgerConfig, doc="What makes entries of all feeds final, in one order.")
    membership: MembershipConfig = option(MembershipConfig, doc="Who is there, who may come, and where they stand.")
    valuation: ValuationConfig = option(ValuationConfig, doc="What each member's work is worth.")
    nodes: tuple[NodeEntry, ...] = option((), doc="Who takes part.")

    def __post_init__(self) -> None:
        if self.data.index is not None:
            raise ConfigError("data.index belongs into node.toml: it says which share is that machine's")
        check_nodes(self.nodes)

    def node(self, name: str) -> NodeEntry:
        """The entry of that name. Raises ConfigError."""
        for entry in self.nodes:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.nodes[:20]) or "nobody"
        raise ConfigError(f"expected a node named {name!r} under [[nodes]] of {self.path}, got {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """node.toml, with the network document it names; `train` and `data` are what this node uses, merged."""

    path: Path
    network: NetworkConfig
    format: Literal[1] = option(doc="The version of this file's format: 1.")
    name: str = option(doc="Which of the network's nodes this machine is.", parse=parse_name)
    key_file: Path = option(doc="The node's secret key (`p2pfl keys new`), readable by its owner alone.")
    listen: str = option(
        doc="Address and port to listen on, like `127.0.0.1:9001`; `none`: not at all (its url is none, too).",
        parse=parse_listen,
    )
    out: Path = option(doc="The folder the node writes: its state, feed, models and metrics.")
    strategy: str = option("honest", doc="For trials of incentives: how this node behaves (docs/contributions.md).")
    friends: tuple[str, ...] = option((), doc="For such trials: nodes that this one favours.")
    log_level: Literal["debug", "info", "warning", "error"] = option(
        "info", doc="What the node says on the terminal, and in its log: from this level on (docs/operations.md)."
    )
    metrics: Literal["off", "local", "any"] = option(
        "local", doc="Who may read `/metrics`: nobody, programs on this machine, or everybody."
    )
    dashboard: str = option(
        "off",
        doc="Where the node serves its dashboard, like `127.0.0.1:8090`; beyond this machine it asks for the "
        "token that lies in the run's folder (docs/dashboard.md).",
        parse=parse_dashboard,
    )
    url: str | None = option(
        None, doc="Of a node that is not listed: where others reach it; from `listen` if not given.", parse=parse_url
    )
    join: tuple[str, ...] = option((), doc="URLs of members to begin with, besides the listed nodes.")
    token: Path | None = option(None, doc="The join token of a node that is not listed (`p2pfl network token issue`).")
    train: TrainConfig = option(TrainConfig, doc="Overrides of the network's [train], key by key.")
    personal: PersonalConfig = option(PersonalConfig, doc="Overrides of the network's [personal], key by key.")
    data: DataConfig = option(DataConfig, doc="This node's data: an index into the network's, or a source of its own.")

    def __post_init__(self) -> None:
        if not self.is_listed and self.network.membership.admission == "listed":
            self.network.node(self.name)  # says who is
        if self.is_listed and self.url is not None:
            raise ConfigError(f"url: that of {self.name} stands under [[nodes]] of {self.network.path.name}")
        for url in self.join:
            parse_url(url)
        check_reach(self.name, self.reached_at, self.listen, self.network.nodes, self.network.tls)

    @property
    def is_listed(self) -> bool:
        return any(entry.name == self.name for entry in self.network.nodes)

    @property
    def reached_at(self) -> str:
        """Where others reach this node; "none" for nowhere."""
        if self.is_listed:
            return self.network.node(self.name).url
        if self.url is not None or self.listen == NOWHERE:
            return self.url or NOWHERE
        return f"{'http' if is_loopback(f'http://{self.listen}') else 'https'}://{self.listen}"

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of `listen`; None: this node does not."""
        return listens_on(self.listen)


def check_nodes(nodes: tuple[NodeEntry, ...]) -> None:
    """Raises ConfigError if there are too many, or two share a name, key or URL."""
    if len(nodes) > NODES_MAX:
        raise ConfigError(f"expected at most {NODES_MAX} [[nodes]], got {len(nodes)}")
    for what in ("name", "key", "url"):
        seen: dict[object, str] = {}
        for entry in nodes:
            value = getattr(entry, what)
            if value == NOWHERE and what == "url":
                continue
            if value in seen:
                shown = value.hex() if isinstance(value, bytes) else value
                raise ConfigError(
                    f"expected [[nodes]] with different {what}s, got {shown} at {seen[value]} and {entry.name}"
                )
            seen[value] = entry.name


def check_reach(name: str, url: str, listen: str, nodes: tuple[NodeEntry, ...], tls: str) -> None:
    """Raises ConfigError if a node has a url and does not listen, or urls beyond a machine go without TLS."""
    if listen == NOWHERE and url != NOWHERE:
        raise ConfigError(f'expected url = "none" of a node with listen = "none", got {url} at {name}')
    if tls == "auto":
        for entry in nodes:
            check_guarded(entry)


def check_guarded(entry: NodeEntry) -> None:
    """Raises ConfigError if others on the way to this node could listen in."""
    if entry.url != NOWHERE and not is_guarded(entry.url):
        raise ConfigError(
            f'{entry.name}: expected an https url (others could read along), got {entry.url}; or write tls = "off"'
        )
