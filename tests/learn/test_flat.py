"""A module as one vector: same outputs and gradients as the plain module, whatever it is made of."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from p2pfl.errors import ConfigError
from p2pfl.learn.flat import FlatModel


class Tied(nn.Module):
    """An embedding whose matrix is also the output layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x.long().clamp(0, 10)[:, 0]))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.scale = nn.Parameter(torch.tensor(1.5))  # a scalar parameter

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.gru(x.reshape(len(x), -1, 4))[0][:, -1]


class Counting(nn.Module):
    """Assigns its buffer anew instead of writing in place."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(8, 3)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + len(x)
        return self.lin(x)


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def partly_frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    module[0].requires_grad_(False)
    return module


FACTORIES: list[Callable[[], nn.Module]] = [Tied, Recurrent, Counting, normed, partly_frozen]


def inputs() -> Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(3)) * 3


def build(factory: Callable[[], nn.Module]) -> FlatModel:
    return FlatModel(factory, 7, "cpu")


@pytest.mark.parametrize("factory", FACTORIES)
def test_bound_and_pure_forms_equal_the_plain_module(factory: Callable[[], nn.Module]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        plain = factory()
    model = build(factory)
    x = model.start()
    expected = plain(inputs())
    expected.square().mean().backward()
    wanted = torch.cat([p.grad.reshape(-1) for p in plain.parameters() if p.grad is not None])

    model.load(x)
    outputs = model.module(inputs())
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(model.backward(outputs.square().mean()), wanted)

    leaf = x.clone().requires_grad_()
    pure = model.call(leaf, inputs())
    torch.testing.assert_close(pure, expected)
    (gradient,) = torch.autograd.grad(pure.square().mean(), leaf)
    torch.testing.assert_close(gradient[: model.num_weights], wanted)
    assert torch.equal(x, model.start())


@pytest.mark.parametrize("factory", [Tied, Counting, normed, partly_frozen])
def test_pure_form_maps_over_nodes(factory: Callable[[], nn.Module]) -> None:
    model = build(factory)
    X, batch = model.start() * torch.tensor([[0.9], [1.0], [1.1]]), inputs()

    def loss(x: Tensor) -> Tensor:
        return model.call(x, batch).square().mean()

    together = torch.func.vmap(torch.func.grad(loss))(X)
    for i in range(3):
        model.load(X[i])
        alone = model.backward(model.module(batch).square().mean())
        torch.testing.assert_close(together[i, : model.num_weights], alone)


def test_buffers_follow_the_weights_and_come_back() -> None:
    model = build(normed)
    names = [(p.name, p.group) for p in model.schema.params]
    assert names[-2:] == [("1.running_mean", "buffers"), ("1.running_var", "buffers")]
    assert len(names) == 8  # num_batches_tracked counts on locally
    x = model.start()
    model.load(x)
    model.module(inputs())
    after = model.read()
    assert torch.equal(after[: model.num_weights], x[: model.num_weights])
    assert not torch.equal(after[model.num_weights :], x[model.num_weights :])


def test_a_buffer_assigned_anew_comes_back_too() -> None:
    model = build(Counting)
    for seen in (5, 10):
        model.module(inputs())
        assert model.read()[-1] == seen
    model.load(model.start())
    model.module(inputs())
    assert model.read()[-1] == 5


def test_a_tied_matrix_is_in_the_vector_once() -> None:
    assert build(Tied).schema.size == 66


def test_frozen_parts_stay_out_but_are_in_the_digest() -> None:
    model = build(partly_frozen)
    assert model.schema.size == 6 * 3 + 3

    def other() -> nn.Module:
        module = partly_frozen()
        with torch.no_grad():
            module[0].weight.add_(1)
        return module

    assert torch.equal(build(other).start(), model.start())
    assert build(other).start_digest() != model.start_digest()
    assert build(partly_frozen).start_digest() == model.start_digest()


def test_the_start_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = FlatModel(normed, 3, "cpu").start()
    state = torch.get_rng_state()
    second = FlatModel(normed, 3, "cpu").start()
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, FlatModel(normed, 4, "cpu").start())


def test_float64_starts_where_float32_does() -> None:
    x = FlatModel(normed, 3, "cpu", torch.float64).start()
    assert x.dtype == torch.float64
    assert torch.equal(x.float(), FlatModel(normed, 3, "cpu").start())


def masked() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.full((2,), float("-inf")))
    return module


def test_non_persistent_buffers_are_constants() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.full((2,), float("-inf")), persistent=False)
    assert FlatModel(lambda: copy.deepcopy(module), 0, "cpu").schema.size == 6


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (nn.ReLU, "expected at least one trainable parameter"),
        (lambda: nn.Linear(2, 2).requires_grad_(False), "expected at least one trainable parameter"),
        (lambda: nn.Linear(2, 2, dtype=torch.complex64), "complex"),
        (lambda: nn.LazyLinear(3), "has no shape yet"),
        (lambda: nn.BatchNorm1d(3, momentum=None), "momentum=None"),
        (lambda: 3, "expected the model to be a torch.nn.Module, got int"),
        (masked, "mask starts with values that are not finite"),
    ],
)
def test_unusable_models_are_refused_in_one_line(factory: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        FlatModel(factory, 0, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(ConfigError, match=device):
        FlatModel(normed, 0, device)


def test_a_vector_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a model of shape"):
        build(normed).load(torch.zeros(3))
