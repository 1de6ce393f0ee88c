"""A starting model from a file: safetensors, a torch checkpoint, or the folder of a finished run. Knows files and
names; knows no vector.

Nothing is unpickled but tensors (`weights_only`). That all nodes begin with the same is told by the digest of the
starting model, which is part of the recipe.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from p2pfl.core.limits import PARAMS_MAX
from p2pfl.errors import ConfigError
from p2pfl.learn.patterns import listed, matched

MODEL = "model.safetensors"
"""What a run leaves in a node's folder."""
_INNER = ("state_dict", "model_state_dict", "model")
"""Where training scripts put a model's tensors among other things."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; a folder: those of the run in it. Raises ConfigError."""
    path = _file_of(path)
    tensors = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    if not tensors:
        raise ConfigError(f"{path}: expected a model's tensors by name, found none")
    size = sum(tensor.numel() for tensor in tensors.values())
    if size > 2 * PARAMS_MAX:
        raise ConfigError(f"{path}: expected at most {2 * PARAMS_MAX} values, got {size}")
    return tensors


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, fresh: Sequence[str] | None = None) -> None:
    """Parameters and persistent buffers of `module` become those of the checkpoint, but what `fresh` means.

    What else the checkpoint holds is left alone. Raises ConfigError for what is missing or has another shape.
    """
    own = named_tensors(module)
    anew = matched(own, fresh or (), "model.fresh")
    advice = "" if fresh is None else "; name it in model.fresh to begin it anew"
    for name, tensor in own.items():
        count = name not in tensors and not tensor.is_floating_point()  # of a module's calls
        if name in anew or count:
            continue
        shape, found = f"{name} of shape {tuple(tensor.shape)}", tensors.get(name)
        if found is None:
            raise ConfigError(f"{path}: expected {shape}, got none; it has {listed(list(tensors))}{advice}")
        if found.shape != tensor.shape:
            raise ConfigError(f"{path}: expected {shape}, got {tuple(found.shape)}{advice}")
        if found.is_floating_point() != tensor.is_floating_point() or not bool(torch.isfinite(found).all()):
            raise ConfigError(f"{path}: expected {name} as finite numbers of {tensor.dtype}, got {found.dtype}")
        with torch.no_grad():
            tensor.copy_(found)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and persistent buffers, each once, as `state_dict` names them; adapters are not among them."""
    skipped = {
        f"{prefix}{'.' if prefix else ''}{leaf}"
        for prefix, part in module.named_modules()
        for leaf in (*part._non_persistent_buffers_set, *getattr(part, "adapter_names", ()))
    }
    both = (*module.named_parameters(), *module.named_buffers())
    return {name: tensor for name, tensor in both if name not in skipped}


def _file_of(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"cannot read the model {path}: there is no such file or folder")
    if (path / MODEL).is_file():
        return path / MODEL
    inner = sorted(path.glob(f"*/{MODEL}"))
    if not inner:
        raise ConfigError(f"cannot read the model {path}: expected a finished run's folder with {MODEL}, found none")
    return inner[0]


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  -- not a mapping
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the model {path}: {str(error).splitlines()[0]}") from None


def _torch_file(path: Path) -> dict[str, Tensor]:
    expected = "expected a .safetensors file, or what torch.save wrote of a state_dict and nothing else"
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise ConfigError(f"cannot read the model {path}: {expected} ({type(error).__name__})") from None
    for name in _INNER:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
            break
    if not isinstance(held, Mapping):
        raise ConfigError(f"cannot read the model {path}: {expected}, got a {type(held).__name__}")
    return {str(name): tensor for name, tensor in held.items() if isinstance(tensor, Tensor)}
