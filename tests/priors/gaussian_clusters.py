"""A known mixture of Gaussians as codes, and draws of a fitted prior."""

from __future__ import annotations

import torch
from torch import Tensor

from genprior import Codes, FittedPrior

__all__ = ["draw", "known_mixture"]

MEANS = 5
"""Components; the k-th is a Gaussian of standard deviations 0.3 to 1 about its own mean."""


def known_mixture(n: int, d: int, seed: int, conditional: bool = False) -> Codes:
    """Draw n codes [n, d] of a mixture of 5 Gaussians, shifted and scaled; as condition the component, or none."""
    fixed = torch.Generator().manual_seed(1000 + d)
    means = 3 * torch.randn(MEANS, d, generator=fixed)
    deviations = 0.3 + 0.7 * torch.rand(MEANS, d, generator=fixed)
    draws = torch.Generator().manual_seed(seed)
    component = torch.randint(MEANS, (n,), generator=draws)
    z = means[component] + deviations[component] * torch.randn(n, d, generator=draws)
    asked = torch.nn.functional.one_hot(component, MEANS).float() if conditional else z[:, :0]
    return Codes(10 + 2 * z, asked)


def draw(prior: FittedPrior, asked: Tensor, seed: int = 5) -> Tensor:
    """Codes of a fitted prior under a seed, without gradients."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return prior.sample(asked)
