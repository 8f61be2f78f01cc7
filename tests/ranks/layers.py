"""Layers of batch normalisation, and what they compute in one process or in several."""

import torch
from torch import nn


class Doubled(nn.BatchNorm1d):
    """A layer with a forward pass of its own around that of torch."""

    def forward(self, x):
        return 2 * super().forward(x)


CASES = [
    (nn.BatchNorm2d, {}, (7, 3, 2, 4)),
    (nn.BatchNorm1d, {"affine": False, "momentum": None}, (5, 2)),
    (nn.BatchNorm3d, {"track_running_stats": False, "eps": 0.1}, (6, 2, 1, 2, 2)),
    (Doubled, {"momentum": 0.3}, (6, 2, 3)),
]
"""Each a class, its settings, and the shape of a batch, which 2 or 3 processes share."""


def given(kind, settings, shape):
    """A layer, its input and the weights of a loss, the same in every process."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layer = kind(shape[1], **settings).double()
        for parameter in layer.parameters():
            torch.nn.init.uniform_(parameter, 0.5, 2)
        x = 50 + torch.randn(shape, dtype=torch.float64) * torch.arange(1, shape[1] + 1).view(
            -1, *[1] * (len(shape) - 2)
        )
        return layer, x, torch.randn(shape, dtype=torch.float64)


def numbers(layer, x, weights):
    """Output, gradients, and gradients through the gradient, of a loss that is a mean over the batch."""
    y = layer(x)
    loss = (y.square() * weights).flatten(1).sum(1).mean()
    parameters = list(layer.parameters())
    into, *along = torch.autograd.grad(loss, [x, *parameters], create_graph=True)
    bend = torch.autograd.grad((into * len(x)).tanh().flatten(1).sum(1).mean(), [x, *parameters], allow_unused=True)
    found = {"output": y.detach(), "input": into.detach(), "input bend": bend[0].detach()}
    found |= {f"parameter {n}": each.detach().clone() for n, each in enumerate(along)}
    found |= {f"parameter bend {n}": each.detach().clone() for n, each in enumerate(bend[1:]) if each is not None}
    return found | {name: each.clone() for name, each in layer.named_buffers()}
