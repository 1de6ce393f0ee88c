"""Road signs that nobody photographed, in the layout of the real set: so the scenario runs without a download.

Knows arithmetic on pictures; knows no network. A sign is a shape with a rim and a bar, 14 kinds; a sign has its
own wear, and is seen from several distances before several backgrounds. Fog, rain and night are laid over pictures of
other signs, as in the real set. Legend: pictures are (n, 32, 32, 3), floats of 0 to 1 until they are bytes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE, CLASSES = 32, 14
WEATHERS = ("fog", "rain", "night")
SHAPES = ("circle", "triangle", "yield", "diamond", "octagon")
RED, BLUE, WHITE, YELLOW = (0.75, 0.08, 0.1), (0.1, 0.25, 0.7), (0.93, 0.93, 0.93), (0.95, 0.8, 0.15)
KINDS: tuple[tuple[str, tuple[float, ...], tuple[float, ...], int], ...] = (
    ("circle", RED, WHITE, 0),
    ("circle", RED, WHITE, 1),
    ("circle", RED, WHITE, 2),
    ("circle", RED, WHITE, 3),
    ("triangle", RED, WHITE, 0),
    ("triangle", RED, WHITE, 1),
    ("triangle", RED, WHITE, 2),
    ("yield", RED, WHITE, 0),
    ("diamond", WHITE, YELLOW, 0),
    ("octagon", WHITE, RED, 1),
    ("circle", RED, RED, 1),
    ("circle", BLUE, BLUE, 1),
    ("circle", BLUE, BLUE, 2),
    ("circle", BLUE, BLUE, 3),
)
"""Shape, rim, face, and which bar: none, level, upright, slanted."""

Floats = NDArray[np.float64]
AT = (np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij"), -1) + 0.5) / SIZE * 2 - 1


def write(path: Path, quick: bool, seed: int = 3) -> Path:
    """The file, with a quarter as many signs if `quick`."""
    rng = np.random.default_rng(seed)
    clear, bad, test = (8, 5, 4) if quick else (14, 7, 7)
    x, y, track = series(rng, clear, 8)
    ax, ay, atrack = series(rng, bad, 8, first=clear)
    weather = rng.integers(0, len(WEATHERS), len(ay))
    tx, ty, ttrack = series(rng, test, 4, first=clear + bad)
    tests = {f"test_{name}_x": picture(weathered(tx, np.full(len(tx), k), rng)) for k, name in enumerate(WEATHERS)}
    np.savez_compressed(
        path,
        clean_train_x=picture(x),
        clean_train_y=y,
        clean_train_track=track,
        adverse_train_x=picture(weathered(ax, weather, rng)),
        adverse_train_y=ay,
        adverse_train_track=atrack,
        test_clean_x=picture(tx),
        test_y=ty,
        test_track=ttrack,
        **tests,
    )
    return path


def series(
    rng: np.random.Generator, signs: int, views: int, first: int = 0
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Pictures of so many physical signs of each kind, each seen so often; labels, and the signs' numbers."""
    found = []
    for kind in range(CLASSES):
        for sign in range(signs):
            wear, tilt = rng.uniform(0.7, 1.0, 3), rng.normal(0, 0.12)
            found += [(view(rng, kind, wear, tilt), kind, first + sign) for _ in range(views)]
    x, y, track = zip(*found, strict=True)
    return np.stack(x), np.array(y, np.int64), np.array(track, np.int64)


def view(rng: np.random.Generator, kind: int, wear: Floats, tilt: float) -> Floats:
    """One picture of a sign: somewhere near the middle, near or far, before grass, street or sky."""
    shape, rim, face, bar = KINDS[kind]
    at = (AT - rng.normal(0, 0.12, 2)) / rng.uniform(0.55, 0.85)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    at = at @ turn
    ground = np.array([(0.35, 0.45, 0.25), (0.45, 0.45, 0.47), (0.6, 0.7, 0.85)])[rng.integers(3)]
    out = ground * rng.uniform(0.6, 1.2) + blurred(rng.normal(0, 0.5, (SIZE, SIZE, 3)), 2)
    depth = inside(shape, at)
    out = np.where((depth > 0)[..., None], np.array(rim) * wear, out)
    out = np.where((depth > 0.22)[..., None], np.array(face) * wear, out)
    ink = np.array(WHITE if sum(face) < 1.6 else (0.05, 0.05, 0.05))
    out = np.where(((depth > 0.3) & on_bar(bar, at))[..., None], ink, out)
    seen = out * rng.uniform(0.6, 1.1) + rng.normal(0, 0.03, out.shape)
    return np.asarray(np.clip(blurred(seen, 1 if rng.random() < 0.5 else 0), 0, 1))


def inside(shape: str, at: Floats) -> Floats:
    """How far a point is inside the shape; below 0: outside."""
    down, right = at[..., 0], at[..., 1]
    if shape == "circle":
        return np.asarray(1 - np.hypot(down, right))
    if shape == "diamond":
        return np.asarray(1 - np.abs(down) - np.abs(right))
    if shape == "octagon":
        return np.asarray(
            1 - np.maximum(np.maximum(np.abs(down), np.abs(right)), (np.abs(down) + np.abs(right)) / 1.35)
        )
    down = down if shape == "triangle" else -down
    return np.asarray(np.minimum(0.75 - down, (down + 0.95) / 2 - np.abs(right)) * 0.9)


def on_bar(bar: int, at: Floats) -> NDArray[np.bool_]:
    down, right = at[..., 0], at[..., 1]
    lines = (np.full(down.shape, 9.0), down, right, (down - right) / 1.4)
    return np.asarray(np.abs(lines[bar]) < 0.16)


def weathered(x: Floats, weather: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Each picture in its weather: 0 fog, 1 rain, 2 night."""
    return np.stack([(fog, rain, night)[kind](one, rng) for one, kind in zip(x, weather, strict=True)])


def fog(x: Floats, rng: np.random.Generator) -> Floats:
    """Most of the light is lost on the way, and grey comes instead."""
    through = rng.uniform(0.14, 0.48) + blurred(rng.normal(0, 0.2, (SIZE, SIZE, 1)), 3)
    through = np.clip(through, 0.05, 0.7)
    return np.asarray(blurred(through * x + (1 - through) * 0.75, 1))


def rain(x: Floats, rng: np.random.Generator) -> Floats:
    """Less contrast, and bright slanted streaks."""
    out = 0.5 + 0.55 * (x - 0.5)
    for _ in range(rng.integers(8, 16)):
        down, right, length = rng.integers(0, SIZE), rng.integers(0, SIZE), rng.integers(5, 14)
        steps = np.arange(length)
        out[(down + steps) % SIZE, (right + steps // 3) % SIZE] += 0.3
    return np.asarray(np.clip(out, 0, 1))


def night(x: Floats, rng: np.random.Generator) -> Floats:
    """Dark and blue, with the noise of few photons and the glow of a headlight."""
    dark = x * rng.uniform(0.2, 0.42) * np.array((0.8, 0.85, 1.1))
    glow = np.exp(-(((AT - rng.uniform(-0.8, 0.8, 2)) / 0.5) ** 2).sum(-1))[..., None] * rng.uniform(0.1, 0.4)
    return np.asarray(np.clip(dark + glow + rng.normal(0, 0.06, x.shape), 0, 1))


def blurred(x: Floats, times: int) -> Floats:
    """The mean over 3 x 3 points, so many times."""
    for _ in range(times):
        ends = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
        x = sum(ends[i : i + SIZE, j : j + SIZE] for i in range(3) for j in range(3)) / 9
    return x


def picture(x: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.round(np.clip(x, 0, 1) * 255), np.uint8)
