"""Parameters of a graph: from words like `k=6`, and checked against the function that takes them."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from p2pfl.errors import ConfigError

Param = int | float | bool | str


def parse_params(words: Iterable[str]) -> dict[str, Param]:
    """`["k=6", "p=0.1"]` -> `{"k": 6, "p": 0.1}`. Raises ConfigError."""
    params: dict[str, Param] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"expected a parameter as key=value, got {word!r}")
        if key in params:
            raise ConfigError(f"parameter {key} is given twice")
        params[key] = _value(value)
    return params


def check_params(build: Callable[..., Any], params: Mapping[str, Any], who: str) -> None:
    """Raises ConfigError unless `build(n, **params)` has a parameter for every key and a key for every need."""
    accepted = inspect.signature(build).parameters
    kinds = {p.kind for p in accepted.values()}
    names = [name for name, p in accepted.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for key in params:
        if key not in names and inspect.Parameter.VAR_KEYWORD not in kinds:
            known = ", ".join(name for name in names if name != "n")
            hint = suggest(key, names)
            raise ConfigError(f"{who}: unknown parameter {key!r}{hint}; expected {known or 'only n'}")
    for name in names:
        if accepted[name].default is inspect.Parameter.empty and name not in params:
            need = "the number of nodes: add --n 16 (or n = 16)" if name == "n" else f"a value for {name}"
            raise ConfigError(f"{who} needs {need}")


def suggest(word: str, known: Sequence[str]) -> str:
    """` (did you mean ring?)`, or nothing if no known word is near."""
    near = get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _value(text: str) -> Param:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
