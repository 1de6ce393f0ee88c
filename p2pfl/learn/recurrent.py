"""A small recurrent model for sequences of tokens. Knows tokens and gates; knows no text.

    r = sigmoid(Wr e + Ur h),  u = sigmoid(Wu e + Uu h),  n = tanh(Wn e + r * (Un h + bn)),  h' = (1 - u) n + u h

Source: Cho et al. 2014, in the form of torch.nn.GRU. Written with plain tensor operations rather than that module,
whose fused kernel `torch.func.vmap` cannot map over nodes; the products with all inputs are one, outside the loop.
"""

import torch
from torch import Tensor, nn

from p2pfl.errors import ConfigError


class GRU(nn.Module):
    """Tokens (n, L) int64 -> scores (n, L, classes): of what follows each token."""

    def __init__(self, tokens: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.inputs = nn.Linear(width, 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden)
        self.head = nn.Linear(hidden, tokens)
        self.hidden = hidden

    def forward(self, x: Tensor) -> Tensor:
        given = self.inputs(self.embedding(x)).unbind(-2)
        h = given[0].new_zeros((*given[0].shape[:-1], self.hidden))
        states = []
        for gates in given:
            reset, update, new = gates.split(self.hidden, -1)
            reset_h, update_h, new_h = self.recurrent(h).split(self.hidden, -1)
            keep = torch.sigmoid(update + update_h)
            fresh = torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h)
            h = fresh + keep * (h - fresh)
            states.append(h)
        scores: Tensor = self.head(torch.stack(states, -2))
        return scores


def gru(input_shape: tuple[int, ...], num_classes: int, width: int = 32, hidden: int = 96) -> nn.Module:
    """For sequences of tokens (L,): an embedding of `width`, gated recurrent units, a score per token and place."""
    for option, size in (("width", width), ("hidden", hidden)):
        if not isinstance(size, int) or size < 1:
            raise ConfigError(f"gru: expected {option} as a whole number above 0, got {size}")
    if len(input_shape) != 1:
        raise ConfigError(f"gru: expected sequences of shape (L,), got {input_shape}")
    return GRU(num_classes, width, hidden)
