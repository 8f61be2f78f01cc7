"""Adam on gradients of norm 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import Optimiser, StackedWeights
from genprior_std.optimisers.scheduled import Decay, ScheduledConfig

__all__ = ["AdamNormGrad"]


class AdamNormGrad(Optimiser):
    """Adam on gradients of norm 1.

    Each tensor's gradient is divided by its norm: g / (|g| + 1e-7). The moments depend only on directions, so a tensor
    with a small gradient moves as far as the others, and `run.clip_norm` has no effect but through the 1e-7. Layers
    that are computed as one (`StackedWeights`) have a norm each: W and V of a gated layer, mean and log variance of a
    posterior. Recorded gradient norms are those before the division.

    References:
        The optimiser of the code of Tomczak and Welling, VAE with a VampPrior, 2017.
    """

    name = "adam_norm_grad"

    class Config(ScheduledConfig):
        """Settings of Adam on gradients of norm 1."""

        betas: tuple[Decay, Decay] = (0.5, 0.999)
        """Decay of the first and second moments."""
        eps: float = Field(1e-8, gt=0)
        """The number that is added to the root of the second moment."""

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """`torch.optim.Adam` on normalised gradients, of parameters each of which is one tensor."""
        return self._built(parameters, {})

    def build_for(self, module: nn.Module) -> torch.optim.Optimizer:
        """`torch.optim.Adam` on normalised gradients; stacked weights are told apart."""
        rows = {
            getattr(layer, name): heights
            for layer in module.modules()
            if isinstance(layer, StackedWeights)
            for name, heights in layer.stacked.items()
        }
        return self._built(dict(module.named_parameters()), rows)

    def _built(
        self, parameters: Mapping[str, nn.Parameter], rows: Mapping[nn.Parameter, Sequence[int]]
    ) -> torch.optim.Optimizer:
        c = self.config
        normalising = _Normalising(
            list(parameters.values()), lr=c.lr, betas=c.betas, eps=c.eps, weight_decay=c.weight_decay, fused=True
        )
        normalising.rows = rows
        return normalising


class _Normalising(torch.optim.Adam):
    """Adam that first normalises the gradients."""

    rows: Mapping[nn.Parameter, Sequence[int]]
    """The rows of the stacked tensors of parameters that hold several."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Normalise the gradients in place, and step."""
        gradients: list[Tensor] = []
        for p in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            gradients += p.grad.split(list(self.rows[p])) if p in self.rows else [p.grad]  # views, no copies
        if gradients:
            norms = torch._foreach_norm(gradients)
            torch._foreach_add_(norms, 1e-7)
            torch._foreach_div_(gradients, norms)
        loss: float | None = super().step(closure)
        return loss
