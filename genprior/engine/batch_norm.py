"""Batch normalisation by the statistics of the whole batch that several ranks share."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genprior.engine.ranks import rank, sum_over_ranks, world

__all__ = ["synchronise"]


def synchronise(model: nn.Module, share: float) -> int:
    """Let every layer of batch normalisation take its statistics from the slices of all ranks, while training.

    Layers stay the objects that they are, with their parameters and running averages; only their class changes, to a
    subclass of it. `torch.nn.SyncBatchNorm` replaces layers, needs GPUs, and takes equal slices for granted.

    Args:
        model: the module whose layers change.
        share: this rank's share of the images of a batch, by which its gradients are weighted.

    Returns:
        How many layers there are.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        kind: Any = type(layer)
        layer.__class__ = _synchronised(kind)
        layer._share = share  # type: ignore[assignment]
    return len(layers)


class _Synchronised(_BatchNorm):
    """Normalises by mean and variance over all ranks while training, and is the layer as it was in evaluation."""

    _share: float

    def forward(self, x: Tensor) -> Tensor:
        """(x - mean) / sqrt(var + eps) * weight + bias of x [n, c, ...], in at least single precision inside."""
        by_batch = self.training or self.running_mean is None
        if not by_batch or world() == 1:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        mean, variance, count = _moments(x, self._share)
        self._remember(mean.detach(), variance.detach(), count)
        each = (1, -1, *(1,) * (x.dim() - 2))
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        y = (x.to(mean.dtype) - mean.view(each)) * scale.view(each)
        return (y if self.bias is None else y + self.bias.view(each)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if not (self.training and self.track_running_stats) or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum: Any = self.momentum
        if momentum is None and self.num_batches_tracked is not None:
            momentum = 1 / self.num_batches_tracked.to(mean.dtype)
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


def _moments(x: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [c], biased variance [c] and count [] of x [n, c, ...] over all ranks, in one message.

    The moments of the slices are combined, which is exact also where the mean is large beside the deviation.
    """
    dims = [d for d in range(x.dim()) if d != 1]
    wide = x if x.dtype == torch.float64 else x.float()
    variance, mean = torch.var_mean(wide, dims, correction=0)
    count = mean.new_full((1,), x.numel() // x.shape[1])
    own = torch.cat([count, mean, variance])[None]
    place = torch.nn.functional.pad(own, (0, 0, rank(), world() - 1 - rank()))
    counts, means, variances = torch.split(sum_over_ranks(place, share), [1, len(mean), len(mean)], 1)
    total = counts.sum()
    weights = counts / total
    overall = (weights * means).sum(0)
    return overall, (weights * (variances + (means - overall).square())).sum(0), total


@functools.cache
def _synchronised(kind: Any) -> Any:
    """The subclass of a class of layers that asks `_Synchronised` where it asks torch's own class."""
    if issubclass(kind, _Synchronised):
        return kind
    own = next(each for each in kind.__mro__ if each.__module__ == _BatchNorm.__module__)
    base: Any = type(f"Synchronised{own.__name__}", (_Synchronised, own), {})
    return base if kind is own else type(f"Synchronised{kind.__name__}", (kind, base), {})
