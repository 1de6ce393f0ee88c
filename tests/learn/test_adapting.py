"""How a model begins: checkpoints, patterns, adapters, freezing. What does not fit is one line that says what."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from p2pfl.errors import ConfigError
from p2pfl.learn.adapters import Adapters
from p2pfl.learn.adapting import Beginning, prepared
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.models import cnn, mlp
from p2pfl.learn.patterns import matched, matches
from p2pfl.learn.warm import MODEL, read_tensors


def net(classes=3):
    return mlp((1, 4, 4), classes, hidden=(6,))


def conv():
    return cnn((3, 8, 8), 4, channels=(5, 6), hidden=7, norm="batch")


def flat(begin=None, make=net, seed=1, dtype=torch.float64):
    return FlatModel(prepared(make, begin or Beginning()), seed, "cpu", dtype)


# ------------------------------------------------------------------------------------------------ patterns


@pytest.mark.parametrize("pattern", ["body.0.weight", "body.0", "body", "body.*", "*.weight", "bod?", "*"])
def test_a_pattern_means_a_parameter_or_a_module_it_lies_in(pattern):
    assert matches("body.0.weight", pattern)


@pytest.mark.parametrize("pattern", ["head", "body.1", "weight", "ody", ""])
def test_and_nothing_else(pattern):
    assert not matches("body.0.weight", pattern)


def test_a_pattern_that_means_nothing_is_an_error_that_says_what_there_is():
    with pytest.raises(ConfigError, match=r"model\.share: 'haed' matches nothing; there are: body\.weight, head\.bias"):
        matched(["body.weight", "head.bias"], ["body", "haed"], "model.share")


# ------------------------------------------------------------------------------------------------ warm start


@pytest.mark.parametrize("form", ["safetensors", "torch", "nested", "folder", "network's folder"])
def test_a_model_begins_as_its_checkpoint_whatever_wrote_it(tmp_path, form):
    source = flat(make=conv, seed=5, dtype=torch.float32)
    tensors = source.tensors(source.start())
    match form:
        case "safetensors":
            save_file(tensors, path := tmp_path / "m.safetensors")
        case "torch":
            torch.save(source.module.state_dict(), path := tmp_path / "m.pt")
        case "nested":
            torch.save({"epoch": 3, "state_dict": tensors}, path := tmp_path / "m.pt")
        case "folder":
            save_file(tensors, (path := tmp_path) / MODEL)
        case _:
            (tmp_path / "n0").mkdir()
            save_file(tensors, (path := tmp_path) / "n0" / MODEL)
    begun = flat(Beginning(start=path), conv, seed=2, dtype=torch.float32)
    assert torch.equal(begun.start(), source.start())
    assert begun.start_digest() == source.start_digest()


def test_what_is_fresh_begins_anew_and_all_else_does_not(tmp_path):
    source = flat(seed=5)
    torch.save(source.module.state_dict(), path := tmp_path / "m.pt")
    begun = flat(Beginning(start=path, fresh=("3",)), lambda: net(7), seed=2)
    plain = flat(make=lambda: net(7), seed=2)
    assert torch.equal(begun.module[1].weight, source.module[1].weight)
    assert torch.equal(begun.module[3].weight, plain.module[3].weight)


def test_a_checkpoint_of_another_shape(tmp_path):
    torch.save(net().state_dict(), path := tmp_path / "m.pt")
    with pytest.raises(
        ConfigError, match=r"expected 3\.weight of shape \(7, 6\), got \(3, 6\); name it in model.fresh"
    ):
        flat(Beginning(start=path), lambda: net(7))


def test_a_checkpoint_of_another_model(tmp_path):
    torch.save(conv().state_dict(), path := tmp_path / "m.pt")
    with pytest.raises(ConfigError, match=r"expected 1\.weight of shape \(6, 16\), got \(5,\)"):
        flat(Beginning(start=path))
    torch.save({"odd": torch.ones(2)}, path)
    with pytest.raises(ConfigError, match=r"expected 1\.weight of shape \(6, 16\), got none; it has odd"):
        flat(Beginning(start=path))


def test_a_checkpoint_that_is_not_finite(tmp_path):
    state = net().state_dict()
    state["1.bias"][0] = float("nan")
    torch.save(state, path := tmp_path / "m.pt")
    with pytest.raises(ConfigError, match=r"expected 1\.bias as finite numbers"):
        flat(Beginning(start=path))


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    torch.save(net(), path := tmp_path / "m.pt")  # a whole module: its class would be imported
    with pytest.raises(ConfigError, match=r"what torch\.save wrote of a state_dict and nothing else"):
        read_tensors(path)


@pytest.mark.parametrize("content", [b"", b"no", b"\0" * 64])
@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_files_that_are_no_checkpoints(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="cannot read the model"):
        read_tensors(tmp_path / name)


def test_folders_without_a_model(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a finished run's folder with model\.safetensors"):
        read_tensors(tmp_path)
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        read_tensors(tmp_path / "nowhere")


def test_fresh_without_a_start():
    with pytest.raises(ConfigError, match=r"model\.fresh: names what is not taken from model\.start"):
        flat(Beginning(fresh=("3",)))


# ------------------------------------------------------------------------------------------------ freezing


def test_what_is_frozen_is_not_in_the_vector_but_in_the_digest():
    one, other = flat(Beginning(freeze=("1",)), seed=1), flat(Beginning(freeze=("1",)), seed=1)
    assert [spec.name for spec in one.schema.params] == ["3.weight", "3.bias"]
    assert one.start_digest() == other.start_digest()
    with torch.no_grad():
        moved = net()
        moved.load_state_dict(flat().module.state_dict())
        moved[1].weight.add_(1)
    assert flat(Beginning(freeze=("1",)), lambda: moved).start_digest() != one.start_digest()


def test_freezing_everything_or_nothing():
    with pytest.raises(ConfigError, match="expected something left to learn"):
        flat(Beginning(freeze=("*",)))
    with pytest.raises(ConfigError, match=r"model\.freeze: 'backbone\.\*' matches nothing; there are: 1\.weight"):
        flat(Beginning(freeze=("backbone.*",)))


# ------------------------------------------------------------------------------------------------ adapters


@pytest.mark.parametrize("make", [net, conv, lambda: nn.Sequential(nn.Conv1d(3, 4, 2, groups=1), nn.Flatten())])
def test_an_adapted_model_begins_as_the_model_itself(make):
    shape = {net: (2, 1, 4, 4), conv: (2, 3, 8, 8)}.get(make, (2, 3, 5))
    x = torch.rand(shape, dtype=torch.float64)
    plain, adapted = flat(make=make), flat(Beginning(adapters=Adapters(2)), make)
    assert torch.equal(plain.module(x), adapted.module(x))
    travels = {spec.name.rpartition(".")[2] for spec in adapted.schema.params if spec.group == "weights"}
    assert travels == {"adapter_a", "adapter_b"}


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.floats(0.5, 8), st.integers(0, 99))
def test_merging_changes_no_output(rank, alpha, seed):
    """W + (alpha / r) B A in the plain model is what the adapted one computes, for any A and B."""
    for make, shape in ((net, (3, 1, 4, 4)), (conv, (3, 3, 8, 8))):
        adapted = flat(Beginning(adapters=Adapters(rank, alpha)), make)
        draw = torch.Generator().manual_seed(seed)
        moved = adapted.start() + torch.randn(adapted.schema.size, dtype=torch.float64, generator=draw).abs()
        merged = adapted.tensors(moved)
        plain = make().double()
        plain.load_state_dict(merged)
        x = torch.rand(shape, dtype=torch.float64, generator=draw)
        adapted.set_training(False)
        assert torch.allclose(plain.eval()(x), adapted.module(x), rtol=1e-4, atol=1e-4)  # a checkpoint is float32


def test_an_adapted_model_takes_a_merged_checkpoint_back(tmp_path):
    adapted = flat(Beginning(adapters=Adapters(2)))
    merged = adapted.tensors(adapted.start() + 0.1)
    adapted.adopt(merged, tmp_path)
    again = adapted.tensors(adapted.read())
    assert all(torch.equal(tensor, again[name]) for name, tensor in merged.items())


def test_a_head_may_be_learned_whole_beside_adapters():
    model = flat(Beginning(adapters=Adapters(2, also=("3",))))
    assert [spec.name for spec in model.schema.params] == ["1.adapter_a", "1.adapter_b", "3.weight", "3.bias"]


def test_adapters_that_fit_nothing():
    with pytest.raises(ConfigError, match=r"model\.adapters\.layers: 'attn' matches no linear or convolution layer"):
        flat(Beginning(adapters=Adapters(2, layers=("attn",))))
    with pytest.raises(ConfigError, match=r"model\.adapters\.also: 'head' matches nothing"):
        flat(Beginning(adapters=Adapters(2, also=("head",))))
    with pytest.raises(ConfigError, match=r"expected at most 3, the rank of 3\.weight, got 4"):
        flat(Beginning(adapters=Adapters(4)))


def test_a_module_that_computes_otherwise_with_its_weight_gets_no_adapter():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    with pytest.raises(ConfigError, match="matches no linear or convolution layer of none"):
        FlatModel(prepared(lambda: attention, Beginning(adapters=Adapters(1))), 0, "cpu")


def test_a_layer_may_be_the_whole_model():
    model = FlatModel(prepared(lambda: nn.Linear(4, 3), Beginning(adapters=Adapters(1))), 0, "cpu")
    assert [spec.name for spec in model.schema.params] == ["adapter_a", "adapter_b"]
