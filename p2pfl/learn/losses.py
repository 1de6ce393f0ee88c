"""What is made small, and how often an answer is right. Knows outputs and targets; knows no model."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> the mean loss, a scalar."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """outputs (..., classes), targets (...) int64: sequences count every position alike."""
    return functional.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(outputs.reshape(targets.shape), targets)


def default_loss(num_classes: int) -> Loss:
    """Cross-entropy for classes, squared error for numbers."""
    return cross_entropy if num_classes else squared_error


def num_right(outputs: Tensor, targets: Tensor) -> Tensor | None:
    """How many argmaxes are the target's class, over all positions; None where that means nothing."""
    if targets.is_floating_point() or outputs.shape[:-1] != targets.shape:
        return None
    return (outputs.detach().argmax(-1) == targets).sum()


def sure_of(outputs: Tensor, targets: Tensor) -> Tensor | None:
    """Sum of the probabilities that logits give to the target's class, over all positions; None as `num_right`."""
    if targets.is_floating_point() or outputs.shape[:-1] != targets.shape:
        return None
    return outputs.detach().softmax(-1).gather(-1, targets.unsqueeze(-1)).double().sum()
