"""Error feedback: nothing is lost, the buffer stays bounded, and what a codec alone would never say gets said."""

import pytest
import torch

from p2pfl.compress import CODECS, Codec, Feedback, RandomK, Sign, TopK
from p2pfl.core.noise import derive, root

KEY = root(8)
CODEC = pytest.mark.parametrize("codec", [kind() for kind in CODECS.values()], ids=list(CODECS))


def vectors(count: int, size: int = 300) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(size, generator=generator) * 10.0 ** (i % 3) for i in range(count)]


@CODEC
def test_said_and_kept_add_up_to_what_was_to_be_said(codec: Codec) -> None:
    fed = Feedback(codec)
    error, said, wanted = fed.start(300), torch.zeros(300, dtype=torch.float64), torch.zeros(300, dtype=torch.float64)
    for i, v in enumerate(vectors(30)):
        before = error.clone()
        out = fed.encode(v, error, derive(KEY, i))
        assert torch.equal(error, before)
        assert torch.equal(codec.decode(out.packed, 300), out.q)
        assert torch.allclose(out.q + out.error, v + error, rtol=0, atol=float(2e-7 * (v + error).abs().max() * 2))
        error, said, wanted = out.error, said + out.q, wanted + v
    assert torch.allclose(said + error, wanted, rtol=0, atol=1e-6 * 30 * 100 * 10)


@CODEC
def test_project_is_encode_over_nodes(codec: Codec) -> None:
    fed, v, errors = Feedback(codec), torch.stack(vectors(4)), torch.stack(vectors(4)).flip(0)
    q, after = torch.func.vmap(lambda row, error: fed.project(row, error, KEY))(v, errors)
    for i in range(4):
        out = fed.encode(v[i], errors[i], KEY)
        assert torch.equal(q[i].view(torch.int32), out.q.view(torch.int32))
        assert torch.equal(after[i].view(torch.int32), out.error.view(torch.int32))


@pytest.mark.parametrize(
    ("codec", "contraction"), [(TopK(0.1), 0.1), (RandomK(0.1), 0.1), (Sign(512), 1 / 300)], ids=str
)
def test_the_buffer_stays_bounded(codec: Codec, contraction: float) -> None:
    fed = Feedback(codec)
    error, largest = fed.start(300), 0.0
    for i, v in enumerate(vectors(150)):
        error = fed.encode(v, error, derive(KEY, i)).error
        largest = max(largest, float(torch.linalg.vector_norm(v)))
        assert torch.linalg.vector_norm(error) <= 2 * (1 - contraction) ** 0.5 / contraction * largest


def test_a_small_value_is_heard_in_the_end() -> None:
    """Top-k alone sends the same large value every round; signs alone end up wherever the largest gradients push."""
    v = torch.cat([torch.ones(5) * 10, torch.ones(45)])
    for codec in (TopK(0.1), Sign(64)):
        fed = Feedback(codec)
        error, said = fed.start(50), torch.zeros(50)
        for i in range(400):
            out = fed.encode(v, error, derive(KEY, i))
            error, said = out.error, said + out.q
        assert torch.allclose(said / 400, v, atol=0.5)
    assert not TopK(0.1).encode(v, KEY)[1][5:].any()


def test_what_is_not_finite_stays_home() -> None:
    fed = Feedback(TopK(0.5))
    with pytest.raises(ValueError, match="finite"):
        fed.encode(torch.full((4,), 3e38), torch.full((4,), 3e38), KEY)
