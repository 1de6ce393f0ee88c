"""A user's own models: frozen, constant and normalised layers; one that takes its time; one that cannot go well."""

import time

import torch
from torch import nn


def frozen(input_shape, num_classes):
    """The first layer keeps its random weights at every node."""
    first = nn.Linear(64, 64)
    for weight in first.parameters():
        weight.requires_grad_(False)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(64, num_classes))


def constant(input_shape, num_classes):
    """A layer that starts as zeros, and one whose values never change because nothing depends on them."""
    last = nn.Linear(32, num_classes)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return Idle(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), last))


class Idle(nn.Module):
    def __init__(self, used):
        super().__init__()
        self.used = used
        self.idle = nn.Parameter(torch.full((50,), 0.25))

    def forward(self, x):
        return self.used(x)


def normed(input_shape, num_classes):
    """Batch norm: its statistics travel with the weights."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, num_classes))


class Slow(nn.Sequential):
    """A large model's pace without its cost, so that a run is long beside a start of Python."""

    def __init__(self, step_s, *layers):
        super().__init__(*layers)
        self.step_s = step_s

    def forward(self, x):
        if self.training:
            time.sleep(self.step_s)
        return super().forward(x)


def slow(input_shape, num_classes, step_s=0.01):
    return Slow(step_s, nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, num_classes))


class Scaled(nn.Module):
    def __init__(self, layer, factor):
        super().__init__()
        self.layer, self.factor = layer, factor

    def forward(self, x):
        return self.layer(x) * self.factor


def steep(input_shape, num_classes):
    """Logits so large that the second step overflows, whatever a machine's rounding: no unit of it can die first."""
    return nn.Sequential(nn.Flatten(), Scaled(nn.Linear(64, num_classes), 1e20))
