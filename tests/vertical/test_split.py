"""Cut in pieces, a network learns what it learns whole."""

import pytest
import torch
from torch import Tensor, nn

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.vertical.split.nets import Bottom, Net, Part, Top, learn_top, mlp, pack_part, row_losses, unpack_part


def parts() -> tuple[Bottom, Net, Tensor, Tensor, Tensor]:
    bottom = Bottom(Net(lambda: mlp(4, 6, 3), root(1), 0.01), lambda rows: rows)
    top = Net(lambda: Top(2, 5, (2, 3), 4), root(2), 0.01)
    draw = torch.Generator().manual_seed(3)
    own, theirs = torch.randn(16, 2, generator=draw), torch.randn(16, 4, generator=draw)
    return bottom, top, own, theirs, (own[:, 0] + theirs[:, 0] > 0).long()


def test_the_gradients_of_a_cut_network_are_those_of_the_whole() -> None:
    bottom, top, own, theirs, y = parts()
    b, t = bottom.net.start(), top.start()
    done = learn_top(top, t, own, [bottom.embed(b, theirs)], y)
    (gradient,), loss = done.gradients, done.loss
    xb, xt = b.x.clone().requires_grad_(), t.x.clone().requires_grad_()
    whole = row_losses(top.run(xt, own, bottom.net.run(xb, theirs)), y).mean()
    gb, gt = torch.autograd.grad(whole, [xb, xt])
    assert loss == pytest.approx(float(whole.detach()), abs=1e-6)
    assert torch.allclose(bottom.learn(b, theirs, gradient).x, bottom.net.step(b, gb).x, atol=1e-6)
    after = learn_top(top, t, own, [bottom.embed(b, theirs)], y).part
    assert torch.allclose(after.x, top.step(t, gt).x, atol=1e-6)


def test_steps_lower_the_loss() -> None:
    bottom, top, own, theirs, y = parts()
    b, t, losses = bottom.net.start(), top.start(), []
    for _ in range(150):
        done = learn_top(top, t, own, [bottom.embed(b, theirs)], y)
        t, (gradient,), loss = done.part, done.gradients, done.loss
        b = bottom.learn(b, theirs, gradient)
        losses.append(loss)
    assert losses[-1] < 0.5 * losses[0]


def test_a_label_holder_without_features_has_a_top_alone() -> None:
    top = Net(lambda: Top(0, 5, (2, 3), 0), root(2), 0.01)
    assert top.run(top.start().x, torch.zeros(4, 0), torch.zeros(4, 3)).shape == (4,)


def test_a_part_packs_and_goes_on_where_it_was() -> None:
    bottom, _, _, theirs, _ = parts()
    part = bottom.learn(bottom.net.start(), theirs, torch.ones(16, 3))
    again = unpack_part(pack_part(part), bottom.net.start())
    ahead, behind = (bottom.learn(p, theirs, torch.ones(16, 3)).x for p in (part, again))
    assert torch.equal(ahead, behind)


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_what_is_no_part_is_refused_in_one_line(cut: int) -> None:
    start = Net(lambda: mlp(4, 6, 3), root(1), 0.01).start()
    with pytest.raises(ConfigError, match="saved part"):
        unpack_part(pack_part(start)[:cut], start)


def test_a_part_of_another_net_is_refused() -> None:
    start = Net(lambda: nn.Linear(2, 2), root(1), 0.01).start()
    with pytest.raises(ConfigError, match="expected a saved part of 6 weights"):
        unpack_part(pack_part(Part(torch.zeros(9), start.opt)), start)
