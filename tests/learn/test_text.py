"""Text to windows: targets are the inputs moved on by one, train and test are apart, speakers are told apart."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Source
from p2pfl.learn.datasets import load
from p2pfl.learn.models import build
from p2pfl.learn.partition import partition
from p2pfl.learn.text import _windows


def write(path: Path, **texts: str) -> None:
    lines = "".join(json.dumps({"role": role, "text": text}) + "\n" for role, text in texts.items())
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())


def text_of(source: Source, row: torch.Tensor) -> str:
    return "".join(source.data.classes[i] for i in row.tolist())


def refused(folder: Path, name: str, words: str, **args: object) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load("text", folder, {"path": name, **args})
    assert "\n" not in str(caught.value)


def test_speakers(tmp_path: Path) -> None:
    write(tmp_path / "roles.jsonl.gz", small="ab", ANNE="abcdefghijklmnopqrstu", BEN="vwxyzvwxyzvwxyzvwxyzvwxyz")
    source = load("text", tmp_path, {"path": "roles.jsonl.gz", "length": 4, "min_chars": 3})
    data = source.data
    assert data.classes == tuple("abcdefghijklmnopqrstuvwxyz")
    assert data.group_names == ("BEN", "ANNE")
    assert data.groups is not None
    assert data.groups.tolist() == [0] * 5 + [1] * 4
    assert text_of(source, data.x[5]) == "abcd"
    assert text_of(source, data.y[5]) == "bcde"
    assert source.test is not None
    assert [text_of(source, row) for row in source.test.x] == ["vwxy", "qrst"]
    one = load("text", tmp_path, {"path": "roles.jsonl.gz", "length": 4, "speakers": 1, "tail": 0.0})
    assert one.data.group_names == ("BEN",)
    assert one.test is None


@settings(max_examples=50)
@given(st.integers(0, 200), st.integers(1, 20))
def test_windows_cover_the_text_once(chars: int, length: int) -> None:
    codes = torch.arange(chars).numpy()
    windows = _windows(codes, length)
    assert windows.shape == (max(chars - 1, 0) // length, length + 1)
    assert windows[:, :-1].reshape(-1).tolist() == list(range(len(windows) * length))
    assert (windows[:, 1:] == windows[:, :-1] + 1).all()


def test_plain_text_and_an_agreed_alphabet(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello hello hello")
    data = load("text", tmp_path, {"path": "a.txt", "length": 4, "alphabet": "lohe z"}).data
    assert data.classes == tuple("lohe z")
    assert data.group_names == ("a.txt",)
    refused(tmp_path, "a.txt", "the alphabet lacks 'e', said by a.txt", length=4, alphabet="hlo ")
    refused(tmp_path, "a.txt", "an alphabet without repetitions", length=4, alphabet="heello ")


def test_defects(tmp_path: Path) -> None:
    refused(tmp_path, "a.jsonl", "there is no file")
    for text, words in (
        ("[]", "a.jsonl, line 1: expected an object with role and text"),
        ('{"role": "x"}', "line 1: expected an object with role and text"),
        ('\n{"role": "x", "text": 5}', "line 2: expected a role of its own and its text"),
        ('{"role": "x", "text": "a"}\n{"role": "x", "text": "b"}', "line 2: expected a role of its own"),
        ("", "expected a text of more than 80 characters, got none"),
        ('{"role": "x", "text": "short"}', "expected a text of more than 80 characters, got none"),
    ):
        (tmp_path / "a.jsonl").write_text(text)
        refused(tmp_path, "a.jsonl", words)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    refused(tmp_path, "a.txt", "expected UTF-8 text")
    (tmp_path / "a.txt").write_text("".join(chr(0x4E00 + i) for i in range(5000)))
    refused(tmp_path, "a.txt", "expected at most 4096 different characters, got 5000")
    for args, words in (
        ({"length": 0}, "length from 1 to"),
        ({"min_chars": -1}, "min_chars of at least 0"),
        ({"speakers": 0}, "at least 1 of the speakers"),
        ({"tail": 1.0}, "tail of at least 0 and below 1"),
    ):
        refused(tmp_path, "a.txt", words, **args)


def test_roles_stay_together(data_dir: Path) -> None:
    args = {"path": "by_role.jsonl.gz", "length": 40, "min_chars": 10_000}
    source = load("text", data_dir / "shakespeare-roles", args)
    assert (source.data.num_classes, len(source.data.group_names), source.data.positions) == (65, 36, 40)
    shares = partition("by_group", source.data, 16, root(0))
    owners = [set(source.data.subset(rows).groups.tolist()) for rows in shares]  # type: ignore[union-attr]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 36
    sizes = sorted(map(len, shares))
    assert sizes[-1] < 2 * sizes[0]


def test_a_gru_is_torchs_and_maps_over_nodes() -> None:
    model = build("gru", Path(), (6,), 7, {"width": 5, "hidden": 4})()
    tokens = torch.randint(7, (3, 6), generator=torch.Generator().manual_seed(0))
    assert tuple(model(tokens).shape) == (3, 6, 7)
    theirs = torch.nn.GRU(5, 4, batch_first=True)
    named = dict(model.named_parameters())
    with torch.no_grad():
        for mine, other in (("inputs.weight", "weight_ih_l0"), ("recurrent.weight", "weight_hh_l0")):
            getattr(theirs, other).copy_(named[mine])
        for mine, other in (("inputs.bias", "bias_ih_l0"), ("recurrent.bias", "bias_hh_l0")):
            getattr(theirs, other).copy_(named[mine])
        expected = model.head(theirs(model.embedding(tokens))[0])  # type: ignore[operator]
    torch.testing.assert_close(model(tokens), expected)
    stacked = {name: torch.stack([p.detach(), 2 * p.detach()]) for name, p in named.items()}

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs = torch.func.functional_call(model, parameters, (tokens,))
        return torch.nn.functional.cross_entropy(outputs.reshape(-1, 7), tokens.reshape(-1))

    mapped = torch.func.vmap(torch.func.grad(loss))(stacked)
    alone = torch.func.grad(loss)({name: p[1] for name, p in stacked.items()})
    for name, gradient in alone.items():
        torch.testing.assert_close(mapped[name][1], gradient)


@pytest.mark.parametrize(("args", "words"), [({"hidden": 0}, "hidden as a whole number"), ({"width": 0}, "width as")])
def test_a_gru_that_cannot_be(args: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build("gru", Path(), (6,), 7, args)()
    with pytest.raises(ConfigError, match=r"expected sequences of shape \(L,\), got \(2, 6\)"):
        build("gru", Path(), (2, 6), 7)()
