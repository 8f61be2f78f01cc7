"""The codes of training images themselves, the baseline of priors that memorise."""

from __future__ import annotations

from torch import Tensor

from genprior_std.priors.stored_codes import StoredCodes

__all__ = ["Nearest"]


class Nearest(StoredCodes):
    """The codes of the training images themselves, the baseline that memorises.

        p(z) = 1/n sum_i delta(z - z_i);  of a one-hot condition, over the codes of training images with that condition

    Every draw is a training code, so decoded samples are reconstructions of training images (of their codes, which are
    draws of the posterior where the encoder has one). Its scores show what the decoder can do at best, and how a score
    of memorisation looks where everything is memorised. Draws are independent, with replacement: there are n different
    ones, and n draws have about 63 % of them.

    Raises:
        PlanError: a condition has no codes, or is not a one-hot.
    """

    name = "nearest"
    supports = ("space", "unit_sphere")  # where the codes of training images lie

    def sample(self, asked: Tensor) -> Tensor:
        """Draw a training code [n, d] of its condition for each row of `asked` [n, k]."""
        return self.draw_codes(self.condition_of(asked)).to(asked.dtype)
