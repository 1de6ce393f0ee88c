"""Named tensors in one flat order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core.limits import PARAMS_MAX
from p2pfl.core.vectors import Group, ParamSchema, ParamSpec

SCHEMA = ParamSchema(
    (ParamSpec("a", (2, 3), "weights"), ParamSpec("s", (), "weights"), ParamSpec("m", (4,), "buffers"))
)
shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


def test_sizes_and_groups():
    assert SCHEMA.size == 11
    assert SCHEMA.sizes == [6, 1, 4]
    assert SCHEMA.groups == (Group("weights", 0, 7), Group("buffers", 7, 11))
    assert [group.size for group in SCHEMA.groups] == [7, 4]


def test_a_group_without_values_is_not_there():
    only = ParamSchema((ParamSpec("m", (4,), "buffers"),))
    assert only.groups == (Group("buffers", 0, 4),)


@given(shapes, st.integers(0, 5))
def test_unflatten_gives_views_that_cover_the_vector_in_order(shapes, cut):
    params = [ParamSpec(f"p{i}", s, "weights" if i < cut else "buffers") for i, s in enumerate(shapes)]
    schema = ParamSchema(tuple(params))
    x = torch.arange(schema.size, dtype=torch.float64)
    views = schema.unflatten(x)
    assert [tuple(view.shape) for view in views.values()] == shapes
    assert torch.equal(torch.cat([view.reshape(-1) for view in views.values()]), x)
    next(iter(views.values())).reshape(-1)[0] = -1.0
    assert x[0] == -1.0


def test_gradients_flow_through_unflatten():
    x = torch.ones(11, requires_grad=True)
    SCHEMA.unflatten(x)["m"].sum().backward()
    assert x.grad.tolist() == [0.0] * 7 + [1.0] * 4


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(RuntimeError):
        SCHEMA.unflatten(torch.zeros(12))


def test_the_digest_of_version_1():
    assert SCHEMA.digest.hex() == "9c3f2bf1bfa8896964b4322cae63fda1a1e90ce0b69893920e82fc03eda6d57f"


def test_the_digest_tells_schemas_apart():
    params = SCHEMA.params
    others = [
        params[:2],
        (params[1], params[0], params[2]),
        (ParamSpec("b", (2, 3), "weights"), *params[1:]),
        (ParamSpec("a", (3, 2), "weights"), *params[1:]),
        (ParamSpec("a", (6,), "weights"), *params[1:]),
        (*params[:2], ParamSpec("m", (4,), "weights")),
    ]
    assert len({ParamSchema(tuple(other)).digest for other in [params, *others]}) == 7


def test_weights_come_first():
    with pytest.raises(ValueError, match="groups must come in the order answers, weights, buffers"):
        ParamSchema((ParamSpec("m", (4,), "buffers"), ParamSpec("a", (2,), "weights")))


@pytest.mark.parametrize(("size", "is_fine"), [(0, False), (1, True), (PARAMS_MAX, True), (PARAMS_MAX + 1, False)])
def test_the_size_at_its_bounds_and_one_past_them(size, is_fine):
    params = (ParamSpec("a", (size,), "weights"),)
    if is_fine:
        assert ParamSchema(params).size == size
    else:
        with pytest.raises(ValueError, match=f"expected 1 to {PARAMS_MAX} values in a model, got {size}"):
            ParamSchema(params)


def test_a_model_without_tensors_is_refused():
    with pytest.raises(ValueError, match="got 0"):
        ParamSchema(())
