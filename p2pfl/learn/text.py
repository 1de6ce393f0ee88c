"""Text to sequences of characters, for predicting the next one. Knows characters and speakers; knows no model.

A sample is a window: x are `length` characters, y the same moved on by one. Windows of one text do not overlap, and the
last part of every text, whole windows, is the test set; so nobody is tested on what he was trained on.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Source
from p2pfl.learn.readers import read_bytes

ALPHABET_MAX = 4096
LENGTH_MAX = 1 << 16


class Speaker(NamedTuple):
    name: str
    text: str


def text_file(
    path: Path,
    length: int = 80,
    min_chars: int = 0,
    speakers: int | None = None,
    tail: float = 0.2,
    alphabet: str | None = None,
) -> Source:
    """x and y (n, length) int64, a class for each character; `groups` says whose text a window is from.

    `path`: .jsonl or .jsonl.gz with an object {"role": name, "text": text} a line, or any other file as one text of
    UTF-8, plain or .gz. Kept are the speakers with at least `min_chars` characters, of these the `speakers` with the
    longest texts; the alphabet is that of all. `tail` of each text is for the test. Machines with different texts must
    name one `alphabet`.
    """
    _check(length, min_chars, speakers, tail)
    found = sorted(_speakers(path), key=lambda s: (-len(s.text), s.name))
    characters = _alphabet(found, alphabet, path.name)
    found = [s for s in found if len(s.text) >= min_chars][:speakers]
    code = {character: number for number, character in enumerate(characters)}
    train: list[NDArray[np.int64]] = []
    test: list[NDArray[np.int64]] = []
    owners: list[int] = []
    kept: list[str] = []
    for speaker in found:
        windows = _windows(_encode(speaker, code, path.name), length)
        held = round(tail * len(windows))
        if len(windows) == held:
            continue  # nothing to train on
        owners += [len(kept)] * (len(windows) - held)
        kept.append(speaker.name)
        train.append(windows[: len(windows) - held])
        test.append(windows[len(windows) - held :])
    if not train:
        raise ConfigError(f"{path.name}: expected a text of more than {length} characters, got none")
    groups = torch.tensor(owners, dtype=torch.int64)
    data = _data(np.concatenate(train), path.name, characters, groups, tuple(kept))
    tests = np.concatenate(test)
    return Source(data, _data(tests, path.name, characters) if len(tests) else None)


def _check(length: int, min_chars: int, speakers: int | None, tail: float) -> None:
    if not 1 <= length <= LENGTH_MAX:
        raise ConfigError(f"text: expected a length from 1 to {LENGTH_MAX}, got {length}")
    if min_chars < 0:
        raise ConfigError(f"text: expected min_chars of at least 0, got {min_chars}")
    if speakers is not None and speakers < 1:
        raise ConfigError(f"text: expected at least 1 of the speakers, got {speakers}")
    if not 0 <= tail < 1:
        raise ConfigError(f"text: expected a tail of at least 0 and below 1, got {tail}")


def _speakers(path: Path) -> list[Speaker]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: expected UTF-8 text: {error}") from error
    if ".jsonl" not in path.suffixes:
        return [Speaker(path.name, text)]
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name, said = entry["role"], entry["text"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(f"{path.name}, line {number}: expected an object with role and text") from error
        if not isinstance(name, str) or not isinstance(said, str) or name in found:
            raise ConfigError(f"{path.name}, line {number}: expected a role of its own and its text")
        found[name] = said
    return [Speaker(*item) for item in found.items()]


def _alphabet(found: Sequence[Speaker], given: str | None, name: str) -> tuple[str, ...]:
    if given is not None and len(set(given)) != len(given):
        raise ConfigError("text: expected an alphabet without repetitions")
    characters = tuple(given) if given else tuple(sorted({c for speaker in found for c in speaker.text}))
    if len(characters) > ALPHABET_MAX:
        raise ConfigError(f"{name}: expected at most {ALPHABET_MAX} different characters, got {len(characters)}")
    return characters


def _encode(speaker: Speaker, code: dict[str, int], name: str) -> NDArray[np.int64]:
    try:
        return np.fromiter((code[c] for c in speaker.text), np.int64, len(speaker.text))
    except KeyError as error:
        raise ConfigError(f"{name}: the alphabet lacks {error.args[0]!r}, said by {speaker.name}") from error


def _windows(codes: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """(windows, length + 1): the inputs, and one more for the last target."""
    count = max(len(codes) - 1, 0) // length
    if not count:
        return np.empty((0, length + 1), np.int64)
    return np.lib.stride_tricks.sliding_window_view(codes, length + 1)[: count * length : length]


def _data(
    windows: NDArray[np.int64],
    name: str,
    characters: tuple[str, ...],
    groups: Tensor | None = None,
    names: tuple[str, ...] = (),
) -> Data:
    tokens = torch.from_numpy(np.ascontiguousarray(windows))
    x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    return Data(x, y, name, characters, groups=groups, group_names=names)
