"""The one document that makes a network what it is. Knows keys and numbers; knows no file, address or peer.

Its digest is the network's id: it is in every feed entry, every vote and every message, so what was signed in one
network is nothing in another, and whoever has a genesis that differs by one byte is in another network. It names the
first state of the ledger and nothing else: who may talk to whom is for each machine's own configuration.

    digest = SHA-256("p2pfl/genesis/v1\\0" + canonical msgpack [1, name, authorities, validators, sponsors, supply,
                                                              window, epoch, rule, parameters])

On disk it is TOML (`parse_genesis`, `Genesis.to_toml`); the digest is of the values, not of the text. Layout, bounds
and vectors: docs/formats/genesis.md.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.votes import Validators
from p2pfl.ledger.feeds.bounds import AUTHORITIES_MAX, VALIDATORS_MAX
from p2pfl.wire import canonical

FORMAT = 1
DOMAIN = b"p2pfl/genesis/v1\0"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
RULE = re.compile(r"[a-z][a-z0-9_.]{0,31}")
SUPPLY_MAX = 10**15
"""Credits per window: a thousand windows stay below 2^63."""
HEIGHTS_MAX = 1_000_000
PARAMETERS_MAX = 32
PARAMETER_MAX = (1 << 31) - 1


@dataclass(frozen=True)
class Genesis:
    """A permanent document. Raises ConfigError unless every value is in its bounds and every key is a sound one.

    authorities: keys that can sponsor newcomers. validators: the voters of the first epoch, exactly these. sponsors:
    how many authorities must endorse a newcomer. supply: credits per window. window, epoch: heights. rule: the name of
    the first rule, with its whole-number parameters.
    """

    name: str
    authorities: tuple[NodeId, ...]
    validators: tuple[NodeId, ...]
    sponsors: int = 1
    supply: int = 1_000_000
    window: int = 16
    epoch: int = 32
    rule: str = "receipts"
    parameters: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        _check_text("name", self.name, NAME, "1 to 64 letters, digits, spaces, dots, dashes or underscores")
        _check_keys("authorities", self.authorities, AUTHORITIES_MAX)
        _check_keys("validators", self.validators, VALIDATORS_MAX)
        _check_whole("sponsors", self.sponsors, 1, len(self.authorities))
        _check_whole("supply", self.supply, 0, SUPPLY_MAX)
        _check_whole("window", self.window, 1, HEIGHTS_MAX)
        _check_whole("epoch", self.epoch, 1, HEIGHTS_MAX)
        _check_text("rule", self.rule, RULE, "the name of a rule")
        if len(self.parameters) > PARAMETERS_MAX or list(self.parameters) != sorted(set(self.parameters)):
            raise ConfigError(f"parameters: expected at most {PARAMETERS_MAX}, each once, by name")
        for key, value in self.parameters:
            _check_text(f"parameters.{key}", key, RULE, "a parameter's name")
            _check_whole(f"parameters.{key}", value, 0, PARAMETER_MAX)

    @cached_property
    def raw(self) -> bytes:
        """Canonical bytes."""
        return canonical.packb([FORMAT, *(getattr(self, field.name) for field in fields(self))])

    @cached_property
    def digest(self) -> bytes:
        """The network's id."""
        return sha256(DOMAIN + self.raw).digest()

    @property
    def voters(self) -> Validators:
        """Of the first epoch."""
        return Validators.of(self.validators)

    def to_toml(self) -> str:
        """The document as people keep it. `parse_genesis` gives it back."""
        lines = [
            f"# Genesis of the network {short(self.digest)}. Permanent: a changed byte is another network.",
            f"format = {FORMAT}",
            f'name = "{self.name}"',
            *_keys_toml("authorities", self.authorities),
            *_keys_toml("validators", self.validators),
            *(f"{key} = {getattr(self, key)}" for key in ("sponsors", "supply", "window", "epoch")),
            f'rule = "{self.rule}"',
            "",
            "[parameters]",
            *(f'"{key}" = {value}' for key, value in self.parameters),
        ]
        return "\n".join(lines) + "\n"


def meaning(voters: Validators) -> str:
    """What a set of validators withstands, in one line for people."""
    n, f = voters.n, voters.f
    if n == 1:
        return "1 validator: it alone decides what is final, and nothing is final while it is away"
    if f == 0:
        return f"{n} validators tolerate no failure (f = 0): one that is away stops finality; training goes on"
    return f"{n} validators tolerate {f} that fail or lie (f = {f}); {voters.quorum} must agree"


def parse_genesis(text: str, where: str) -> Genesis:
    """The genesis that `text` is; `where` names it in messages. Raises ConfigError of one line."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: expected a TOML document: {error}") from None
    try:
        return genesis_from(table)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def genesis_from(table: Mapping[str, Any]) -> Genesis:
    """A genesis from TOML values. Every key must be there: what is permanent has no defaults. Raises ConfigError."""
    format_ = table.get("format")
    if type(format_) is not int or format_ != FORMAT:
        raise ConfigError(f"format: expected {FORMAT}, got {_brief(format_)}: made by another version of p2pfl?")
    known = {field.name for field in fields(Genesis)}
    if unknown := sorted(table.keys() - known - {"format"}):
        raise ConfigError(f"{unknown[0]}: unknown key; expected {', '.join(sorted(known))}")
    if missing := sorted(known - table.keys()):
        raise ConfigError(f"{missing[0]}: missing")
    return Genesis(**{key: _READ.get(key, _as_is)(table[key], key) for key in sorted(known)})


def check_key(key: bytes, name: str = "key") -> None:
    """Raises ConfigError unless `key` is an Ed25519 public key whose signatures mean something.

    Refused: points of small order (anybody can sign for them), encodings that are not canonical (one key, two names),
    points off the curve or outside the group of prime order.
    """
    if len(key) != 32:
        raise ConfigError(f"{name}: expected 64 hex digits, got {len(key)} bytes")
    if not crypto_core_ed25519_is_valid_point(key):
        expected = "expected an Ed25519 public key"
        raise ConfigError(f"{name}: {expected}, got {key.hex()}: a weak or malformed point that no key file has")


def _check_keys(name: str, keys: tuple[NodeId, ...], most: int) -> None:
    if not 0 < len(keys) <= most:
        raise ConfigError(f"{name}: expected 1 to {most} keys, got {len(keys)}")
    for number, key in enumerate(keys):
        check_key(key, f"{name}[{number}]")
    if list(keys) != sorted(set(keys)):
        raise ConfigError(f"{name}: expected each key once, in ascending order")


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{name}: expected a whole number from {low} to {high}, got {_brief(value)}")


def _check_text(name: str, value: object, pattern: re.Pattern[str], expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigError(f"{name}: expected {expected}, got {_brief(value)}")


def _as_is(value: Any, name: str) -> Any:
    return value


def _read_keys(value: Any, name: str) -> tuple[NodeId, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{name}: expected a list of public keys, got {_brief(value)}")
    return tuple(_read_key(item, f"{name}[{number}]") for number, item in enumerate(value))


def _read_key(item: Any, name: str) -> NodeId:
    if not isinstance(item, str) or not re.fullmatch("[0-9a-f]{64}", item):
        raise ConfigError(f"{name}: expected a public key of 64 hex digits, got {_brief(item)}")
    return NodeId(bytes.fromhex(item))


def _read_parameters(value: Any, name: str) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected a table, got {_brief(value)}")
    return tuple(sorted(value.items()))


_READ: dict[str, Callable[[Any, str], Any]] = {
    "authorities": _read_keys,
    "validators": _read_keys,
    "parameters": _read_parameters,
}


def _keys_toml(name: str, keys: tuple[NodeId, ...]) -> list[str]:
    return [f"{name} = [", *(f'    "{key.hex()}",' for key in keys), "]"]


def _brief(value: object) -> str:
    return "nothing" if value is None else repr(value)[:48]
