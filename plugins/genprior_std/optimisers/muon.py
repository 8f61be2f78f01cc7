"""Muon: orthogonalised momentum for matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.adamw import adamw

from genprior import Optimiser
from genprior_std.optimisers.scheduled import Decay, ScheduledConfig

__all__ = ["Muon"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the Newton-Schulz iteration X <- a X + b X X^T X + c (X X^T)^2 X, from the authors' code."""
ITERATIONS = 5


class Muon(Optimiser):
    """Muon for weights of two and more axes, AdamW for all others, such as biases and the scales of a normalisation.

    The momentum of a weight [rows, columns] is replaced by the nearest matrix with orthogonal rows or columns, found
    approximately by five Newton-Schulz iterations in bf16, and multiplied by 0.2 sqrt(max(rows, columns)), so that an
    entry moves about as far as with AdamW: both sorts of parameters share the learning rate and the weight decay. A
    convolution's weight is taken as a matrix with a row for each entry of its first axis.

    References:
        Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; Liu et al., "Muon is scalable
        for LLM training", 2025, section 2.2, for the factor. With matrices alone it is `torch.optim.Muon(...,
        adjust_lr_fn="match_rms_adamw")` of PyTorch 2.9.
    """

    name = "muon"

    class Config(ScheduledConfig):
        """Settings of Muon."""

        weight_decay: float = Field(0.01, ge=0)
        """The share of a parameter that a step takes away, divided by the learning rate."""
        momentum: Decay = 0.95
        """Decay of the average of gradients that is orthogonalised, with Nesterov's look-ahead."""
        betas: tuple[Decay, Decay] = (0.9, 0.999)
        """Decay of AdamW's first and second moments."""
        eps: float = Field(1e-8, gt=0)
        """The number that AdamW adds to the root of the second moment."""

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """Both methods as one optimiser."""
        return _MuonAndAdamW(parameters.values(), self.config)


class _MuonAndAdamW(torch.optim.Optimizer):
    """Muon's steps for the first group, the matrices, and AdamW's for the second."""

    def __init__(self, parameters: Iterable[nn.Parameter], config: Any) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in parameters:
            (matrices if parameter.ndim >= 2 else others).append(parameter)
        settings = {"lr": config.lr, "weight_decay": config.weight_decay}
        super().__init__([{"params": matrices}, {"params": others}], settings)
        self._momentum, self._betas, self._eps = config.momentum, config.betas, config.eps

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Muon's step of the matrices, then AdamW's of the others."""
        matrices, others = self.param_groups
        for parameter in matrices["params"]:
            if parameter.grad is not None:
                self._orthogonal_step(parameter, parameter.grad, matrices["lr"], matrices["weight_decay"])
        trained = [parameter for parameter in others["params"] if parameter.grad is not None]
        for parameter in trained:
            if not self.state[parameter]:
                moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
                self.state[parameter] = {"step": torch.zeros(()), **moments}
        adamw(
            trained,
            [parameter.grad for parameter in trained],
            [self.state[parameter]["exp_avg"] for parameter in trained],
            [self.state[parameter]["exp_avg_sq"] for parameter in trained],
            [],
            [self.state[parameter]["step"] for parameter in trained],
            foreach=True,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=others["lr"],
            weight_decay=others["weight_decay"],
            eps=self._eps,
            maximize=False,
        )

    def _orthogonal_step(self, parameter: nn.Parameter, gradient: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"]
        average.lerp_(gradient, 1 - self._momentum)
        update = orthogonal(gradient.lerp(average, self._momentum).flatten(1))
        parameter.mul_(1 - lr * weight_decay)
        parameter.add_(update.view(parameter.shape), alpha=-lr * 0.2 * math.sqrt(max(update.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T, bf16 [rows, columns]: singular values of 0.7 to 1.2."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(dtype=torch.bfloat16, copy=True)
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).contiguous()
