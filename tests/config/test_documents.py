"""Reading, overriding, merging and writing back."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.config import dump_toml, load_network, load_node, parse_network
from p2pfl.errors import ConfigError

NETWORK = """\
format = 1
[model]
name = "task.py:net"
[train]
lr = 0.3
steps = 7
momentum = 0.8
[data]
source = "csv"
path = "shared.csv"
label = "y"
partition = { by = "shards", shards_per_node = 3 }
test_fraction = 0.3
[[nodes]]
name = "a"
key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
url = "http://127.0.0.1:9001"
"""
NODE = """\
format = 1
name = "a"
network = "../network.toml"
key_file = "key"
listen = "[::1]:9001"
out = "run"
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "network.toml").write_text(NETWORK)
    (tmp_path / "home").mkdir()
    path = tmp_path / "home" / "node.toml"
    path.write_text(NODE)
    return path


def test_paths_are_relative_to_the_file_they_stand_in(
    node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config = load_node(node)
    assert config.out == tmp_path / "home" / "run"
    assert config.key_file == tmp_path / "home" / "key"
    assert config.data.path == tmp_path / "shared.csv"
    assert config.network.model.name.folder == tmp_path
    assert config.address == ("::1", 9001)


def test_paths_on_the_command_line_are_relative_to_the_working_folder(
    node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_node(node, ["out=elsewhere"]).out == tmp_path / "elsewhere"
    assert load_network(tmp_path / "network.toml", ["model.name=task.py:net"]).model.name.folder == tmp_path


def test_a_node_overrides_training_key_by_key(node: Path) -> None:
    node.write_text(NODE + "[train]\nlr = 0.1\nepochs = 2\n")
    train = load_node(node).train
    assert (train.lr, train.momentum) == (0.1, 0.8)
    assert (train.steps, train.epochs) == (None, 2.0), "the node's way to say how long replaces the network's"
    assert train.optimizer_args == {"momentum": 0.8}


def test_an_index_is_into_the_networks_data(node: Path) -> None:
    node.write_text(NODE + "[data]\nindex = 2\n")
    data = load_node(node).data
    assert (data.index, data.source, data.label) == (2, "csv", "y")
    assert data.partition.params == {"shards_per_node": 3}


def test_a_source_of_its_own_takes_nothing_of_the_networks_source(node: Path) -> None:
    node.write_text(NODE + '[data]\nsource = "mine.py:rows"\nargs = { limit = 3 }\n')
    data = load_node(node).data
    assert (data.path, data.label, data.partition.by, data.test_fraction) == (None, None, "dirichlet", 0.3)
    assert data.source_args == {"limit": 3}
    assert data.source.folder == node.parent


def test_source_args_are_all_that_was_given(node: Path, tmp_path: Path) -> None:
    assert load_node(node).data.source_args == {"path": str(tmp_path / "shared.csv"), "label": "y"}


@pytest.mark.parametrize(
    ("override", "rounds", "hidden"),
    [
        ("pace.rounds=9", 9, None),
        ("model.args={ hidden = [4] }", 200, [4]),
        ("model.args.hidden = [4, 5]", 200, [4, 5]),
    ],
)
def test_overrides(node: Path, tmp_path: Path, override: str, rounds: int, hidden: list[int] | None) -> None:
    config = load_network(tmp_path / "network.toml", [override])
    assert (config.pace.rounds, config.model.args.get("hidden")) == (rounds, hidden)


@pytest.mark.parametrize("text", ["lockstep", '"lockstep"', "'lockstep'"])
def test_a_bare_word_is_text(node: Path, tmp_path: Path, text: str) -> None:
    assert load_network(tmp_path / "network.toml", [f"pace.mode={text}"]).pace.mode == "lockstep"


@pytest.mark.parametrize("override", ["pace", "pace.=1", "=1", "pace.rounds=[1", "seed=1\nname=2", "name.x=1", "seed="])
def test_what_is_no_override(node: Path, tmp_path: Path, override: str) -> None:
    (tmp_path / "network.toml").write_text('name = "x"\n' + NETWORK)
    with pytest.raises(ConfigError, match="--set"):
        load_network(tmp_path / "network.toml", [override])


def test_an_error_in_an_override_names_the_override(node: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--set pace\.rounds: expected an integer"):
        load_network(tmp_path / "network.toml", ["pace.rounds=few"])


def test_the_network_as_used_can_be_read_again_elsewhere(node: Path, tmp_path: Path) -> None:
    config = load_network(tmp_path / "network.toml", ["pace.rounds=9", "mix.gain=0.5"])
    copy = tmp_path / "home" / "used.toml"
    copy.write_text(dump_toml(config))
    again = load_network(copy)
    assert again.model.name == f"{tmp_path / 'task.py'}:net"
    assert dump_toml(again) == dump_toml(config)
    assert (again.pace, again.mix, again.train, again.data) == (config.pace, config.mix, config.train, config.data)


def test_the_node_as_used_can_be_read_again_elsewhere(node: Path, tmp_path: Path) -> None:
    node.write_text(NODE + "[data]\nindex = 1\n[train]\nepochs = 2\n")
    config = load_node(node, ["log_level=debug"])
    copy = tmp_path / "used.toml"
    copy.write_text(dump_toml(config))
    again = load_node(copy)
    assert dump_toml(again) == dump_toml(config)
    assert (again.train, again.data, again.out, again.key_file) == (
        config.train,
        config.data,
        config.out,
        config.key_file,
    )


plain = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(args=st.dictionaries(st.text(min_size=1, max_size=6), plain, max_size=3), lr=st.floats(1e-9, 1e3))
def test_whatever_is_dumped_is_read_back(args: dict[str, object], lr: float) -> None:
    path = Path("/nowhere/network.toml")
    first = parse_network("format = 1", path)
    object.__setattr__(first.model, "args", args)
    object.__setattr__(first.train, "lr", lr)
    again = parse_network(dump_toml(first), path)
    assert (again.model.args, again.train.lr) == (args, lr)


def test_no_torch() -> None:
    code = "import sys, p2pfl.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
