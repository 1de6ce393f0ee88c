"""Level 1 for people that nobody trained on: the parts that were trained, asked for rows only. Knows parts; no message.

The same turns as in training without the steps that learn (a schedule that only scores): embeddings travel sealed, and
what the label holder sees of them is z.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from p2pfl.core.noise import Key
from p2pfl.errors import ConfigError
from p2pfl.vertical.sealed import feature as sealed_feature
from p2pfl.vertical.sealed import label as sealed_label
from p2pfl.vertical.sealed.cipher import Cipher, Floats
from p2pfl.vertical.sealed.seal import Seal
from p2pfl.vertical.split.nets import Part
from p2pfl.vertical.turns.messages import Accord, Moved, Request


class LabelHolder(sealed_label.LabelHolder):
    """`named`: weights of what is left of the top; v: V_p by feature holder, as trained."""

    def __init__(
        self,
        accord: Accord,
        seal: Seal,
        features: Tensor,
        cipher: Cipher,
        named: Mapping[str, Tensor],
        v: Sequence[Floats],
    ) -> None:
        unknown = np.zeros(len(features), np.int64)
        super().__init__(accord, seal, features, unknown, cipher)
        shapes = [(self.widths[party], seal.plan.top_hidden) for party in self.parties]
        if [one.shape for one in v] != shapes:
            raise ConfigError(f"expected a part with sealed layers of shapes {shapes}, got {[one.shape for one in v]}")
        start = self.net.start()
        self._part, self._v = Part(self.net.flat(named), start.opt), tuple(v)

    def start(self) -> tuple[sealed_label.LabelState, Mapping[int, Request]]:
        state, requests = super().start()
        return replace(state, part=self._part), requests

    def metrics(self, state: Any) -> dict[str, float | None]:
        """Labels are not known here."""
        return {}

    def _hello(self, state: sealed_label.LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        moved = super()._hello(state, answers, key)
        return replace(moved, state=replace(moved.state, v=self._v))


class FeatureHolder(sealed_feature.FeatureHolder):
    """`named`: weights of the bottom; share: E, as trained."""

    def __init__(
        self,
        accord: Accord,
        seal: Seal,
        me: int,
        features: Tensor,
        cipher: Cipher,
        named: Mapping[str, Tensor],
        share: Floats,
    ) -> None:
        super().__init__(accord, seal, me, features, cipher)
        if share.shape != (self.width, self.outputs):
            raise ConfigError(f"expected a part with a share of {(self.width, self.outputs)}, got {share.shape}")
        net = self.bottom.net
        self._part, self._share = Part(net.flat(named), net.start().opt), share

    def start(self) -> sealed_feature.FeatureState:
        return replace(super().start(), part=self._part, share=self._share)
