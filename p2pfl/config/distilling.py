"""Nodes of unlike models: what they are asked about, and whether the document says enough. Knows [distill]; no node.
Imports torch, so the commands that must not do not import it.
"""

import torch

from p2pfl.config.schema import NetworkConfig
from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError
from p2pfl.learn import datasets
from p2pfl.mixing import Mixer
from p2pfl.transfer.distill import Distill, digest_of, drawn_public, made_public

DISTILL = "distill"


def check_distill(config: NetworkConfig, mixer: Mixer) -> None:
    """Whether nodes of unlike models have something in common. Raises ConfigError."""
    rule = str(config.mix.rule)
    if config.distill.models and not isinstance(mixer, Distill):
        raise ConfigError(
            f"distill.models: unlike models cannot be mixed by weights (mix.rule {rule!r}): "
            'set mix.rule = "distill", and distill.source to examples that all nodes have'
        )
    if not isinstance(mixer, Distill):
        return
    if config.distill.source is None:
        raise ConfigError(
            'distill.source: expected public examples that all nodes have, with mix.rule = "distill", got none; '
            '"noise" makes some'
        )
    if config.model.share:
        raise ConfigError('model.share: with mix.rule = "distill" answers travel, and no part of a model')
    if config.model.num_classes < 2:
        raise ConfigError('mix.rule "distill": expected 2 classes or more, got a model of 1 output')
    if config.privacy.unit == "node":
        raise ConfigError('privacy.unit: with mix.rule "distill", expected "example": answers are not updates')


def asked_of(config: NetworkConfig) -> torch.Tensor:
    """The public examples (M, ...). Raises ConfigError."""
    distill, key = config.distill, derive(root(config.seed), "distill")
    assert distill.source is not None
    if str(distill.source) == "noise":
        public = made_public(config.model.input_shape, distill.samples, key)
    else:
        source = datasets.load(str(distill.source), distill.source.folder, distill.args)
        public = drawn_public(source.data.x, distill.samples, key)
    if tuple(public.shape[1:]) != tuple(config.model.input_shape):
        shapes = f"{tuple(config.model.input_shape)}, got {tuple(public.shape[1:])}"
        raise ConfigError(f"distill.source: expected examples of shape {shapes}")
    found = digest_of(public).hex()
    if distill.digest is not None and distill.digest != found:
        raise ConfigError(f"distill.digest: expected public examples {distill.digest[:12]}.., got {found[:12]}..")
    return public
