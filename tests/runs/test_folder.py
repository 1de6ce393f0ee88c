"""The run folder: nothing is overwritten by accident, and what was written comes back."""

import json

import pytest
import torch

from p2pfl.config import parse_network
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError, HostError
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.models import build
from p2pfl.runs.folder import METRICS, METRICS_BEFORE, MODEL, NETWORK, STORE, SUMMARY, Metrics, RunFolder


def model(*hidden, seed=0):
    return FlatModel(build("mlp", None, (1, 8, 8), 10, {"hidden": list(hidden)}), seed, "cpu")


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    folder = RunFolder.open(tmp_path / "a" / "b", resume=False)
    assert folder.path.is_dir()
    assert folder / "x" == tmp_path / "a" / "b" / "x"


@pytest.mark.parametrize("name", [STORE, SUMMARY])
def test_a_folder_with_a_run_is_kept_unless_asked_to_resume(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="--resume"):
        RunFolder.open(tmp_path, resume=False)
    assert RunFolder.open(tmp_path, resume=True).path == tmp_path


def test_a_folder_with_something_else_is_kept(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        RunFolder.open(tmp_path, resume=False)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="cannot use the run folder"):
        RunFolder.open(tmp_path / "run", resume=False)


def test_a_model_comes_back_bit_for_bit(tmp_path):
    folder, written, read = RunFolder(tmp_path), model(5, seed=1), model(5, seed=2)
    x = written.start()
    folder.write_model(written.tensors(x), b"\1" * 32, 7)
    folder.load_model(read)
    assert torch.equal(read.vector, x)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MODEL]


def test_a_model_of_another_shape_is_refused(tmp_path):
    folder, written = RunFolder(tmp_path), model(5)
    folder.write_model(written.tensors(written.start()), bytes(32), 0)
    with pytest.raises(ConfigError, match=r"expected 1\.weight of shape"):
        folder.load_model(model(6))
    folder.write_model(model().tensors(model().start()), bytes(32), 0)
    with pytest.raises(ConfigError, match="got none"):
        folder.load_model(model(10))


def test_no_model_and_a_broken_one(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the model"):
        RunFolder(tmp_path).load_model(model(5))
    (tmp_path / MODEL).write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match="cannot read the model"):
        RunFolder(tmp_path).load_model(model(5))


def test_the_summary(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(ConfigError, match="expected a finished run"):
        folder.read_summary()
    folder.write_summary({"accuracy": 0.5})
    assert folder.read_summary() == {"accuracy": 0.5}
    (tmp_path / SUMMARY).write_text("{")
    with pytest.raises(ConfigError, match="expected a finished run"):
        folder.read_summary()


def test_the_configuration_as_used_can_be_read_again(tmp_path):
    config = parse_network('format = 1\nseed = 5\n[pace]\nrounds = 9\n[compress]\ncodec = "int8"', tmp_path / "n.toml")
    RunFolder(tmp_path).write_config(config)
    again = parse_network((tmp_path / NETWORK).read_text(), tmp_path / NETWORK)
    assert (again.seed, again.pace, again.compress) == (config.seed, config.pace, config.compress)


def test_a_folder_that_takes_no_file(tmp_path):
    folder = RunFolder(tmp_path / "gone")
    with pytest.raises(HostError, match="cannot write"):
        folder.write_summary({})
    with pytest.raises(HostError, match="cannot write"):
        Metrics(folder / METRICS, append=False)


def test_metrics_are_lines_and_go_on_where_a_run_was_cut_off(tmp_path):
    path = tmp_path / METRICS
    for append, seconds in ((False, 0.5), (True, 1.5)):
        metrics = Metrics(path, append)
        metrics.write(seconds, Emit("round", {"round": 1}))
        metrics.close()
        with path.open("ab") as file:
            file.write(b'{"seconds": 2.0, "ev')  # killed in the middle of a line
    metrics = Metrics(path, append=True)
    metrics.close()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seconds"] for line in told] == [0.5, 1.5]
    assert told[0] == {"seconds": 0.5, "event": "round", "round": 1}
    Metrics(path, append=False).close()
    assert path.read_bytes() == b""


def test_metrics_are_bounded_and_only_one_old_file_is_kept(tmp_path):
    metrics = Metrics(tmp_path / METRICS, append=False, bytes_max=200)
    for number in range(40):
        metrics.write(1.0, Emit("round", {"round": number}))
    metrics.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [METRICS_BEFORE, METRICS]
    kept = [
        json.loads(line) for name in (METRICS_BEFORE, METRICS) for line in (tmp_path / name).read_text().splitlines()
    ]
    assert [line["round"] for line in kept] == list(range(40 - len(kept), 40))
    assert all((tmp_path / name).stat().st_size <= 200 for name in (METRICS_BEFORE, METRICS))
