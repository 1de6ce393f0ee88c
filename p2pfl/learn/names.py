"""From a name in the local configuration to an object: built-ins by short name, the user's own as `module:attribute`
or `file.py:attribute`. Knows importlib; knows no model or data set.

A name is code that will run. It comes from this machine's own configuration, never from the network.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from p2pfl.errors import ConfigError


def find(name: str, table: Mapping[str, Any], what: str, folder: Path) -> Any:
    """The built-in `name` of `table`, or what `module:attribute` names. ConfigError lists the nearest short name."""
    if ":" in name:
        return resolve(name, folder)
    if name not in table:
        raise ConfigError(f"unknown {what} {name!r}{nearest(name, table)}; built in: {', '.join(table)}")
    return table[name]


def resolve(name: str, folder: Path) -> Any:
    """What `module:attribute` or `file.py:attribute` names; files are relative to `folder`."""
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise ConfigError(f"expected module:attribute or file.py:attribute, got {name!r}")
    found: Any = _load_file(folder / where) if where.endswith(".py") else _load_module(where)
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [n for n in dir(found) if not n.startswith("_")]
            raise ConfigError(f"{where} has no attribute {attribute!r}{nearest(part, public)}")
        found = getattr(found, part)
    return found


def call(function: Callable[..., Any], args: Mapping[str, Any], what: str, **offered: Any) -> Any:
    """function(**args), plus those of `offered` that it has parameters for.

    A parameter that is unknown or missing is a ConfigError; so is any other error raised by a user's own code, with
    its type, on one line.
    """
    if not callable(function):
        raise ConfigError(f"{what}: expected a class or function, got {type(function).__name__}")
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in args:
        if key not in parameters and not open_ended:
            own = [p for p in parameters if p not in offered]
            raise ConfigError(f"{what} has no option {key!r}{nearest(key, own)}; it has: {', '.join(own) or 'none'}")
    given = {key: value for key, value in offered.items() if key in parameters or open_ended} | dict(args)
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given and parameter.kind in _NAMED:
            raise ConfigError(f"{what} needs the option {key!r}")
    try:
        return function(**given)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} failed: {_one_line(error)}") from error


def nearest(name: str, names: Iterable[str]) -> str:
    """', did you mean ...?' or nothing."""
    close = get_close_matches(name, list(names), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(f"there is no module {name!r} on this machine") from error
        raise ConfigError(f"module {name!r} cannot be imported: {_one_line(error)}") from error
    except Exception as error:
        raise ConfigError(f"module {name!r} cannot be imported: {_one_line(error)}") from error


def _load_file(path: Path) -> ModuleType:
    """Run once per process and path, so that a model and its data set from one file share their classes."""
    path = path.resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    name = f"p2pfl_user_{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in the file look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise ConfigError(f"{path} cannot be imported: {_one_line(error)}") from error
    return module


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
