"""Differentially private local training: DP-SGD over a node's own examples. Knows no accountant, neighbour or message.

The step (n examples, rate q, clip C, noise s; Abadi et al. 2016, algorithm 1):

    B ~ each example with probability q;   g = (sum_{i in B} min(1, C / |g_i|) g_i + N(0, (s S)^2 I)) / (q n)

and g goes to the optimiser as any gradient does. S is what one example can change in the sum: C for groups of one.
With `group` m > 1 every example has, in every step, a place in one of k = ceil(q n / m) groups, drawn whether it is in
B or not; a group's mean gradient is clipped as one, and S = 2 C: an example that goes changes its group's clipped
gradient from one vector of length C to another, and no other group (so EFLS's `microbatches`). The sum is divided by k.

Law: everything that leaves `train` but `loss` and `accuracy` is a function of the sums above, of what came in, and of
public numbers. `samples` is the expected count. `loss` and `accuracy` are not private: they are the node's own to see.
Differs from the paper in: momentum, Adam, the bound on the step, the drift correction and FedProx are applied to g,
which is post-processing.
"""

from dataclasses import dataclass, field
from math import ceil, isfinite

from torch import Tensor, nn

from p2pfl.core.noise import Key, derive
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner
from p2pfl.learn.optim import OptState
from p2pfl.learn.private_clip import Clipped, chosen
from p2pfl.learn.private_draw import groups, normal_, poisson
from p2pfl.learn.training import Trained, Training
from p2pfl.learn.walk import Slope, Walk, floats, mean_loss


@dataclass(frozen=True, slots=True)
class Privately:
    """How a step is made private: see above. `noise` is a multiple of what one example can change, S."""

    clip: float
    noise: float
    rate: float
    group: int = 1

    def __post_init__(self) -> None:
        if not (isfinite(self.clip) and self.clip > 0):
            raise ConfigError(f"privacy.clip: expected a number above 0, got {self.clip}")
        if not (isfinite(self.noise) and self.noise > 0):
            raise ConfigError(f"privacy.noise: expected a number above 0, got {self.noise}; without noise: no privacy")
        if not 0 < self.rate <= 1:
            raise ConfigError(f"privacy.rate: expected a number above 0 and at most 1, got {self.rate}")
        if self.group < 1:
            raise ConfigError(f"privacy.group: expected at least 1, got {self.group}")

    @property
    def sensitivity(self) -> float:
        """S, in the unit of gradients."""
        return self.clip if self.group == 1 else 2 * self.clip


class PrivateLearner(TorchLearner):
    """A Learner whose steps are private for each example. Raises ConfigError for a model that cannot be."""

    def __init__(self, model: FlatModel, splits: Splits, training: Training, privately: Privately) -> None:
        super().__init__(model, splits, training)
        check_model(model)
        self.privately = privately
        x, y = self._train.x, self._train.y
        self.clipper = chosen(model, self._loss, privately.clip, training.loss == "auto", x, y)

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        model, lr, first, privately = self.model, self.lr_at(round), state.steps, self.privately
        z, slots, count = self._shift(shift), state.copy_to(model.device), len(self._train)
        model.load(x)
        walk = PrivateWalk(
            model, self._loss, self.training, lr, weight, self.still_at(round), own=self, key=derive(key, "private")
        )
        seen = walk.go(slots, z, first, steps, walk.batch_at, derive(key, "dropout"))
        directions, losses = floats(seen.norms), floats(seen.losses)
        drawn, right = sum(walk.drawn), [r for r in seen.right if r is not None]
        means = tuple(loss / max(n, 1) for loss, n in zip(losses, walk.drawn, strict=True))
        mean_loss(means, directions, first, round, lr)
        judged = bool(right and drawn and self._train.num_classes)
        return Trained(
            x=model.read().to(x.device),
            state=OptState(first + steps, slots).to(x.device),
            work=self.training.work(lr, steps),
            directions=directions,
            loss=sum(losses) / drawn if drawn else 0.0,
            samples=ceil(privately.rate * count * steps),
            accuracy=sum(floats(right)) / (drawn * self._train.positions) if judged else None,
        )

    def drawn(self, key: Key) -> Tensor:
        """The rows of a step."""
        return poisson(derive(key, "batch"), len(self._train), self.privately.rate)

    def in_groups(self, key: Key) -> Clipped:
        """The clipped sum of a step over its groups; an empty group adds nothing."""
        rows = self.drawn(key)
        places = groups(derive(key, "groups"), len(self._train), self.num_groups)[rows]
        parts = [rows[places == place] for place in range(self.num_groups)]
        return self.clipper.groups([self.rows(part) for part in parts if len(part)])

    @property
    def num_groups(self) -> int:
        return max(1, ceil(self.privately.rate * len(self._train) / self.privately.group))

    @property
    def divisor(self) -> float:
        """What the noisy sum is divided by: never the number that was drawn, which is secret."""
        return self.privately.rate * len(self._train) if self.privately.group == 1 else float(self.num_groups)

    def rows(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        at = rows.to(self.model.device)
        return self._train.x.index_select(0, at), self._train.y.index_select(0, at)


@dataclass(frozen=True, eq=False)
class PrivateWalk(Walk):
    """Steps with private slopes, whose told losses are sums. `drawn`: how many examples each had."""

    own: PrivateLearner = field(kw_only=True)
    key: Key = field(kw_only=True)
    drawn: list[int] = field(default_factory=list)

    def batch_at(self, at: int) -> tuple[Tensor, Tensor]:
        """All that are drawn in a step; `slope` draws the same again where it needs groups."""
        rows = self.own.drawn(derive(self.key, at))
        self.drawn.append(len(rows))
        return self.own.rows(rows)

    def slope(self, at: int, inputs: Tensor, targets: Tensor) -> Slope:
        own, key = self.own, derive(self.key, at)
        clipped = own.clipper.examples(inputs, targets) if own.privately.group == 1 else own.in_groups(key)
        gradient = normal_(clipped.total, derive(key, "noise"), own.privately.noise * own.privately.sensitivity)
        return Slope(gradient.div_(own.divisor), clipped.loss, clipped.right)


def check_model(model: FlatModel) -> None:
    """Raises ConfigError for a model through which an example acts on more than its own gradient."""
    for name, part in model.module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"privacy: {name or 'the model'} is a {type(part).__name__}, which mixes the examples of a batch; "
                "expected a model without batch norm, for example with group norm"
            )
    if model.num_weights != model.schema.size:
        name = model.schema.params[-1].name
        raise ConfigError(f"privacy: {name} is a running statistic of the data, and has no noise; expected none")
