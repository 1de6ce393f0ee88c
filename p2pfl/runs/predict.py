"""A trained model on new samples. Knows run folders and files of samples; knows no network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from p2pfl.assemble.network import assemble
from p2pfl.config import NetworkConfig, load_network
from p2pfl.config.adapting import as_it_lies
from p2pfl.errors import ConfigError
from p2pfl.learn.datasets import read_encoder, read_features
from p2pfl.learn.readers import read_npz
from p2pfl.runs.folder import ENCODER, MODEL, NETWORK, PERSONAL, RunFolder

_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Prediction:
    """classes[i] and the probability given to it; for regression `values` instead."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    values: tuple[float, ...] = ()


def predict(run: Path, file: Path, personal: bool = False) -> Prediction:
    """What the model of a run folder says of the samples in `file` (.csv, .npy, or .npz with an array x).
    personal: the node's own copy, instead of the shared model.

    Raises ConfigError if the folder holds no model, or the samples do not fit it.
    """
    file_of_it = PERSONAL if personal else MODEL
    folder = RunFolder(_with_model(run, file_of_it))
    config = load_network(folder / NETWORK)
    model = assemble(as_it_lies(config), device="cpu").model
    folder.load_model(model, file_of_it)
    x = _shaped(_samples(folder, file), config, file)
    model.set_training(False)
    with torch.no_grad():
        outputs = torch.cat([model.module(batch) for batch in torch.split(x, _BATCH)])
    if outputs.shape[-1] == 1:
        return Prediction((), (), tuple(outputs.reshape(-1).tolist()))
    probabilities = outputs.softmax(-1)
    best = probabilities.max(-1)
    names = _class_names(folder, outputs.shape[-1])
    return Prediction(tuple(names[i] for i in best.indices.tolist()), tuple(best.values.tolist()))


def _with_model(run: Path, name: str) -> Path:
    """The folder itself, or the only folder in it with a model (a run of many nodes: the first)."""
    if (run / name).exists():
        return run
    inner = sorted(path.parent for path in run.glob(f"*/{name}")) if run.is_dir() else []
    if not inner:
        raise ConfigError(f"{run}: expected a run folder with {name}, found none")
    return inner[0]


def _samples(folder: RunFolder, file: Path) -> Tensor:
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    match file.suffix:
        case ".csv" if (folder / ENCODER).exists():
            return read_features(file, read_encoder(folder / ENCODER))
        case ".csv":
            return _numbers(file)
        case ".npz":
            return torch.from_numpy(np.ascontiguousarray(read_npz(file, ("x",))["x"], np.float32))
        case ".npy":
            return _array(file)
        case other:
            raise ConfigError(f"{file}: expected a .csv, .npy or .npz file, got {other or 'no ending'}")


def _numbers(file: Path) -> Tensor:
    """A CSV of numbers without a header, one sample a line."""
    try:
        return torch.from_numpy(np.loadtxt(file, np.float32, delimiter=",", ndmin=2))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{file}: expected lines of numbers with commas between: {error}") from None


def _array(file: Path) -> Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(np.load(file, allow_pickle=False), np.float32))
    except (ValueError, OSError, EOFError) as error:
        raise ConfigError(f"{file}: expected an array of numbers: {error}") from None


def _shaped(x: Tensor, config: NetworkConfig, file: Path) -> Tensor:
    shape = config.model.input_shape
    size = int(np.prod(shape))
    if len(x) == 0 or x[0].numel() != size:
        got = tuple(x.shape[1:]) if len(x) else "no samples"
        raise ConfigError(f"{file}: expected samples of shape {tuple(shape)} ({size} numbers each), got {got}")
    if not bool(torch.isfinite(x).all()):
        raise ConfigError(f"{file}: expected finite numbers, got NaN or infinity")
    return x.reshape(len(x), *shape)


def _class_names(folder: RunFolder, count: int) -> list[str]:
    if (folder / ENCODER).exists():
        classes = read_encoder(folder / ENCODER).classes
        if len(classes) == count:
            return list(classes)
    return [str(i) for i in range(count)]
