"""What [privacy] promises, and the settings under which it would not hold. Knows the accountant; no node."""

from dataclasses import fields, replace
from importlib import import_module
from typing import Any

from p2pfl.assemble.parts import named_part
from p2pfl.config import NetworkConfig, PrivacyConfig, TrainConfig
from p2pfl.errors import ConfigError
from p2pfl.mixing import MIXERS, Cell
from p2pfl.privacy.accounting import check_target, require
from p2pfl.privacy.sharing import SharedNoise
from p2pfl.privacy.spending import Promise, promised
from p2pfl.secagg.cell import CELL_MIN, threshold_of


def promise_of(config: NetworkConfig) -> Promise | None:
    """What [privacy] promises: releases are steps for each example, local phases for a node. Raises ConfigError."""
    privacy, train = config.privacy, config.train
    if privacy.unit == "none":
        return None
    require()
    check_private(privacy, train)
    if config.pace.stop_at is not None:
        raise ConfigError("pace.stop_at: with [privacy], nodes do not tell each other how good they are; leave it out")
    if privacy.unit == "node":
        check_target(privacy.epsilon, privacy.delta, max(len(config.nodes), 1))
        rounds, coalition = config.pace.rounds, privacy.coalition
        promise = promised("node", privacy.noise, 1.0, privacy.epsilon, privacy.delta, rounds, coalition)
        noise = shared_noise(config, promise)
        return promise if noise is None else replace(promise, alone=least_alone(noise, _cell_rule(config)))
    assert train.steps is not None
    planned = config.pace.rounds * train.steps
    return promised("example", privacy.noise, privacy.rate, privacy.epsilon, privacy.delta, planned)


def shared_noise(config: NetworkConfig, promise: Promise | None) -> SharedNoise | None:
    """What members of a cell share out, if that is asked for. Raises ConfigError."""
    coalition = config.privacy.coalition
    if promise is None or coalition is None:
        return None
    rule = _cell_rule(config)
    if coalition > (rule.size - 1) // 3:
        most = (rule.size - 1) // 3
        raise ConfigError(f"privacy.coalition: expected at most {most} in cells of {rule.size}, got {coalition}")
    if str(config.compress.codec) != "fp32":
        raise ConfigError(
            f"privacy.coalition: expected compress.codec 'fp32', got {str(config.compress.codec)!r}: "
            "what is not in the sum would stay without noise"
        )
    return SharedNoise(config.privacy.clip, promise.noise, coalition)


def _cell_rule(config: NetworkConfig) -> Cell:
    if str(config.mix.rule) != "cell":
        raise ConfigError(f"privacy.coalition: expected mix.rule 'cell', got {str(config.mix.rule)!r}")
    rule = named_part(config.mix.rule, MIXERS, "mix.rule", config.mix.params)
    assert isinstance(rule, Cell)
    return rule


def least_alone(noise: SharedNoise, rule: Cell) -> float:
    """The least noise that is left against all other members of one's cell, over all sizes that cells have."""
    return min(noise.alone(*kind) for kind in _cell_kinds(rule))


def _cell_kinds(rule: Cell) -> list[tuple[int, int]]:
    """Members and threshold of every cell there may be; larger ones where too few would be left (partition.cut)."""
    sizes = range(CELL_MIN, max(rule.size, 2 * CELL_MIN - 1) + 1)
    return [(size, size if rule.whole else threshold_of(size)) for size in sizes]


def check_grid(noise: SharedNoise, rule: Cell, size: int) -> None:
    """Raises ConfigError if a member's noise would be lost in the rounding of the sum."""
    grid = import_module("p2pfl.secagg.rounding").Grid
    for members, threshold in _cell_kinds(rule):
        noise.deviation(members, threshold, grid(rule.reach, members, rule.bits).unit, size)


def terms_of(privacy: PrivacyConfig) -> tuple[Any, ...]:
    """What all nodes of a job must promise alike, for the recipe: [privacy] as it is written; nothing without."""
    if privacy.unit == "none":
        return ()
    return tuple((f.name, value) for f in fields(privacy) if (value := getattr(privacy, f.name)) is not None)


def check_private(privacy: PrivacyConfig, train: TrainConfig, samples: int | None = None) -> None:
    """Raises ConfigError for settings of one node under which a promise would not hold. samples: it trains on."""
    if privacy.unit == "none":
        return
    if str(train.learner) != "torch":
        raise ConfigError(f"train.learner: with [privacy], expected 'torch', got {str(train.learner)!r}")
    if train.clip_norm is not None:
        raise ConfigError('train.clip_norm: with [privacy], updates are clipped by privacy.unit = "node"; leave it out')
    if train.steps is None:
        raise ConfigError(
            "train.epochs: with [privacy], give train.steps: it must not depend on the number of examples"
        )
    if train.seconds is not None:
        raise ConfigError("train.seconds: with [privacy], give train.steps alone: what is spent must not follow time")
    if train.weighting != "uniform":
        raise ConfigError("train.weighting: with [privacy], expected 'uniform': the number of examples is not told")
    if privacy.unit == "example" and samples is not None:
        check_target(privacy.epsilon, privacy.delta, samples)
