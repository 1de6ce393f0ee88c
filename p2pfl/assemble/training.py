"""What trains at a node, from [train]: learner, optimiser, schedule. Knows settings; no network."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path

from p2pfl.assemble.parts import LEARNER_NAMES, check_has
from p2pfl.config import PrivacyConfig, TrainConfig
from p2pfl.config.adapting import align_of, unfreezing_of
from p2pfl.errors import ConfigError
from p2pfl.learn.calm import Calm
from p2pfl.learn.data import SplitName, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import LEARNERS, Learner
from p2pfl.learn.names import call, find
from p2pfl.learn.optim import OPTIMIZERS, Optimizer
from p2pfl.learn.part import Part
from p2pfl.learn.part_learner import PartLearner
from p2pfl.learn.private import PrivateLearner, Privately
from p2pfl.learn.private_update import PrivateUpdates
from p2pfl.learn.public import Public
from p2pfl.learn.schedule import SCHEDULES, Schedule
from p2pfl.learn.training import Training
from p2pfl.mixing import Mixer
from p2pfl.privacy import ClipAndNoise
from p2pfl.privacy.spending import Promise
from p2pfl.transfer.distill import Distill


def learner_of(
    train: TrainConfig,
    model: FlatModel,
    splits: Splits,
    training: Training,
    privacy: PrivacyConfig | None = None,
    promise: Promise | None = None,
    part: Part | None = None,
) -> Learner:
    """What does a node's local steps, privately if something is promised; its vector is what travels.

    Raises ConfigError.
    """
    if privacy is not None and promise is not None and promise.unit == "example":
        privately = Privately(privacy.clip, promise.noise, promise.rate, privacy.group)
        alone: Learner = PrivateLearner(model, splits, training, privately)
        return alone if part is None else PartLearner(alone, part)
    learner = plain_learner(train, model, splits, training)
    if part is not None:
        learner = PartLearner(learner, part)
    if privacy is None or promise is None:
        return learner
    return PrivateUpdates(learner, privacy.clip, promise.noise if privacy.coalition is None else 0.0)


def plain_learner(train: TrainConfig, model: FlatModel, splits: Splits, training: Training) -> Learner:
    what, offered = f"train.learner {str(train.learner)!r}", {"model": model, "splits": splits}
    kind = find(train.learner, LEARNERS, "learner", train.learner.folder)
    learner: Learner = call(kind, train.learner_args, what, **offered, training=training)
    check_has(learner, LEARNER_NAMES, what)
    if learner.schema.digest != model.schema.digest:
        raise ConfigError(f"{what}: expected it to train the network's [model], got a vector of another schema")
    return learner


def training_of(train: TrainConfig, rounds: int, public: Public | None = None) -> Training:
    """The learner's settings. Raises ConfigError."""
    return Training(
        rounds,
        train.batch_size,
        train.lr,
        _optimizer(train),
        _schedule(train),
        prox_mu=train.prox_mu,
        normalise=train.normalise,
        unfreeze=unfreezing_of(train),
        align=align_of(train, public),
    )


def alike(train: TrainConfig, network: TrainConfig, mixer: Mixer) -> TrainConfig:
    """A node's settings under a time budget: rules that average rows would follow whoever does more steps in it, so a
    phase counts as the network's `steps`. The pairwise rule needs no such thing: its drift corrections hold each node
    where all pulls cancel, however often it pulls. Nor does distillation, which averages no models."""
    if mixer.needs == "pair" or isinstance(mixer, Distill) or train.normalise:
        return train
    if train.seconds is None and network.seconds is None:
        return train
    return replace(train, normalise=float(network.steps or 0))


def _optimizer(train: TrainConfig) -> Optimizer:
    found = find(train.optimizer, OPTIMIZERS, "optimizer", Path())
    made: Optimizer = call(found, train.optimizer_args, f"optimizer {train.optimizer!r}")
    return Calm(made, train.gradient_limit) if train.gradient_limit else made


def _schedule(train: TrainConfig) -> Schedule:
    kind = train.schedule.kind
    made: Schedule = call(find(kind, SCHEDULES, "schedule", Path()), train.schedule.params, f"schedule {kind!r}")
    return made


def phase_steps(train: TrainConfig, samples: int) -> int:
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    return max(1, ceil(train.epochs * samples / min(train.batch_size, samples)))


def guard_of(train: TrainConfig) -> ClipAndNoise | None:
    """What clips and noises a local update, if that is asked for. Raises ConfigError."""
    if train.clip_norm is None:
        if train.noise:
            raise ConfigError("train.noise: needs train.clip_norm, since unclipped updates have no bounded influence")
        return None
    return ClipAndNoise(train.clip_norm, train.noise)


def judged(samples: Mapping[SplitName, int]) -> tuple[SplitName, ...]:
    """The parts that there is something in; the training part if nothing was held out."""
    names: tuple[SplitName, ...] = ("validation", "test")
    return tuple(name for name in names if samples[name]) or ("train",)
