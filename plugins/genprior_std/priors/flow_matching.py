"""Flow matching: a velocity field, learned by regression, that moves noise to codes."""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from genprior import Codes, FittedPrior, Objectives, PartConfig, Phase, Sizes
from genprior_std.layers.standardised_codes import StandardisedCodes
from genprior_std.layers.time_conditioned import TimeConditioned

__all__ = ["FlowMatching"]


class FlowMatching(FittedPrior):
    """A velocity field from noise to codes, learned by regression.

        dz_t / dt = v(z_t, t; asked),    z_0 ~ N(0, I)
        E |v(z_t, t; asked) - (z_1 - z_0)|^2,    z_t = (1 - t) z_0 + t z_1,    t ~ U(0, 1)

    with z_1 the standardised code of a training image: the regression on the straight path of optimal transport from
    one noise to one code, sigma_min being 0. The field is the exact one of standard normal codes plus a network that
    begins at 0, so that before training the prior is the Gaussian with the codes' means and variances:

        v(z, t; asked) = (2 t - 1) / (t^2 + (1 - t)^2) z + f(z, t; asked)

    The times of a batch are spread evenly over [0, 1) with a common random shift, which lowers the variance of the
    gradient (Kingma et al.'s low-discrepancy sampler). Samples follow the field in `solver_steps` steps of the midpoint
    method, each of two evaluations of the network. With a condition (k > 0) the network sees `asked` [n, k] beside the
    code. Codes are [n, d]. The prior has no log_prob.

    References:
        Lipman, Chen, Ben-Hamu, Nickel and Le, Flow Matching for Generative Modeling, 2023 (conditional flow matching
        with optimal-transport paths); Kingma, Salimans, Poole and Ho, Variational Diffusion Models, 2021 (the times).
    """

    name = "flow_matching"

    class Config(PartConfig):
        """Settings of the velocity field and its solver."""

        hidden: tuple[PositiveInt, ...] = Field(default=(256, 256, 256), min_length=1)
        """Widths of the hidden layers of the velocity network."""
        solver_steps: int = Field(default=50, ge=1)
        """Steps of the midpoint method for a sample, each of which evaluates the network twice."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the velocity network, and a standardisation that is the identity until the fit begins."""
        super().__init__(config, sizes)
        self.standardised = StandardisedCodes(sizes.code)
        self.network = TimeConditioned(sizes.code, sizes.asked, self.config.hidden)

    def begin_fit(self, codes: Codes) -> None:
        """Take the means and standard deviations of the codes."""
        self.standardised.set(codes.z)

    def phases(self) -> tuple[Phase, ...]:
        """The regression of the velocity."""
        return (Phase("match", self.match),)

    def match(self, codes: Codes) -> Objectives:
        """The squared error of the velocity of a batch of codes, averaged over the numbers of a code too."""
        z_1 = self.standardised(codes.z)
        z_0 = torch.randn_like(z_1)
        n = len(z_1)
        places = torch.arange(n, dtype=z_1.dtype, device=z_1.device) / n
        t = ((places + torch.rand((), dtype=z_1.dtype, device=z_1.device)) % 1)[:, None]
        error = self.velocity((1 - t) * z_0 + t * z_1, t, codes.asked) - (z_1 - z_0)
        return Objectives({"network": error.square().mean()})

    def velocity(self, z: Tensor, t: Tensor, asked: Tensor) -> Tensor:
        """v(z, t; asked) [n, d] of standardised codes z [n, d] at times t [n, 1], with asked [n, k]."""
        of_normal_codes = (2 * t - 1) / (t.square() + (1 - t).square())
        v: Tensor = of_normal_codes * z + self.network(z, t, asked)
        return v

    def sample(self, asked: Tensor) -> Tensor:
        """Draw noise z_0 for each row of asked [n, k], and move it along the field to codes [n, d]."""
        steps: int = self.config.solver_steps
        z = torch.randn(len(asked), self.sizes.code, dtype=asked.dtype, device=asked.device)
        half = 0.5 / steps
        for step in range(steps):
            start = asked.new_full((len(asked), 1), step / steps)
            middle = z + half * self.velocity(z, start, asked)
            z = z + 2 * half * self.velocity(middle, start + half, asked)
        codes: Tensor = self.standardised.inverse(z)
        return codes
