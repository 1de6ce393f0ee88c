"""Many nodes' codes at once: bit for bit what each node's own would be decoded to."""

import pytest
import torch

from p2pfl.compress import CODECS, Codec
from p2pfl.compress.rows import project_rows
from p2pfl.core.noise import derive, root


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", [1, 33, 5000, 40_000])
def test_rows_are_projected_as_each_would_be_alone(name, size):
    codec: Codec = CODECS[name]()
    draw = torch.Generator().manual_seed(size)
    v = torch.randn(4, size, generator=draw) * torch.tensor([[1.0], [1e-3], [50.0], [0.0]])
    keys = [derive(root(7), node) for node in range(4)]
    damp = torch.tensor([1.0, 0.3, 0.8, 1.0], dtype=torch.float64)
    before = v.clone()
    heard = project_rows(codec, v, keys, damp)
    assert torch.equal(v, before)
    for row, key, share, q in zip(v, keys, damp.tolist(), heard, strict=True):
        alone = codec.encode(row, key, share)[1]
        assert torch.equal(q.view(torch.int32), alone.view(torch.int32))


def test_a_codec_without_a_form_of_its_own_is_run_row_by_row():
    class Plain:
        def project(self, v, key, damp=1.0):
            return v * damp

    v = torch.ones(2, 3)
    heard = project_rows(Plain(), v, [root(1), root(2)], torch.tensor([1.0, 0.5], dtype=torch.float64))
    assert heard.tolist() == [[1.0] * 3, [0.5] * 3]
