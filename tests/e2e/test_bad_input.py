"""What a person may get wrong, at the command line: one line that says what was expected and what came, and exit 2."""

import socket
from pathlib import Path

import numpy as np
import pytest

from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.runs.local import free_ports
from p2pfl.wire import keyfile

SMALL = ("pace.rounds=3", "model.args.hidden=[8]", "pace.gather_s=0.1")


@pytest.fixture
def trial(tmp_path):
    """A network of three nodes; `trial / "nodes" / "n0" / "node.toml"` is the document that the tests start."""
    write_trial(tmp_path / "trial", free_ports(3), "ring", SAMPLES["digits"], SMALL)
    return tmp_path / "trial"


@pytest.fixture
def refused(capsys):
    """Runs a command; its exit code must be 2 and its only words one line, which is returned."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert code == 2, shown
        assert shown.out == ""
        assert shown.err.startswith("error: ")
        assert shown.err.count("\n") == 1, shown.err
        assert "Traceback" not in shown.err
        return shown.err

    return run


def home(trial):
    return trial / "nodes" / "n0"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def start(refused, trial, *more):
    return refused("node", "--config", home(trial) / "node.toml", "--quiet", *more)


# ------------------------------------------------------------------------------------------------- documents


def test_no_document(refused, tmp_path):
    assert "cannot read" in refused("node", "--config", tmp_path / "node.toml")
    assert "cannot read" in refused("sim", tmp_path / "network.toml")


def test_no_network_document(refused, trial):
    (trial / "network.toml").unlink()
    assert "network.toml" in start(refused, trial)


@pytest.mark.parametrize("text", ["", "format = ", "\0", "format = 2", "[[name]]\n" * 3], ids=repr)
def test_a_malformed_document(refused, trial, text):
    (home(trial) / "node.toml").write_text(text)
    assert "expected" in start(refused, trial)


def test_a_document_that_is_not_text(refused, trial):
    (home(trial) / "node.toml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in start(refused, trial)


def test_an_unknown_key_and_the_nearest(refused, trial):
    change(trial / "network.toml", "rounds =", "ronds =")
    line = start(refused, trial)
    assert "ronds" in line
    assert "rounds" in line


@pytest.mark.parametrize("item", ["train.lr=much", "train.lr=-1", "train.lr=1e6", "nothing", "train.optimiser=sgd"])
def test_a_wrong_override(refused, trial, item):
    assert item.partition("=")[0] in start(refused, trial, "--set", item)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "mlp"', 'name = "mpl"', "mlp"),
        ('codec = "deadzone"', 'codec = "deadzoen"', "deadzone"),
        ('rule = "pairwise"', 'rule = "pairwize"', "pairwise"),
        ('source = "digits"', 'source = "digtis"', "digits"),
        ('family = "ring"', 'family = "rnig"', "ring"),
    ],
)
def test_an_unknown_name_and_the_nearest(refused, trial, old, new, named):
    change(trial / "network.toml", old, new)
    line = start(refused, trial)
    assert new.split('"')[1] in line
    assert named in line


def test_a_file_of_ones_own_that_is_not_there(refused, trial):
    change(trial / "network.toml", 'name = "mlp"', 'name = "nowhere.py:model"')
    assert "nowhere.py" in start(refused, trial)


def test_a_codec_parameter_out_of_range(refused, trial):
    change(trial / "network.toml", 'codec = "deadzone"', 'codec = "deadzone"\nc = 1000.0')
    assert "c from" in start(refused, trial)


# ------------------------------------------------------------------------------------------------- keys


def test_a_key_that_others_may_read(refused, trial):
    (home(trial) / "key").chmod(0o640)
    line = start(refused, trial)
    assert "key" in line
    assert "chmod 600" in line


def test_no_key(refused, trial):
    (home(trial) / "key").unlink()
    assert "key" in start(refused, trial)


def test_a_key_that_is_none(refused, trial):
    (home(trial) / "key").write_text("secret")
    (home(trial) / "key").chmod(0o600)
    assert "key" in start(refused, trial)


def test_another_nodes_key(refused, trial):
    (home(trial) / "key").unlink()
    other = keyfile.create(home(trial) / "key")
    line = start(refused, trial)
    assert "n0" in line
    assert other.node.hex() in line


# ------------------------------------------------------------------------------------------------- the machine


def test_a_port_in_use(refused, trial):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = start(refused, trial, "--set", f"listen={address!r}".replace("'", '"'))
    assert address in line
    assert "uses this port" in line


def test_a_run_folder_that_holds_something(refused, trial):
    (home(trial) / "run").mkdir()
    (home(trial) / "run" / "thesis.txt").write_text("dear")
    assert "--out" in start(refused, trial)


def test_a_run_folder_that_is_a_file(refused, trial):
    (home(trial) / "run").write_text("dear")
    assert "run" in start(refused, trial)


def test_a_run_folder_of_another_recipe(refused, tmp_path, capsys):
    trial = tmp_path / "lonely"
    write_trial(trial, free_ports(1), "ring", SAMPLES["digits"], SMALL)
    assert main(["node", "--config", str(home(trial) / "node.toml"), "--quiet", "--json"]) == 0
    capsys.readouterr()
    change(trial / "network.toml", "rounds = 3", "rounds = 4")
    assert "recipe" in start(refused, trial, "--resume")
    assert "--resume" in start(refused, trial)


def test_no_such_device(refused, trial):
    assert "cuda:99" in start(refused, trial, "--device", "cuda:99")


# ------------------------------------------------------------------------------------------------- data


def own_data(trial, source, path):
    change(home(trial) / "node.toml", "index = 0", f'source = "{source}"\npath = "{path}"')


def test_a_data_file_that_is_not_there(refused, trial):
    own_data(trial, "npz", "patients.npz")
    assert "patients.npz" in start(refused, trial)


def test_data_of_another_shape(refused, trial):
    rng = np.random.default_rng(0)
    file = home(trial) / "patients.npz"
    np.savez(file, x=rng.normal(size=(50, 7)).astype(np.float32), y=rng.integers(0, 10, 50))
    own_data(trial, "npz", "patients.npz")
    line = start(refused, trial)
    assert "7" in line


def test_data_that_is_not_finite(refused, trial):
    x = np.full((50, 1, 8, 8), np.nan, np.float32)
    np.savez(home(trial) / "patients.npz", x=x, y=np.arange(50) % 10)
    own_data(trial, "npz", "patients.npz")
    assert "patients.npz" in start(refused, trial)


def test_a_file_that_is_no_data(refused, trial):
    (home(trial) / "patients.npz").write_text("1,2,3")
    own_data(trial, "npz", "patients.npz")
    assert "patients.npz" in start(refused, trial)


def test_a_share_that_there_is_none_of(refused, trial):
    assert "data.index" in start(refused, trial, "--set", "data.index=3")


# ------------------------------------------------------------------------------------------------- graphs

EDGES = 'nodes = ["n0", "n1", "n2"]\nedges = {}\n'


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ('[["n0", "n1"]]', "n2"),
        ('[["n0", "n0"], ["n0", "n1"], ["n1", "n2"]]', "n0"),
        ('[["n0", "n1"], ["n1", "n9"], ["n1", "n2"]]', "n9"),
    ],
    ids=["disconnected", "self-loop", "unknown node"],
)
def test_a_graph_that_cannot_be_used(refused, trial, edges, said):
    (trial / "graph.toml").write_text(EDGES.format(edges))
    change(trial / "network.toml", 'family = "ring"', 'file = "graph.toml"')
    line = start(refused, trial)
    assert said in line
    assert "graph.toml" in line


# ------------------------------------------------------------------------------------------------- other commands


def test_a_status_of_nobody(refused):
    assert "does not answer" in refused("status", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert "http" in refused("status", "somewhere")


def test_a_prediction_without_a_model(refused, tmp_path):
    assert "model" in refused("predict", tmp_path, tmp_path / "x.csv")


def test_speeds_that_are_none(refused, trial):
    assert "--speeds" in refused("sim", trial / "network.toml", "--speeds", "1,fast")
