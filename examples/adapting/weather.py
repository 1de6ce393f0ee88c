"""German road signs, 32 x 32 RGB: real photographs in clear weather, and in fog, rain and at night. The weather is
synthetic, laid over photographs of other signs. Data for weather_clear.toml and weather_adverse.toml."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from p2pfl.learn.data import Data, Source

WEATHERS = ("fog", "rain", "night")
CLASSES = tuple(str(number) for number in range(14))


def net() -> nn.Module:
    """A small one: half the resolution, two convolutions. x (n, 3, 32, 32) -> (n, 14)."""
    return nn.Sequential(
        *(nn.AvgPool2d(2), nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(48 * 16, 64), nn.ReLU(), nn.Linear(64, len(CLASSES))),
    )


def clear(path: str) -> Source:
    """Signs in clear weather; each physical sign is a group."""
    with np.load(Path(path), allow_pickle=False) as z:
        data = signs(z["clean_train_x"], z["clean_train_y"], z["clean_train_track"], "clear signs")
        return Source(data, signs(z["test_clean_x"], z["test_y"], z["test_track"], "clear test signs"))


def adverse(path: str, share: float = 0.6, seed: int = 0) -> Source:
    """A `share` of the signs in bad weather, whole signs, drawn by `seed`; judged in all three weathers."""
    with np.load(Path(path), allow_pickle=False) as z:
        whole = signs(z["adverse_train_x"], z["adverse_train_y"], z["adverse_train_track"], "adverse signs")
        xs = [z[f"test_{weather}_x"] for weather in WEATHERS]
        y, track = (np.tile(z[name], len(WEATHERS)) for name in ("test_y", "test_track"))
        test = signs(np.concatenate(xs), y, track, "adverse test signs")
    assert whole.groups is not None
    count = len(whole.group_names)
    chosen = np.random.default_rng(seed).permutation(count)[: round(share * count)]
    return Source(whole.subset(torch.isin(whole.groups, torch.from_numpy(chosen)).nonzero()[:, 0]), test)


def pixels(x: np.ndarray) -> Tensor:
    """Bytes (n, 32, 32, 3) -> (n, 3, 32, 32) around 0."""
    return torch.from_numpy(x.astype(np.float32) / 255 - 0.5).permute(0, 3, 1, 2).contiguous()


def signs(x: np.ndarray, y: np.ndarray, track: np.ndarray, name: str) -> Data:
    """A sign is known by its label and its track."""
    _, group = np.unique(np.stack([y.astype(np.int64), track.astype(np.int64)]), axis=1, return_inverse=True)
    group = group.reshape(-1)
    names = tuple(f"sign {number}" for number in range(int(group.max()) + 1))
    labels = torch.from_numpy(y.astype(np.int64))
    return Data(pixels(x), labels, name, CLASSES, groups=torch.from_numpy(group.astype(np.int64)), group_names=names)
