"""Laws of every codec: both ends hold the same q, the error is bounded, the output is bounded, `project` agrees."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from p2pfl.compress import CODECS, Codec, DeadZone, Dense, Half, Int4, Int8, LowRank, Packed, RandomK, Sign, TopK
from p2pfl.compress.vectors import rms_and_peak
from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError

KEY = root(1)
CASES: dict[str, Codec] = {
    **{name: kind() for name, kind in CODECS.items()},
    "deadzone fine": DeadZone(0.1),
    "deadzone coarse": DeadZone(3.0),
    "int8 small blocks": Int8(16),
    "topk third": TopK(0.3),
    "topk half": TopK(0.2, "float16"),
    "topk int8": TopK(0.1, "int8"),
    "topk int4": TopK(0.3, "int4"),
    "int4 small blocks": Int4(16),
    "sign small blocks": Sign(16),
    "randomk int4": RandomK(0.3, "int4"),
    "randomk all": RandomK(1.0, "float16"),
    "lowrank thrice": LowRank(2, 3),
}
CODEC = pytest.mark.parametrize("codec", CASES.values(), ids=CASES.keys())

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = hnp.arrays(np.float32, st.integers(1, 70), elements=FINITE) | hnp.arrays(
    np.float32, st.integers(1, 70), elements=st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38, -2.5, 1e-30])
)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to the bit: 0 and -0 differ."""
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


def shapes() -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(7)
    layered = rng.standard_normal(70_001) * np.repeat(rng.lognormal(sigma=2.0, size=69), 1024)[:70_001]
    spiky = np.zeros(150_000)
    spiky[rng.integers(0, 150_000, 40)] = rng.standard_normal(40)
    return [
        ("gauss", rng.standard_normal(131_077).astype(np.float32)),
        ("laplace", rng.laplace(size=65_537).astype(np.float32)),
        ("layered", layered.astype(np.float32)),
        ("spiky", spiky.astype(np.float32)),
        ("zeros", np.zeros(5000, np.float32)),
        ("equal", np.full(200_000, -1.3, np.float32)),
        ("ramp", np.arange(140_000, dtype=np.float32)),
        ("denormal", np.full(100, 1e-42, np.float32)),
        ("huge", np.full(100, 3.4e38, np.float32)),
        ("mixed range", np.array([3.4e38, 1e-45, -1.0, 0.0, -0.0], np.float32)),
        ("one", np.array([1.1], np.float32)),
    ]


SHAPES = pytest.mark.parametrize("v", [v for _, v in shapes()], ids=[name for name, _ in shapes()])


def check(codec: Codec, v: torch.Tensor, damp: float) -> torch.Tensor:
    before = v.clone()
    packed, q = codec.encode(v, KEY, damp)
    bounds = codec.bounds(v.numel())
    assert len(packed.fields) == bounds.num_fields
    assert len(packed.body) <= bounds.body_bytes
    assert q.dtype == torch.float32
    assert q.isfinite().all()
    assert same(codec.decode(packed, v.numel()), q)
    assert same(codec.project(v, KEY, damp), q)
    assert same(v, before)
    again, _ = codec.encode(v, KEY, damp)
    assert (again.fields, bytes(again.body)) == (packed.fields, bytes(packed.body))
    return q


@CODEC
@settings(max_examples=40, deadline=None)
@given(v=VECTORS, damp=st.sampled_from([1.0, 0.5, 0.1]))
def test_both_ends_and_project_agree(codec: Codec, v: np.ndarray, damp: float) -> None:
    check(codec, torch.from_numpy(v), damp)


@CODEC
@SHAPES
def test_both_ends_and_project_agree_on_long_vectors(codec: Codec, v: np.ndarray) -> None:
    check(codec, torch.from_numpy(v), 1.0)


@CODEC
@pytest.mark.parametrize("size", [1, 7, 1000, 140_000])
def test_project_maps_over_rows(codec: Codec, size: int) -> None:
    rows = torch.randn(4, size, generator=torch.Generator().manual_seed(size)) * torch.tensor(
        [[1.0], [1e-3], [50.0], [0]]
    )
    stacked = torch.func.vmap(lambda row: codec.project(row, KEY))(rows)
    for row, projected in zip(rows, stacked, strict=True):
        assert same(projected, codec.encode(row, KEY)[1])


@CODEC
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [0, 131_500])
def test_what_is_not_finite_stays_home(codec: Codec, bad: float, at: int) -> None:
    v = torch.randn(132_000)
    v[at] = bad
    with pytest.raises(ValueError, match=rf"finite.* position {at} of 132000"):
        codec.encode(v, KEY)


@CODEC
def test_other_dtypes_and_strides_are_cast(codec: Codec) -> None:
    v = torch.randn(64, dtype=torch.float64)
    strided = torch.stack([v, v], dim=1)[:, 0]
    assert same(codec.encode(strided, KEY)[1], codec.encode(v.float(), KEY)[1])
    with pytest.raises(ValueError, match="expected a vector"):
        codec.encode(torch.zeros(2, 2), KEY)
    with pytest.raises(ValueError, match="expected 1 to"):
        codec.encode(torch.zeros(0), KEY)


@settings(max_examples=100, deadline=None)
@given(v=VECTORS, c=st.sampled_from([0.1, 0.7, 1.0, 2.0]))
def test_deadzone_error_and_contraction(v: np.ndarray, c: float) -> None:
    packed, q = DeadZone(c).encode(torch.from_numpy(v), KEY)
    exponent = int(packed.fields[0])
    step, wide, error = 2.0**exponent, v.astype(np.float64), v.astype(np.float64) - q.numpy()
    inside = np.abs(wide) <= 127.5 * step
    assert (np.abs(error[inside]) <= 0.6 * step * (1 + 1e-6)).all()
    assert (np.abs(error) <= np.abs(wide)).all()
    peak = np.abs(wide).max()
    if -60 < exponent < 60 and peak <= 127 * step:
        assert np.sum(error**2) <= (1 - 5 / (9 * v.size)) * np.sum(wide**2) * (1 + 1e-6)


def test_deadzone_step_is_the_rule() -> None:
    rng = np.random.default_rng(3)
    for scale in (1e-9, 0.3, 1.0, 7e5):
        v = (rng.standard_normal(10_000) * scale).astype(np.float32)
        wanted = np.ceil(np.log2(0.7 * 0.5 * np.sqrt(np.mean(v.astype(np.float64) ** 2))))
        assert DeadZone(0.7).encode(torch.from_numpy(v), KEY, damp=0.5)[0].fields[0] == wanted
    assert DeadZone().encode(torch.ones(1000), KEY)[0].fields[0] == 0  # an exact power of two is not rounded up


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("value", [1.0, 1.1, 1.9, 1.99, 1e-9, 1e9])
def test_deadzone_is_never_silent_about_a_difference(value: float, size: int) -> None:
    v = torch.full((size,), value)
    for _ in range(60):
        v = v - DeadZone().encode(v, KEY)[1]
    assert v.abs().max() <= 1e-6 * value


@settings(max_examples=100, deadline=None)
@given(v=VECTORS)
def test_int8_error(v: np.ndarray) -> None:
    q = Int8(16).encode(torch.from_numpy(v), KEY)[1].numpy().astype(np.float64)
    for start in range(0, v.size, 16):
        block, coded = v[start : start + 16].astype(np.float64), q[start : start + 16]
        peak = np.abs(block).max()
        bound = 0.51 * peak / 127 if peak >= 2.0**-100 else peak
        assert (np.abs(block - coded) <= bound).all()


def test_what_was_decoded_stays_when_the_host_takes_its_memory_back() -> None:
    packed, q = Dense().encode(torch.tensor([1.5, -0.0, 2.0]), KEY)
    assert bytes(packed.body) == np.array([1.5, 0.0, 2.0], "<f4").tobytes()
    arrived = bytearray(packed.body)
    decoded = Dense().decode(Packed((), arrived), 3)
    assert torch.equal(decoded, q)
    original, arrived[:] = bytes(arrived), bytes(len(arrived))
    assert torch.equal(decoded, q)
    odd = memoryview(bytearray(b"." + original))[1:]
    for body in (original, odd):
        assert torch.equal(Dense().decode(Packed((), body), 3), q)


@settings(max_examples=100, deadline=None)
@given(v=VECTORS)
def test_dense_error(v: np.ndarray) -> None:
    x = torch.from_numpy(v)
    assert torch.equal(Dense().encode(x, KEY)[1], x)
    q, wide = Half().encode(x, KEY)[1].numpy().astype(np.float64), v.astype(np.float64)
    assert (np.abs(q) <= 65504.0).all()
    inside = np.abs(wide) <= 65504.0
    assert (np.abs(wide - q)[inside] <= np.maximum(2.0**-11 * np.abs(wide), 2.0**-25)[inside]).all()


@SHAPES
@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 1.0])
def test_topk_takes_the_largest(v: np.ndarray, share: float) -> None:
    codec = TopK(share)
    packed, q = codec.encode(torch.from_numpy(v), KEY)
    sent, magnitude = q.numpy() != 0, np.abs(v)
    assert packed.fields == (np.count_nonzero(sent),)
    assert sent.sum() <= codec.cap(v.size) <= max(1, 1.25 * round(share * v.size))
    assert sent.any() == v.any()
    assert np.array_equal(q.numpy()[sent], v[sent])
    if sent.any() and not sent.all():
        assert magnitude[sent].min() >= magnitude[~sent].max()


def test_topk_below_its_sample_is_exact_and_contracts() -> None:
    v = torch.randn(100_000)
    packed, q = TopK(0.01).encode(v, KEY)
    assert packed.fields == (1000,)
    assert ((v - q) ** 2).sum() <= (1 - 0.01) * (v**2).sum()


def test_topk_adds_in_place_what_it_decodes() -> None:
    v, x = torch.randn(300_000), torch.randn(300_000)
    packed, q = TopK(0.02).encode(v, KEY)
    wanted = x + q
    TopK(0.02).add_to(x, packed)
    assert torch.equal(x, wanted)


@settings(max_examples=60, deadline=None)
@given(v=VECTORS)
def test_int4_error(v: np.ndarray) -> None:
    q = Int4(16).encode(torch.from_numpy(v), KEY)[1].numpy().astype(np.float64)
    for start in range(0, v.size, 16):
        block, coded = v[start : start + 16].astype(np.float64), q[start : start + 16]
        peak = np.abs(block).max()
        bound = 0.51 * peak / 7 if peak >= 2.0**-100 else peak
        assert (np.abs(block - coded) <= bound).all()


@settings(max_examples=60, deadline=None)
@given(v=VECTORS)
def test_sign_is_the_mean_magnitude_and_contracts(v: np.ndarray) -> None:
    q = Sign(16).encode(torch.from_numpy(v), KEY)[1].numpy().astype(np.float64)
    for start in range(0, v.size, 16):
        block, coded = v[start : start + 16].astype(np.float64), q[start : start + 16]
        mean = np.abs(block).mean()
        assert np.abs(coded) == pytest.approx(mean, rel=1e-6, abs=1e-44)
        assert (coded[block < 0] <= 0).all()
        assert (coded[block >= 0] >= 0).all()
        rest, whole = np.sum((block - coded) ** 2), np.sum(block**2)
        assert rest == pytest.approx(whole - block.size * mean**2, rel=1e-5, abs=1e-6 * whole + 1e-80)


@SHAPES
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_topk_quantises_what_it_takes(v: np.ndarray, dtype: str) -> None:
    x = torch.from_numpy(v)
    exact = TopK(0.02).encode(x, KEY)[1]
    positions = exact.nonzero()[:, 0]
    q = TopK(0.02, dtype).encode(x, KEY)[1]
    assert not q[exact == 0].any()
    if len(positions):
        inner: Codec = Int8() if dtype == "int8" else Int4()
        assert same(q[positions], inner.encode(exact[positions], KEY)[1])


@pytest.mark.parametrize(("size", "share"), [(1, 0.5), (5, 1.0), (100, 0.07), (70_001, 0.01), (70_001, 0.003)])
def test_randomk_sends_one_of_each_run(size: int, share: float) -> None:
    codec, v = RandomK(share), torch.randn(size, generator=torch.Generator().manual_seed(1)) + 9.0
    packed, q = codec.encode(v, KEY)
    positions, values = codec.decode_sparse(packed, size)
    count = codec.count(size)
    assert len(positions) == count == max(1, round(share * size))
    edges = np.arange(count + 1) * size // count
    assert ((positions >= edges[:-1]) & (positions < edges[1:])).all()
    assert np.array_equal(values, v.numpy()[positions])
    assert q.nonzero()[:, 0].tolist() == positions.tolist()
    x = torch.ones(size)
    codec.add_to(x, packed)
    assert torch.equal(x, 1 + q)


def test_randomk_draws_evenly_and_contracts_in_the_mean() -> None:
    v, drawn, left, codec = torch.randn(103), np.zeros(103), 0.0, RandomK(0.1)
    for i in range(600):
        packed, q = codec.encode(v, derive(KEY, i))
        drawn[codec.decode_sparse(packed, 103)[0]] += 1
        left += float(((v - q) ** 2).sum() / (v**2).sum()) / 600
    assert abs(drawn.mean() - 600 * 10 / 103) < 1e-9
    assert drawn.min() > 25  # 60 wanted, deviation 7.3
    assert drawn.max() < 95
    assert left < 1 - 1 / 11 + 0.01


def test_keyed_codecs_follow_their_key_alone() -> None:
    v = torch.randn(1000)
    for codec in (RandomK(0.1), LowRank(2)):
        assert not same(codec.encode(v, derive(KEY, 0))[1], codec.encode(v, derive(KEY, 1))[1])


SMALLEST = 2.0**-149
"""The smallest float32 above 0: nothing is rounded more finely."""


def check_projection(codec: LowRank, v: np.ndarray) -> None:
    q, wide = codec.encode(torch.from_numpy(v), KEY)[1].numpy().astype(np.float64), v.astype(np.float64)
    noise = v.size * (2.0**-22 * np.abs(wide).max() + 4 * SMALLEST) ** 2
    assert np.sum((wide - q) ** 2) <= np.sum(wide**2) - 0.95 * np.sum(q**2) + noise


@SHAPES
@pytest.mark.parametrize("codec", [LowRank(1), LowRank(5), LowRank(3, 2)], ids=str)
def test_lowrank_is_a_projection(codec: LowRank, v: np.ndarray) -> None:
    check_projection(codec, v)


@settings(max_examples=60, deadline=None)
@given(v=VECTORS)
def test_lowrank_is_a_projection_of_anything(v: np.ndarray) -> None:
    check_projection(LowRank(2), v)


def test_lowrank_finds_a_matrix_of_its_rank() -> None:
    generator = torch.Generator().manual_seed(4)
    low = torch.randn(120, 3, generator=generator) @ torch.randn(3, 120, generator=generator)
    for noise, left in ((0.0, 2e-3), (0.1, 0.1)):
        v = (low + noise * torch.randn(120, 120, generator=generator)).reshape(-1)
        q = LowRank(4, 2).encode(v, KEY)[1]
        assert torch.linalg.vector_norm(v - q) <= left * torch.linalg.vector_norm(v)


def test_rms_does_not_depend_on_the_axis() -> None:
    rows = torch.randn(3, 100_000)
    rms, peak = torch.func.vmap(rms_and_peak)(rows)
    for i, row in enumerate(rows):
        assert rms_and_peak(row) == (rms[i], peak[i])
        assert float(rms[i]) == pytest.approx(float((row.double() ** 2).mean().sqrt()), rel=1e-12)
        assert float(peak[i]) == float(row.abs().max())


@pytest.mark.parametrize(
    "build",
    [
        lambda: DeadZone(0),
        lambda: DeadZone(float("nan")),
        lambda: Int8(100),
        lambda: Int4(8),
        lambda: Sign(0),
        lambda: RandomK(1.5),
        lambda: RandomK(0.1, "text"),  # type: ignore[arg-type]
        lambda: LowRank(65),
        lambda: LowRank(4, 0),
        lambda: TopK(0),
        lambda: TopK(0.1, "int5"),  # type: ignore[arg-type]
    ],
)
def test_impossible_parameters_are_one_line(build: object) -> None:
    with pytest.raises(ConfigError, match="expected"):
        build()  # type: ignore[operator]
