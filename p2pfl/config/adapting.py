"""How a network's model begins, what of it travels and how it is brought into use, from the document's sections. Knows
[model], [public] and the room of learning; no node. Imports torch, so the commands that must not do not import it.
"""

from dataclasses import replace

from p2pfl.config.schema import DataConfig, ModelConfig, NetworkConfig, PublicConfig, TrainConfig
from p2pfl.core.noise import derive, root
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import ConfigError
from p2pfl.learn import datasets, models
from p2pfl.learn.adapters import Adapters
from p2pfl.learn.adapting import Beginning, prepared
from p2pfl.learn.align import Align
from p2pfl.learn.data import hold_out
from p2pfl.learn.flat import ModelFactory
from p2pfl.learn.part import Part
from p2pfl.learn.public import Public, public_of
from p2pfl.learn.unfreeze import Unfreezing


def factory_of(model: ModelConfig) -> ModelFactory:
    """What builds the model as the network begins with it. Raises ConfigError."""
    plain = models.build(model.name, model.name.folder, model.input_shape, model.num_classes, model.args)
    adapters = model.adapters
    chosen = Adapters(adapters.rank, adapters.alpha, adapters.layers, adapters.also)
    return prepared(plain, Beginning(model.start, model.fresh, model.freeze, chosen))


def part_of(model: ModelConfig, schema: ParamSchema) -> Part | None:
    """What of the model travels; None: all of it. Raises ConfigError."""
    if not model.share:
        return None
    part = Part(schema, model.share)
    return part if part.kept_size else None


def public_set(public: PublicConfig, shape: tuple[int, ...], seed: int) -> Public | None:
    """The samples that all nodes hold, if the document names any. Raises ConfigError."""
    if public.source is None:
        if public.path is not None or public.digest is not None:
            raise ConfigError("public.source: missing; expected where the common samples are from, like npz")
        return None
    args = DataConfig(source=public.source, path=public.path, label=public.label, args=public.args).source_args
    source = datasets.load(str(public.source), public.source.folder, args)
    held = hold_out(source, derive(root(seed), "public"), 0.0)
    return public_of(held.train, public.rows, shape, public.digest)


def unfreezing_of(train: TrainConfig) -> Unfreezing | None:
    """When what is learned, if not all from the start."""
    return Unfreezing(train.unfreeze.every, train.unfreeze.order) if train.unfreeze.every else None


def align_of(train: TrainConfig, public: Public | None) -> Align | None:
    """What features are drawn to, if to anything. Raises ConfigError."""
    align = train.align
    if align.rule == "none":
        return None
    if public is None:
        raise ConfigError(
            f"train.align.rule: {align.rule!r} brings features near those of a common set, and there is none; "
            "set public.source and public.path"
        )
    return Align(align.rule, align.weight, public, align.layer, train.batch_size)


def as_it_lies(config: NetworkConfig) -> NetworkConfig:
    """For a model whose run folder holds all of it: what it once began from may be gone."""
    return replace(config, model=replace(config.model, start=None, fresh=(), interpolate=1.0), public=PublicConfig())


def check_adapting(config: NetworkConfig) -> None:
    """Raises ConfigError for what cannot go together."""
    if any(model.interpolate != 1.0 and model.start is None for model in (config.model, *config.distill.models)):
        raise ConfigError("model.interpolate: expected model.start, between which and what is learned; there is none")
    if config.model.interpolate != 1.0 and config.personal.steps:
        raise ConfigError(
            "personal.steps: with model.interpolate, the finished model is not the one that a copy is tuned from; "
            "turn one of the two off"
        )
    if config.model.share and config.valuation.on:
        raise ConfigError(
            "valuation.on: with model.share, a node's update is a part of a model, which nobody else can try; "
            "turn one of the two off"
        )
    if config.train.align.rule != "none" and config.privacy.unit == "example":
        raise ConfigError(
            'train.align: features are compared over whole batches, and unit = "example" clips each example alone; '
            'expected train.align.rule = "none", or privacy.unit = "node"'
        )
