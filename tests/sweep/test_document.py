"""A sweep's document: what it may say, the cells it means, and one line for what it may not."""

from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.sweep.document import is_sweep, load_sweep
from p2pfl.sweep.grid import Cell, axes_of, cells_of, short_names

NETWORK = 'format = 1\n[model]\nname = "linear"\n[pace]\nmode = "lockstep"\nrounds = 4\n'
HEAD = '[sweep]\nformat = 1\nnetwork = "net/network.toml"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "net").mkdir(exist_ok=True)
    (folder / "net" / "network.toml").write_text(NETWORK)
    path = folder / "grid.toml"
    path.write_text(HEAD + text)
    return path


def cells(path: Path, *overrides: str) -> list[Cell]:
    sweep = load_sweep(path)
    return cells_of(sweep, axes_of(sweep), overrides)


def test_every_combination_with_every_seed(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'seeds = [4, 5]\n[sweep.grid]\n"topology.family" = ["ring", "star"]\ntrain.lr = [0.1, 0.2]\n'
    )
    assert is_sweep(path)
    found = cells(path)
    assert [cell.labels for cell in found[::2]] == [("ring", "0.1"), ("ring", "0.2"), ("star", "0.1"), ("star", "0.2")]
    assert [cell.seed for cell in found[:2]] == [4, 5] == [cell.config.seed for cell in found[:2]]
    assert found[-1].config.topology.family == "star"
    assert found[-1].config.train.lr == 0.2
    assert len({cell.id for cell in found}) == 8
    assert {cell.num_nodes for cell in found} == {16}
    assert short_names(axes_of(load_sweep(path))) == ["family", "lr"]


def test_an_axis_of_tables_sets_several_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
[sweep.set]
mix = { rule = "choco", gamma = 0.3 }
[sweep.grid]
method = [
    { label = "little", mix.gamma = 0.1, "pace.rounds" = 9 },
    { mix = { rule = "average" }, pace.rounds = 5 },
]
topology = [{ family = "torus" }, { family = "small-world", params = { k = 4 } }]
""",
    )
    little, _, other, small = cells(path)
    assert little.labels == ("little", "torus")
    assert (little.config.mix.rule, little.config.mix.params, little.config.pace.rounds) == ("choco", {"gamma": 0.1}, 9)
    assert other.config.mix.rule == "average"
    assert small.config.topology.params == {"k": 4}
    assert small.labels[1] == "small-world params=k=4"


def test_a_cell_is_known_by_what_its_result_depends_on(tmp_path: Path) -> None:
    text = 'name = "a"\nseeds = [1, 2]\n[sweep.grid]\n"train.lr" = [0.1]\n'
    first = cells(write(tmp_path, text))
    more = cells(write(tmp_path, 'name = "b"\nseeds = [2, 1, 3]\n[sweep.grid]\n"train.lr" = [0.2, 0.1]\n'))
    assert {cell.id for cell in first} < {cell.id for cell in more}
    dense = {cell.id for cell in first}
    assert dense.isdisjoint(cell.id for cell in cells(write(tmp_path, 'engine = "events"\n' + text)))
    assert dense.isdisjoint(cell.id for cell in cells(write(tmp_path, text), "pace.rounds=5"))


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    (found,) = cells(write(tmp_path, '[sweep.set]\n"topology.file" = "graph.toml"\n'))
    assert found.config.topology.file == tmp_path / "graph.toml"


REFUSED = [
    ("engin = 1\n", "sweep.engin: unknown key; did you mean sweep.engine?"),
    ('columns = ["acuracy"]\n', "unknown column 'acuracy'; did you mean accuracy?"),
    ('[sweep.grid]\n"toplogy.family" = ["ring"]\n', "toplogy.family: unknown key; did you mean topology.family?"),
    ('[sweep.grid]\n"train.lrr" = [1]\n', "train.lrr: unknown key; did you mean train.lr?"),
    ('[sweep.grid]\n"train.lr" = [-1.0]\n', "train.lr: expected a number from"),
    ('[sweep.grid]\n"train.lr" = 0.1\n', "expected a list of 1 to 256 values, got 0.1"),
    ('[sweep.grid]\n"train.lr" = [0.1, 0.1]\n', "expected different values, got '0.1' twice"),
    ('[sweep.grid]\n"train.lr" = [{ label = "a" }]\n', "train.lr: expected"),
    ("[sweep.grid]\nseed = [1]\n", "seeds are listed as sweep.seeds"),
    ('[sweep.grid]\na = [{ label = "a" }, { label = "b" }]\n', "expected different cells"),
    ("seeds = []\n", "seeds: expected 1 to 1000 different integers"),
    ('[sweep.set]\n"pace.mode" = "async"\n', "the dense engine is lockstep"),
    ("[pace]\nrounds = 1\n", "pace: unknown key; what all cells change belongs under [sweep.set]"),
    ("[sweep.world]\nlatency = 1\n", "did you mean sweep.world.latency_ms?"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_one_line_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        cells(write(tmp_path, text))
    assert words in str(refused.value)
    assert "grid.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_too_many_cells(tmp_path: Path) -> None:
    values = ", ".join(str(n) for n in range(1, 101))
    with pytest.raises(ConfigError, match="at most 4096 cells, got 10000"):
        cells(write(tmp_path, f'[sweep.grid]\n"train.steps" = [{values}]\n"pace.rounds" = [{values}]\n'))


def test_no_file(tmp_path: Path) -> None:
    assert not is_sweep(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read"):
        load_sweep(tmp_path / "none.toml")
