"""`check_mixer` passes every built-in rule, and says what is wrong with one that breaks a law."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from p2pfl.core.vectors import ParamSchema
from p2pfl.mixing import MIXERS, Average, Choco, Heard, Note, Pairwise, Phase, RowMixer, Similarity, State
from p2pfl.mixing.pairwise import Mixed, PairState, Said
from p2pfl.testing import check_mixer


@pytest.mark.parametrize("name", MIXERS)
def test_built_ins_pass(name: str) -> None:
    if name == "similarity":  # it parts nodes whose models are unlike, as the village's are: tests/mixing/rows
        check_mixer(Similarity(sharpness=0.0))
    else:
        check_mixer(MIXERS[name]())


@pytest.mark.parametrize(
    "mixer", [Choco(0.3, 0.0), Pairwise(clip="on"), Pairwise(dual_gain=0.0, size_check=0.0, movement=0.0)], ids=str
)
def test_built_ins_pass_with_other_parameters(mixer: Any) -> None:
    check_mixer(mixer)


@dataclass(frozen=True)
class Median(RowMixer):
    """A good rule that does not keep the mean: the middle of oneself and those that were heard."""

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        present = (heard.weights > 0).unsqueeze(-1)
        rows = torch.cat([heard.own[None], torch.where(present, heard.inbox, float("nan"))])
        return state, rows.nanmedian(dim=0).values.to(x.dtype)


def test_a_rule_may_say_that_it_moves_the_mean() -> None:
    check_mixer(Median(), keeps_mean=False)
    with pytest.raises(AssertionError, match="the mean over the nodes moved"):
        check_mixer(Median())


# ------------------------------------------------------------------------------------------------ neighbourhoods


@dataclass(frozen=True)
class Biased(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return state, heard.inbox.mean(dim=0).to(x.dtype) * 1.001


@dataclass(frozen=True)
class Divided(Average):
    """Weights that are there count; absent ones count too."""

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return state, torch.cat([x[None], heard.inbox]).mean(dim=0)


@dataclass(frozen=True)
class InPlace(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        state, mixed = super().mix(state, x, heard, phase)
        return state, x.copy_(mixed)


@dataclass(frozen=True)
class Branching(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return super().mix(state, x, heard, phase) if float(x.norm()) > 0 else (state, x)


@dataclass(frozen=True)
class Idle(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return state, x


@dataclass(frozen=True)
class Doubling(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return state, 2 * x - super().mix(state, x, heard, phase)[1]


@dataclass(frozen=True)
class Growing(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return {**state, "last": x}, super().mix(state, x, heard, phase)[1]


@dataclass(frozen=True)
class Single(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return state, super().mix(state, x, heard, phase)[1].float()


@dataclass(frozen=True)
class Dicing(Average):
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return state, super().mix(state, x, heard, phase)[1] + 1e-3 * torch.rand_like(x)


@dataclass(frozen=True)
class Unnoted(Average):
    notes: ClassVar[tuple[Note, ...]] = (Note("mass", 0.5, 2.0),)


@dataclass(frozen=True)
class TwoVectors(Average):
    vectors: ClassVar[int] = 2


@dataclass(frozen=True)
class Elsewhere(Average):
    weighting: ClassVar[Any] = "random"


@dataclass
class Thawed:
    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        return state, x


# ------------------------------------------------------------------------------------------------ pairs


@dataclass(frozen=True)
class Greedy(Pairwise):
    """Goes further towards the other end when it is the smaller one."""

    def mix(self, state: PairState, x: Tensor, mine: Said, other: Said, schema: ParamSchema) -> Mixed:
        mixed = super().mix(state, x, mine, other, schema)
        return mixed._replace(move=mixed.move * torch.where(mine.norm < other.norm, 1.1, 1.0).to(x.dtype))


@dataclass(frozen=True)
class Uncorrected(Pairwise):
    def mix(self, state: PairState, x: Tensor, mine: Said, other: Said, schema: ParamSchema) -> Mixed:
        mixed = super().mix(state, x, mine, other, schema)
        return mixed._replace(state=replace(mixed.state, z=mixed.state.z + 1e-3 * x * (mixed.state.z != 0)))


@dataclass(frozen=True)
class Endless(Pairwise):
    def phase_steps(self, state: PairState, steps: int) -> int:
        return steps + 1


@dataclass(frozen=True)
class Asleep(Pairwise):
    def mix(self, state: PairState, x: Tensor, mine: Said, other: Said, schema: ParamSchema) -> Mixed:
        return super().mix(state, x, mine, other, schema)._replace(move=torch.zeros_like(x))


@dataclass(frozen=True)
class Rogue:
    needs: ClassVar[str] = "pair"

    def init(self, x: Tensor) -> None: ...

    def mix(self) -> None: ...


@pytest.mark.parametrize(
    ("mixer", "sentence"),
    [
        (object(), "frozen dataclass"),
        (Thawed(), "frozen dataclass"),
        (Biased(), "weight 0|nodes that agree"),
        (Divided(), "weight 0"),
        (InPlace(), "changed what it was given"),
        (Branching(), "vmap"),
        (Idle(), "halve the nodes' disagreement"),
        (Doubling(), "drives the nodes apart"),
        (Growing(), "names and shapes of init's"),
        (Single(), "expected the mixed model to be"),
        (Dicing(), "two results"),
        (Unnoted(), "the note 'mass'"),
        (TwoVectors(), "expected what outgoing says to be"),
        (Elsewhere(), "weighting"),
        (Greedy(), "opposite of each other"),
        (Uncorrected(), "drift corrections do not change by the opposite"),
        (Endless(), "phase_steps"),
        (Asleep(), "halve what two nodes differ by"),
        (Rogue(), "inherit from Pairwise"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_broken_law_is_said_in_one_sentence(mixer: Any, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence) as caught:
        check_mixer(mixer)
    assert "\n" not in str(caught.value)
