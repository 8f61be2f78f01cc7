"""A category and Gaussian noise side by side: the fixed prior of conditional baselines."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from genprior import PartConfig, PlanError, Prior, Sizes

__all__ = ["CategoricalGaussian"]


class CategoricalGaussian(Prior):
    """The condition followed by noise: z = [s, e] with s the condition and e ~ N(0, I), or uniform on the cube (-1, 1).

    With a condition of width k > 0, the first k numbers of a code are `asked` itself. Without one, they are the one-hot
    of a category drawn uniformly from `categories`. Since s is discrete or given, it has no density and is only
    sampled.

    Raises:
        PlanError: the code is not wider than s, so that no room is left for noise.

    Source: the fixed prior [one-hot, N(0, I)] of the supervised and unsupervised baselines of "Learning priors for
    adversarial autoencoders"; sections 2.4 and 2.5 of "Adversarial autoencoders". Uniform noise is that of InfoGAN.
    """

    name = "categorical_gaussian"

    class Config(PartConfig):
        """Settings of the categorical and Gaussian prior."""

        categories: int = Field(default=10, ge=2)
        """The number of categories without a condition; a condition has a width of its own."""
        noise: Literal["gaussian", "uniform"] = "gaussian"
        """What e is: N(0, I), or uniform between -1 and 1."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Check that the code has room for a category and for noise."""
        super().__init__(config, sizes)
        self._width: int = sizes.asked or self.config.categories
        if sizes.code <= self._width:
            source = "what is asked" if sizes.asked else "the category"
            raise PlanError(
                f"prior '{self.name}' needs a code wider than {self._width} numbers, which {source} takes; "
                f"the code has {sizes.code}. Set code_size to {self._width + 1} or more, or ask for fewer categories"
            )

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, d], the first numbers of which are `asked` [n, k], or a random one-hot where k is 0."""
        n = len(asked)
        shape = (n, self.sizes.code - self._width)
        if self.config.noise == "gaussian":
            noise = torch.randn(shape, device=asked.device, dtype=asked.dtype)
        else:
            noise = 2 * torch.rand(shape, device=asked.device, dtype=asked.dtype) - 1
        if self.sizes.asked:
            return torch.cat([asked, noise], 1)
        category = torch.randint(self._width, (n,), device=asked.device)
        return torch.cat([functional.one_hot(category, self._width).to(asked.dtype), noise], 1)
