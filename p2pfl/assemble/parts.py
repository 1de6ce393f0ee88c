"""A network's rule, codec and the like by their names in a document, and what the recipe says of them. Knows names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from p2pfl.errors import ConfigError
from p2pfl.learn.names import call, find

CODEC_NAMES = ("bounds", "encode", "decode", "project")
LEARNER_NAMES = ("schema", "start", "start_digest", "init", "lr_at", "train", "evaluate", "num_samples")


def named_part(name: Any, table: Mapping[str, Callable[..., Any]], what: str, params: Mapping[str, Any]) -> Any:
    """A rule or codec by its short name or `module:attribute`, with its parameters."""
    what_it_is = f"{what} {str(name)!r}"
    try:
        part = call(find(str(name), table, what, name.folder), params, what_it_is)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not is_dataclass(part):  # its fields are what the recipe says of it
        raise ConfigError(f"{what_it_is}: expected a dataclass of its parameters, got {type(part).__name__}")
    return part


def check_has(part: Any, names: Sequence[str], what: str) -> None:
    """Whether the user's own part has what is called; whether that does right is for p2pfl.testing to say."""
    missing = [name for name in names if not hasattr(part, name)]
    if missing:
        raise ConfigError(f"{what}: expected it to have {', '.join(names)}; {missing[0]} is missing")


def named(name: str, part: Any) -> tuple[Any, ...]:
    """A part for the recipe: its name (not where a machine keeps the file) and the values of its fields."""
    values = [[f.name, _plain(getattr(part, f.name))] for f in fields(part)]
    return (name.rpartition(":")[2], values)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else repr(value)
