"""Small priors for tests of the second stage: one trained by steps, one in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genprior import Codes, DensityPrior, FittedPrior, Objectives, PartConfig, Phase, PlanError, Sizes

__all__ = ["Affine", "Bag"]


class Affine(DensityPrior, FittedPrior):
    """z = m + exp(s) e, e ~ N(0, I), by maximum likelihood."""

    name = "affine"

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the two vectors."""
        super().__init__(config, sizes)
        self.network = nn.ParameterDict({"m": torch.zeros(sizes.code), "s": torch.zeros(sizes.code)})

    def phases(self) -> tuple[Phase, ...]:
        """Maximum likelihood."""
        return (Phase("fit", self.fit),)

    def fit(self, codes: Codes) -> Objectives:
        """The negative log-likelihood of a batch of codes."""
        return Objectives({"network": -self.log_prob(codes.z, codes.asked).mean()})

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, d]."""
        e = torch.randn(len(asked), self.sizes.code, dtype=asked.dtype, device=asked.device)
        return (self.network["m"] + self.network["s"].exp() * e).to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density [n]."""
        s = self.network["s"]
        e = (z - self.network["m"]) / s.exp()
        return -(0.5 * e.square() + s + 0.5 * math.log(2 * math.pi)).sum(1)


class Bag(FittedPrior):
    """Draws the codes of training images with a little noise."""

    name = "bag"
    closed_form = True
    sized_by_codes = ("codes",)

    class Config(PartConfig):
        """How many codes are needed."""

        least: int = 2

    codes: Tensor

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Begin with one code."""
        super().__init__(config, sizes)
        self.register_buffer("codes", torch.zeros(1, sizes.code))

    def check_codes(self, n: int) -> None:
        """Refuse few codes."""
        if n < self.config.least:
            raise PlanError(f"prior 'bag' needs {self.config.least} codes, and there are {n}")

    def begin_fit(self, codes: Codes) -> None:
        """Keep all codes."""
        self.codes = codes.z.clone()

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, d]."""
        chosen = self.codes[torch.randint(len(self.codes), (len(asked),), device=asked.device)]
        return (chosen + 1e-3 * torch.randn_like(chosen)).to(asked.dtype)
