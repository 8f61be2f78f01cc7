"""Categories that start from clusters of codes: k-means, after a few steps of the autoencoder alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genprior import Batch, PlanError
from genprior_std.layers.mixture_estimates import grouped

__all__ = ["start_from_codes"]

IMAGES = 10_000
"""Training images whose codes are clustered; all of a smaller set."""
BATCH = 100
"""Images of a step."""
RATE = 1e-3
"""The learning rate of Adam."""


class _Autoencoder(Protocol):
    """What is used of a model whose code is a category and a style."""

    categories: int
    encoder: nn.Module
    decoder: nn.Module

    def codes(self, x: Tensor, *, draw: bool = False) -> tuple[Tensor, Tensor]: ...

    def reconstruction_error(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor: ...


def start_from_codes(model: _Autoencoder, draw: Callable[[int | None], Batch], steps: int) -> None:
    """Let the category of an image start as the cluster of its code, found by k-means.

    By steps of Adam, first encoder and decoder descend L_rec, and then the encoder -log q(k(x) | x), where k(x) is the
    cluster of the code [logits of q(y | x), z] of an image x after the first steps.

    Args:
        model: the model, on the device, before its first step.
        draw: gives training images, see `Model.begin`.
        steps: the number of steps of each of the two trainings.
    """
    try:
        x = draw(IMAGES).x
    except PlanError:  # there are fewer
        x = draw(None).x
    _descend([model.encoder, model.decoder], steps, len(x), lambda some: _error(model, x[some]))
    training = model.encoder.training
    model.encoder.eval()
    with torch.no_grad():
        code = torch.cat([torch.cat(model.codes(some), 1) for some in torch.split(x, 1_000)])
    model.encoder.train(training)
    cluster, _ = grouped(code.float(), model.categories)
    _descend([model.encoder], steps, len(x), lambda some: cross_entropy(model.codes(x[some])[0], cluster[some]))


def _error(model: _Autoencoder, x: Tensor) -> Tensor:
    logits, z = model.codes(x, draw=True)
    return model.reconstruction_error(x, logits.softmax(1), z)


def _descend(modules: list[nn.Module], steps: int, n: int, loss: Callable[[Tensor], Tensor]) -> None:
    """Take steps down a loss of random images, given by their indices."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    for _ in range(steps):
        some = torch.randint(n, (min(n, BATCH),), device=parameters[0].device)
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss(some), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
