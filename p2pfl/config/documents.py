"""Reads and writes the two documents. Knows files, `--set` and how node.toml overrides network.toml.

What counts, from weak to strong: the defaults, network.toml, node.toml, `--set`. A relative path is relative to the
file it stands in; on the command line, to the working folder.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import MISSING, dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import tomli_w

from p2pfl.config.schema import (
    NETWORK_FILE,
    NODE_FILE,
    DataConfig,
    NetworkConfig,
    NodeConfig,
    PersonalConfig,
    TrainConfig,
)
from p2pfl.config.strict import Origin, Reference, build, collect, describe, make, options
from p2pfl.errors import ConfigError

_BARE_WORD = re.compile(r"[\w./:@%+-]+")

# A node with a source of its own takes only this from the network's [data]: all else is about the network's source.
_KEPT_WITH_OWN_SOURCE = ("test_fraction", "validation_fraction")


@dataclass(frozen=True, slots=True)
class _Document:
    raw: dict[str, Any]
    origin: Origin

    def section(self, cls: type[Any], name: str) -> dict[str, Any]:
        """The values that section `name` sets, converted. Raises ConfigError."""
        table = self.raw.get(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{self.origin.name(name)}: expected a table, got {table!r}")
        return collect(cls, table, self.origin, f"{name}.")


def load_network(path: Path, overrides: Iterable[str] = ()) -> NetworkConfig:
    """The network document in `path`, changed by `overrides` ("pace.rounds=50"). Raises ConfigError."""
    return _network(_read(path, overrides))


def load_changed(path: Path, changes: Mapping[str, Any], by: Path, overrides: Iterable[str] = ()) -> NetworkConfig:
    """The network document in `path`, changed under dotted keys by what the file `by` says, then by `overrides`.

    Relative paths among the changes are relative to `by`. Raises ConfigError.
    """
    document = _read(path, ())
    for key, value in changes.items():
        _put(document.raw, key, deepcopy(value), f"{by}: {key}")
    overridden = frozenset(_override(document.raw, item) for item in overrides)
    return _network(_Document(document.raw, Origin(path.absolute(), overridden, frozenset(changes), by)))


def parse_network(text: str, path: Path) -> NetworkConfig:
    """The network document that `path` would be with this text. Raises ConfigError."""
    return _network(_parse(text, path, ()))


def load_node(path: Path, overrides: Iterable[str] = ()) -> NodeConfig:
    """The node document in `path` and the network document it names; `overrides` are of node.toml's own keys.

    Raises ConfigError, also if the network document does not list the node.
    """
    node = _read(path, overrides)
    for name in node.raw:
        if name not in options(NodeConfig) and name != "network" and name in options(NetworkConfig):
            raise ConfigError(f"{node.origin.name(name)}: belongs into {NETWORK_FILE}, which all machines share")
    shared_file = node.raw.pop("network", None)
    if not isinstance(shared_file, str):
        expected = f"expected the path of the shared {NETWORK_FILE}"
        raise ConfigError(f"{node.origin.name('network')}: {expected}, got {shared_file!r}")
    shared_path = (node.origin.folder("network") / shared_file).resolve()
    shared = _read(shared_path, ())
    network = _network(shared)
    own = {name: value for name, value in node.raw.items() if name not in ("train", "personal", "data")}
    return build(
        NodeConfig,
        own,
        node.origin,
        path=node.origin.file,
        network=network,
        train=_merge_train(shared, node),
        personal=_merge_personal(shared, node),
        data=_merge_data(shared, node),
    )


def _merge_train(shared: _Document, node: _Document) -> TrainConfig:
    ours, theirs = node.section(TrainConfig, "train"), shared.section(TrainConfig, "train")
    if "steps" in ours or "epochs" in ours:  # two ways to say one thing: the node's replaces the network's
        theirs = {name: value for name, value in theirs.items() if name not in ("steps", "epochs")}
    return make(TrainConfig, theirs | ours, node.origin.name("train"))


def _merge_personal(shared: _Document, node: _Document) -> PersonalConfig:
    merged = shared.section(PersonalConfig, "personal") | node.section(PersonalConfig, "personal")
    return make(PersonalConfig, merged, node.origin.name("personal"))


def _merge_data(shared: _Document, node: _Document) -> DataConfig:
    ours, theirs = node.section(DataConfig, "data"), shared.section(DataConfig, "data")
    if "source" in ours:
        theirs = {name: value for name, value in theirs.items() if name in _KEPT_WITH_OWN_SOURCE}
    return make(DataConfig, theirs | ours, node.origin.name("data"))


def dump_toml(config: NetworkConfig | NodeConfig) -> str:
    """The configuration as used, every key written out, paths absolute. Loading the text gives an equal config."""
    plain = to_plain(config)
    if isinstance(config, NodeConfig):
        plain = {"network": str(config.network.path), **plain}
    return tomli_w.dumps(plain)


def to_plain(config: Any) -> dict[str, Any]:
    """A config dataclass as a table of TOML values; keys that are not set are left out."""
    table: dict[str, Any] = {}
    for name, f in options(config).items():
        value = _plain(getattr(config, name))
        if f.metadata["rest"]:
            table |= value
        elif value is not None:
            table[name] = value
    return table


def _plain(value: Any) -> Any:
    match value:
        case Reference():
            return str(value.absolute())
        case Path():
            return str(value)
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(item) for item in value]
    return to_plain(value) if is_dataclass(value) else value


def _network(document: _Document) -> NetworkConfig:
    return build(NetworkConfig, document.raw, document.origin, path=document.origin.file)


def _read(path: Path, overrides: Iterable[str]) -> _Document:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; make a network with: p2pfl init DIR") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected a TOML document, got bytes that are not UTF-8") from None
    return _parse(text, path, overrides)


def _parse(text: str, path: Path, overrides: Iterable[str]) -> _Document:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: expected a TOML document: {error}") from None
    return _Document(raw, Origin(path.absolute(), frozenset(_override(raw, item) for item in overrides)))


def _override(raw: dict[str, Any], text: str) -> str:
    """Puts one `key=value` into `raw` and returns its key. Raises ConfigError."""
    key, equals, value_text = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {text}: expected section.key=value")
    _put(raw, key, _override_value(value_text.strip(), text), f"--set {text}")
    return key


def _put(raw: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Raises ConfigError if what stands on the way to the dotted key is no table."""
    *above, last = key.split(".")
    table: Any = raw
    for name in above:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: expected {name} to be a table, got {type(table).__name__}")
    table[last] = value


def _override_value(value_text: str, text: str) -> Any:
    """TOML syntax; a bare word that is no TOML value is text, so that shells need no double quoting."""
    try:
        parsed = tomllib.loads(f"value = {value_text}")
    except tomllib.TOMLDecodeError:
        if _BARE_WORD.fullmatch(value_text):
            return value_text
        raise ConfigError(f"--set {text}: expected a TOML value (text in quotes), got {value_text}") from None
    if parsed.keys() != {"value"}:
        raise ConfigError(f"--set {text}: expected one value")
    return parsed["value"]


# ------------------------------------------------------------------------------------------ for the documentation


@dataclass(frozen=True, slots=True)
class KeyDoc:
    """One line of docs/configuration.md."""

    file: str
    key: str
    expected: str
    default: str
    doc: str


def keys() -> list[KeyDoc]:
    """Every key of both documents, in order. The sections of node.toml have the keys of network.toml's."""
    network_path = KeyDoc(NODE_FILE, "network", "a path", "required", f"The shared {NETWORK_FILE}.")
    node = _keys(NodeConfig, NODE_FILE, "")
    return [*_keys(NetworkConfig, NETWORK_FILE, ""), *node[:2], network_path, *node[2:]]


def _keys(cls: Any, file: str, prefix: str) -> list[KeyDoc]:
    hints, found = get_type_hints(cls), []
    for name, f in options(cls).items():
        key = f"{prefix}*" if f.metadata["rest"] else f"{prefix}{name}"
        found.append(KeyDoc(file, key, describe(hints[name], f), _default(f), f.metadata["doc"]))
        inner = get_args(hints[name])[0] if get_args(hints[name]) else hints[name]
        if is_dataclass(inner) and file == NETWORK_FILE:
            found += _keys(inner, file, f"{key}.")
    return found


def _default(f: Any) -> str:
    if f.default is MISSING and f.default_factory is MISSING:
        return "required"
    if f.default is MISSING or f.default is None or f.default == ():
        return ""
    return json.dumps(_plain(f.default))  # text, numbers and lists are written alike in JSON and TOML
