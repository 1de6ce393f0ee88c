"""A torch module whose numbers live in one flat vector. Knows modules and vectors; knows no data, loss or optimiser.

Theory of operation
-------------------
Legend: P values in the vector, W of them trainable; they come first.

The model owns one vector x (P,) and one gradient (W,). The storage of every trainable parameter, and of every
persistent floating-point buffer (batch-norm statistics), is a view of the vector. So loading a model is one copy, an
optimiser works on whole vectors, and a forward and backward pass is that of the plain module plus one copy of its
gradients. A tensor under two names (tied weights) is in the vector once.

Not in the vector: frozen parameters (requires_grad False), integer buffers and non-persistent buffers. They are
constants of the starting model and equal everywhere by `start_digest`; integer buffers may count on locally.

`call` is the same model as a pure function of its vector, for `torch.func.vmap` and `grad` over many nodes.
One thread at a time.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from blake3 import blake3
from torch import Tensor, nn

from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.errors import ConfigError
from p2pfl.learn import adapters, warm

ModelFactory = Callable[[], nn.Module]

_DRAW_NOTHING = {
    *(nn.Sequential, nn.Flatten, nn.Unflatten, nn.Identity, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding),
    *(nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d),
    *adapters.ADAPTED.values(),
}


def pick_device(name: str | None) -> torch.device:
    """The named device, or the first GPU if there is one, else the CPU."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:  # torch raises AssertionError when it was built without CUDA
        raise ConfigError(f"device {name!r} is not usable here: {str(error).splitlines()[0]}") from error


class FlatModel:
    """The same factory and seed give the same starting vector, whatever was drawn from torch's generators before."""

    def __init__(
        self,
        factory: ModelFactory,
        seed: int = 0,
        device: str | None = None,
        dtype: torch.dtype = torch.float32,
        interpolate: float = 1.0,
    ) -> None:
        self.interpolate = interpolate
        self.device = pick_device(device)
        self.dtype = dtype
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = factory()
        _check(module)
        self.module = module.to(device=self.device, dtype=dtype).train()
        self.draws = not all(type(part) in _DRAW_NOTHING for part in module.modules())
        """Whether a forward pass in training may draw random numbers: false only where that is known."""
        self._weights = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._trainable = tuple(self._weights.values())
        self._buffers = {n: b for n, b in module.named_buffers() if _travels(module, n, b)}
        self.schema = _schema(self._weights, self._buffers)
        self.num_weights = sum(p.numel() for p in self._weights.values())
        self.vector = torch.cat([t.detach().reshape(-1) for t in (self._weights | self._buffers).values()])
        if not bool(torch.isfinite(self.vector).all()):
            raise ConfigError(_not_finite(self._weights | self._buffers))
        self.gradient = torch.zeros_like(self.vector[: self.num_weights])
        self._start = self.vector.cpu().clone()
        self._constants = _digest_of_constants(module, set(self._weights) | set(self._buffers))
        self._names = _all_names(module, self._weights, self._buffers)
        self._bind()

    @property
    def weights(self) -> Tensor:
        """The trainable part (W,) of `vector`, a view: writing to it changes the model."""
        return self.vector[: self.num_weights]

    def start(self) -> Tensor:
        """The starting model (P,), on the CPU."""
        return self._start.clone()

    def in_use(self, x: Tensor) -> Tensor:
        """The model that is judged and kept of what was learned, x (.., P): start + interpolate (x - start).

        Source: Wortsman et al. 2022 (WiSE-FT), equation 1, over all weights. Linear in x, so of a mean it is the mean.
        """
        if self.interpolate == 1.0:
            return x
        return torch.lerp(self._start.to(x.device, x.dtype).expand_as(x), x, self.interpolate)

    def start_digest(self) -> bytes:
        """32 bytes; equal at two nodes if and only if they start from the same model, frozen parts included."""
        raw = self._start.numpy().tobytes()
        return blake3(b"p2pfl/start/v1\0" + self.schema.digest + self._constants).update(raw).digest()

    def load(self, x: Tensor) -> None:
        """Become the model x (P,), from any device."""
        if x.shape != self.vector.shape:
            raise ValueError(f"expected a model of shape {tuple(self.vector.shape)}, got {tuple(x.shape)}")
        self.vector.copy_(x)

    def read(self) -> Tensor:
        """The model as a new vector (P,), buffers as the last forward passes left them."""
        stale = False
        for (name, ours), spec in zip(self._buffers.items(), self._tail(), strict=True):
            current = self.module.get_buffer(name)
            if current is not ours:  # the module assigned a new tensor instead of writing in place
                spec.copy_(current.reshape(-1))
                stale = True
        if stale:
            self._bind()
        return self.vector.clone()

    def tensors(self, x: Tensor) -> dict[str, Tensor]:
        """The model x (P,) as a checkpoint: every parameter and persistent buffer by name, float32, what is frozen
        too, adapters merged into what they adapt. Loads x."""
        self.load(x)
        found = warm.named_tensors(self.module)
        merged = {name: adapters.merge(name, tensor.detach(), self.module) for name, tensor in found.items()}
        return {n: (t.float() if t.is_floating_point() else t).detach().cpu().clone() for n, t in merged.items()}

    def adopt(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Become the model of a checkpoint, which `tensors` may have given. Raises ConfigError if it does not fit."""
        warm.load_into(self.module, tensors, path)
        adapters.clear(self.module)

    def set_training(self, mode: bool) -> None:
        """Training or evaluation mode of all submodules (dropout, batch norm)."""
        if self.module.training != mode:
            self.module.train(mode)

    def backward(self, loss: Tensor) -> Tensor:
        """The gradient (W,) of a scalar loss at the loaded weights: the model's own memory, valid until the next."""
        pieces = torch.autograd.grad(loss, self._trainable, materialize_grads=True)
        return torch.cat([piece.reshape(-1) for piece in pieces], out=self.gradient)

    def call(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The outputs at x (P,), as a pure differentiable function: neither the loaded model nor x's buffers move.

        Slower than the bound module by the bookkeeping of `torch.func.functional_call`.
        """
        pieces = self.schema.unflatten(x)
        for name in self._buffers:
            pieces[name] = pieces[name].detach().clone()  # batch norm writes to it in training mode
        given = {alias: pieces[name] for alias, name in self._names.items()}
        for name, buffer in self.module.named_buffers():
            if name not in given:
                given[name] = buffer.clone()  # batch norm counts in it
        outputs = torch.func.functional_call(self.module, given, (inputs,), tie_weights=False)
        assert isinstance(outputs, Tensor)
        return outputs

    def _bind(self) -> None:
        values = torch.split(self.vector, self.schema.sizes)
        for parameter, value in zip(self._weights.values(), values, strict=False):
            parameter.data = value.view(parameter.shape)
        for (name, buffer), value in zip(self._buffers.items(), values[len(self._weights) :], strict=True):
            buffer.data = value.view(buffer.shape)
            for alias, original in self._names.items():
                if original == name:
                    owner, _, leaf = alias.rpartition(".")
                    self.module.get_submodule(owner)._buffers[leaf] = buffer

    def _tail(self) -> list[Tensor]:
        return list(torch.split(self.vector, self.schema.sizes))[len(self._weights) :]


def _travels(module: nn.Module, name: str, buffer: Tensor) -> bool:
    owner, _, leaf = name.rpartition(".")
    return buffer.is_floating_point() and leaf not in module.get_submodule(owner)._non_persistent_buffers_set


def _check(module: object) -> None:
    if not isinstance(module, nn.Module):
        raise ConfigError(f"expected the model to be a torch.nn.Module, got {type(module).__name__}")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise ConfigError(f"model: {name} has no shape yet; give lazy layers their sizes")
        if tensor.is_complex():
            raise ConfigError(f"model: {name} is complex; expected real numbers")
    if not any(p.requires_grad and p.numel() for p in module.parameters()):
        raise ConfigError("model: expected at least one trainable parameter, got none")
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats and part.momentum is None:
            raise ConfigError(f"model: {name} has momentum=None, a count that nodes cannot share; give it a number")


def _schema(weights: dict[str, nn.Parameter], buffers: dict[str, Tensor]) -> ParamSchema:
    specs = [ParamSpec(name, tuple(p.shape), "weights") for name, p in weights.items()]
    specs += [ParamSpec(name, tuple(b.shape), "buffers") for name, b in buffers.items()]
    try:
        return ParamSchema(tuple(specs))
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error


def _not_finite(tensors: dict[str, Tensor]) -> str:
    name = next(name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all()))
    return f"model: {name} starts with values that are not finite (a mask? register it with persistent=False)"


def _all_names(module: nn.Module, weights: dict[str, nn.Parameter], buffers: dict[str, Tensor]) -> dict[str, str]:
    """Every name under which a tensor of the vector appears -> its name in the schema."""
    first = {id(tensor): name for name, tensor in (weights | buffers).items()}
    aliases = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {alias: first[id(tensor)] for alias, tensor in aliases if id(tensor) in first}


def _digest_of_constants(module: nn.Module, moving: set[str]) -> bytes:
    hasher = blake3()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name not in moving:
            head = f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
            hasher.update(len(head).to_bytes(4, "big") + head)
            hasher.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hasher.digest()
