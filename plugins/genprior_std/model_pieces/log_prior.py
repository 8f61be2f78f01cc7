"""The density of the prior at inferred codes, by what the prior can compute."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genprior import EnergyPrior, LeaveOneOutPrior

__all__ = ["log_prior"]


def log_prior(prior: Any, z: Tensor, asked: Tensor, index: Tensor | None) -> Tensor:
    """Log p(z | asked) of codes inferred from images: [n], in nats.

    With the index of the images, which batches have in training, a `LeaveOneOutPrior` leaves each image out of the
    density of its own code. Of an `EnergyPrior` it is a surrogate that has the gradients of log p.

    Args:
        prior: a prior with a density or an energy.
        z: codes [n, d].
        asked: [n, k].
        index: the place of each code's image among the training images, int64 [n], or None.
    """
    if isinstance(prior, EnergyPrior):
        return prior.log_prob_surrogate(z, asked)
    if index is not None and isinstance(prior, LeaveOneOutPrior):
        return prior.log_prob_without(z, asked, index)
    log_p: Tensor = prior.log_prob(z, asked)
    return log_p
