"""Shakespeare's speaking roles, character by character, and a small transformer. Data and model for roles_pooled.toml
and roles_adapted.toml: the largest roles are the target, all others the source."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from p2pfl.learn.data import Source
from p2pfl.learn.text import text_file


class Block(nn.Module):
    """Causal self-attention, then two linear layers, each beside a way around (Radford et al. 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.before_attention(x)
        q, k, v = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(-3, -2) for layer in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(-3, -2).flatten(-2))
        return x + self.down(functional.gelu(self.up(self.before_feed(x))))


class Transformer(nn.Module):
    """Tokens (n, L) int64 -> scores (n, L, classes): of what follows each token."""

    def __init__(self, length: int, tokens: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, tokens)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[-1], device=x.device)
        scores: Tensor = self.head(self.norm(self.blocks(self.token(x) + self.place(places))))
        return scores


def transformer(
    input_shape: tuple[int, ...], num_classes: int, width: int = 64, layers: int = 2, heads: int = 4
) -> nn.Module:
    return Transformer(input_shape[0], num_classes, width, layers, heads)


def source(path: str, length: int = 48, target: int = 4) -> Source:
    """All roles but the `target` largest; judged by an eighth of what is held out of every role."""
    whole = text_file(Path(path), length)
    assert whole.data.groups is not None
    assert whole.test is not None
    rest = whole.data.subset((whole.data.groups >= target).nonzero()[:, 0])
    return Source(rest, whole.test.subset(torch.arange(0, len(whole.test), 8)))


def target(path: str, length: int = 48, target: int = 4, share: float = 1.0) -> Source:
    """The `target` largest roles, of each the first `share` of what it says; judged by the last fifth of each."""
    some = text_file(Path(path), length, speakers=target)
    groups = some.data.groups
    assert groups is not None
    kept = [rows[: max(1, round(share * len(rows)))] for rows in ((groups == g).nonzero()[:, 0] for g in range(target))]
    return Source(some.data.subset(torch.cat(kept)), some.test)
