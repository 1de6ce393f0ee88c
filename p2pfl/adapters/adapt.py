"""Which kind of thing was given, and how it joins a network: `p2pfl.adapt`. Knows the kinds; knows no document."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from torch import nn

from p2pfl.adapters.adapted import Adapted
from p2pfl.adapters.estimators import EstimatorLearner, Scores, copied
from p2pfl.adapters.flower import METHODS, Clients, numbers, one_each
from p2pfl.adapters.samples import source_of
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Source
from p2pfl.learn.learner import Learner

EVERY_SAMPLE = {"steps": 5, "batch_size": 32}


def adapt(
    part: Any,
    data: Any = None,
    *,
    label: str | None = None,
    config: Mapping[str, Any] | None = None,
    partitions: int | None = None,
) -> Adapted:
    """See `p2pfl.adapt`."""
    if hasattr(part, "get_params") and not isinstance(part, type):
        _refuse(config is not None or partitions is not None, part, "config and partitions are for Flower clients")
        return _estimator(part, data, label)
    if isinstance(part, nn.Module) or (isinstance(part, type) and issubclass(part, nn.Module)):
        _refuse(config is not None or partitions is not None, part, "config and partitions are for Flower clients")
        return _module(part, data, label)
    if all(hasattr(part, name) for name in METHODS) and not isinstance(part, type):
        raise ConfigError(
            f"{_name(part)}: expected the client's class, or a function that makes one: "
            "every node has its own, and all must begin with the same parameters"
        )
    if callable(part) and (all(hasattr(part, name) for name in METHODS) or data is None):
        _refuse(data is not None or label is not None, part, "a Flower client brings its own data")
        return _clients(part, config or {}, partitions)
    if callable(part):
        return _module(part, data, label)
    raise ConfigError(
        "adapt: expected a scikit-learn estimator, a Flower NumPyClient's class or client_fn, or a torch module; "
        f"got {_name(part)}"
    )


def _estimator(estimator: Any, data: Any, label: str | None) -> Adapted:
    copied(estimator)  # says what cannot be shared
    regression = getattr(estimator, "_estimator_type", None) == "regressor" or _is_regressor(estimator)
    source = None if data is None else source_of(data, label, regression)

    def model(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        size = 1
        for length in input_shape:
            size *= length
        return Scores(size, num_classes)

    return Adapted(_name(estimator), model, partial(EstimatorLearner, estimator=estimator), source, train=EVERY_SAMPLE)


def _clients(make: Callable[..., Any], config: Mapping[str, Any], partitions: int | None) -> Adapted:
    clients = Clients(make, dict(config), partitions)
    rows = numbers()
    one_row = rows.subset(rows.y.long()[:1])
    learner: Callable[..., Learner] = clients.learner
    source = Source(rows, one_row)
    return Adapted(clients.name, clients.parameters, learner, source, one_each, {"steps": 1, "batch_size": 1})


def _module(module: Any, data: Any, label: str | None) -> Adapted:
    """A module, or a class or function that makes one, from `input_shape` and `num_classes` if it wants them."""
    source = None if data is None else source_of(data, label)
    make = (lambda: deepcopy(module)) if isinstance(module, nn.Module) else module
    return Adapted(_name(module), make, None, source)


def _is_regressor(estimator: Any) -> bool:
    from sklearn.base import is_regressor

    return bool(is_regressor(estimator))


def _name(part: Any) -> str:
    return str(getattr(part, "__name__", type(part).__name__))


def _refuse(wrong: bool, part: Any, why: str) -> None:
    if wrong:
        raise ConfigError(f"{_name(part)}: {why}")
