"""From a TOML table to a frozen dataclass, strictly. Knows types and bounds; knows no key of ours.

A dataclass field is a configuration key if it was declared by `option`; other fields are handed in by the caller.
Every error is a `ConfigError` of one line that names the file (or the `--set` on the command line), the key, what was
expected and what came. An unknown key is an error that offers the nearest valid one: a misspelt setting must not be
a setting that silently does nothing.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from p2pfl.errors import ConfigError

T = TypeVar("T")
_HERE = Path()


class Reference(str):
    """What a document names: a built-in ("mlp"), or an attribute of a module ("my_lab.nets:cnn") or of a Python file
    ("task.py:cnn"). A string, as written; a file is relative to `folder`.

    Only `assemble` follows it, and it is read from the local configuration alone, never from the network.
    """

    folder: Path

    def __new__(cls, text: str, folder: Path = _HERE) -> "Reference":
        self = super().__new__(cls, text)
        self.folder = folder
        return self

    def absolute(self) -> "Reference":
        """The same, so that it can be written into a document in another folder."""
        where, _, attribute = self.rpartition(":")
        return Reference(f"{(self.folder / where).resolve()}:{attribute}") if where.endswith(".py") else self


@dataclass(frozen=True, slots=True)
class Origin:
    """Where values stand: names them in messages, and says what relative paths are relative to."""

    file: Path
    overridden: frozenset[str] = frozenset()
    """Dotted keys that came from the command line."""
    changed: frozenset[str] = frozenset()
    """Dotted keys that came from the file `by` (a sweep)."""
    by: Path | None = None

    def name(self, key: str) -> str:
        if _touches(self.overridden, key):
            return f"--set {key}"
        return f"{self.by if _touches(self.changed, key) else self.file}: {key}"

    def folder(self, key: str) -> Path:
        """The document's folder; the working folder for a value from the command line."""
        if _touches(self.overridden, key):
            return Path.cwd()
        file = self.by if self.by is not None and _touches(self.changed, key) else self.file
        return file.parent.absolute()


def _touches(keys: frozenset[str], key: str) -> bool:
    key = key.partition("[")[0]  # an item of a list stands where the list stands
    return any(o == key or o.startswith(f"{key}.") or key.startswith(f"{o}.") for o in keys)


def option(
    default: Any = MISSING,
    *,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    parse: Callable[[str], Any] | None = None,
    rest: bool = False,
) -> Any:
    """A dataclass field that is a configuration key.

    `doc` is one sentence for docs/configuration.md. `low` and `high` bound numbers (in lists: each). `parse` turns
    text into the field's value and raises ConfigError. `rest` collects the keys of the section that have no field.
    """
    metadata = {"doc": doc, "low": low, "high": high, "parse": parse, "rest": rest}
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, dict) or callable(default):
        return field(default_factory=default if callable(default) else dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def options(cls: Any) -> dict[str, Field[Any]]:
    """The fields of `cls` that are keys, in order."""
    return {f.name: f for f in fields(cls) if "doc" in f.metadata}


def build(cls: type[T], raw: Mapping[str, Any], origin: Origin, prefix: str = "", **given: Any) -> T:
    """A `cls` from a table; its fields in `given` are taken as they are and are no keys. Raises ConfigError."""
    hints, known = get_type_hints(cls), {name: f for name, f in options(cls).items() if name not in given}
    values = given | collect(cls, raw, origin, prefix, known)
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            wanted = describe(hints[name], f)
            raise ConfigError(f"{origin.name(prefix + name)}: missing; expected {wanted}: {f.metadata['doc']}")
    return make(cls, values, origin.name(prefix.rstrip(".")) if prefix else str(origin.file))


def make(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """`cls(**values)`, what it finds wrong with them together reported as being at `where`."""
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def collect(
    cls: type[Any], raw: Mapping[str, Any], origin: Origin, prefix: str, known: Mapping[str, Field[Any]] | None = None
) -> dict[str, Any]:
    """The converted values of the keys that the table sets, and of no others. Raises ConfigError."""
    hints, known = get_type_hints(cls), options(cls) if known is None else known
    rest = next((name for name, f in known.items() if f.metadata["rest"]), None)
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in raw.items():
        key = f"{prefix}{name}"
        if name in known and name != rest:
            values[name] = convert(value, hints[name], known[name], origin, key)
        elif rest is not None:
            extra[name] = _plain(value, origin, key)
        else:
            raise ConfigError(f"{origin.name(key)}: unknown key; {_nearest(name, list(known), prefix)}")
    return values | {rest: extra} if rest is not None else values


def convert(value: Any, hint: Any, f: Field[Any], origin: Origin, key: str) -> Any:
    """One TOML value as the type `hint` asks for. Raises ConfigError."""
    hint = _without_none(hint)
    if is_dataclass(hint) and isinstance(value, dict):
        return build(hint, value, origin, f"{key}.")  # type: ignore[arg-type]  # a type, as the hint of a field is
    if get_origin(hint) is tuple and isinstance(value, list):
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis or len(kinds) == len(value):
            each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
            return tuple(
                convert(item, kind, f, origin, f"{key}[{index}]")
                for index, (item, kind) in enumerate(zip(value, each, strict=True))
            )
    elif isinstance(value, str) and f.metadata["parse"] is not None:
        try:
            return f.metadata["parse"](value)
        except ConfigError as error:
            raise ConfigError(f"{origin.name(key)}: {error}") from None
    elif isinstance(value, str) and hint is Path:
        return (origin.folder(key) / value).resolve()
    elif isinstance(value, str) and hint is Reference:
        return _reference(value, origin, key)
    elif get_origin(hint) is dict and isinstance(value, dict):
        return _plain(value, origin, key)
    elif _fits(value, hint, f):
        return float(value) if hint is float else value
    raise ConfigError(f"{origin.name(key)}: expected {describe(hint, f)}, got {_got(value)}")


def describe(hint: Any, f: Field[Any]) -> str:
    """What a key takes, in words: for messages and for the documentation."""
    hint = _without_none(hint)
    low, high = f.metadata["low"], f.metadata["high"]
    bounds = "" if low is None else f" from {low}" if high is None else f" from {low} to {high}"
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) if isinstance(choice, str) else str(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if is_dataclass(kinds[0]):
            return "tables"
        inner = [describe(kind, f) for kind in kinds if kind is not Ellipsis]
        return f"a list, each {inner[0]}" if len(kinds) != len(inner) else f"a pair ({', '.join(inner)})"
    words = {bool: "true or false", int: f"an integer{bounds}", float: f"a number{bounds}", str: "text"}
    words |= {Path: "a path", Reference: "a name"}
    if hint in words:
        return words[hint]
    return "text" if f.metadata["parse"] is not None else "a table"


def _fits(value: Any, hint: Any, f: Field[Any]) -> bool:
    low, high = f.metadata["low"], f.metadata["high"]
    if get_origin(hint) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(hint))
    if hint in (bool, str):
        return isinstance(value, hint)
    if isinstance(value, bool) or not isinstance(value, int if hint is int else int | float):
        return False
    return (
        hint in (int, float) and isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    )


def _reference(text: str, origin: Origin, key: str) -> Reference:
    before, colon, attribute = text.rpartition(":")
    if not text or (colon and not (before and attribute)):
        expected = "a built-in's name, module:attribute or file.py:attribute"
        raise ConfigError(f"{origin.name(key)}: expected {expected}, got {_got(text)}")
    return Reference(text, origin.folder(key))


def _plain(value: Any, origin: Origin, key: str) -> Any:
    """A free value (a rule's own parameter): anything JSON can say too."""
    match value:
        case dict():
            return {name: _plain(item, origin, f"{key}.{name}") for name, item in value.items()}
        case list():
            return [_plain(item, origin, f"{key}[{index}]") for index, item in enumerate(value)]
        case str() | bool() | int():
            return value
        case float() if isfinite(value):
            return value
    raise ConfigError(
        f"{origin.name(key)}: expected text, a finite number, true, false, a list or a table, got {value}"
    )


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


def _nearest(name: str, known: list[str], prefix: str) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    return f"expected one of {', '.join(known)}"


def _got(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the {'integer' if isinstance(value, int) else 'number'} {value}"
        case str():
            return f"text {value if len(value) <= 40 else value[:40] + '..'!r}"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "a table"
    return f"a {type(value).__name__}"
