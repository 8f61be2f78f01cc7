"""A mixture of 2-D Gaussians on a circle."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from genprior import DensityPrior, PartConfig, PlanError, Sizes
from genprior_std.priors.one_hot import check_one_hot

__all__ = ["Mixture"]


class Mixture(DensityPrior):
    """K Gaussians of equal weight on a circle in the plane, each long along the radius and thin across it.

    Component k lies at the angle phi_k = 2 pi k / K:

        z = rho (cos phi_k, sin phi_k) + tau (-sin phi_k, cos phi_k)
        rho ~ N(shift, radial^2),  tau ~ N(0, tangential^2)

    Codes are [n, 2]. With `asked` [n, K], a one-hot, samples and density are those of that component alone; without a
    condition they are those of the whole mixture.

    Raises:
        PlanError: the code is not 2-D, or the condition is not a one-hot of K.

    Source: "Adversarial autoencoders", section 2.3 and figure 4. The paper names no sizes; the defaults are those of a
    public implementation (musyoku/adversarial-autoencoder).
    """

    name = "mixture"

    class Config(PartConfig):
        """Settings of the mixture on a circle."""

        components: int = Field(default=10, ge=1)
        """K, the number of Gaussians."""
        shift: float = Field(default=1.4, ge=0, allow_inf_nan=False)
        """Distance of each mean from the origin."""
        radial: float = Field(default=0.5, gt=0, allow_inf_nan=False)
        """Standard deviation along the radius."""
        tangential: float = Field(default=0.05, gt=0, allow_inf_nan=False)
        """Standard deviation across the radius."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Check that codes are 2-D and that the condition names a component."""
        super().__init__(config, sizes)
        components: int = self.config.components
        if sizes.code != 2:
            raise PlanError(
                f"prior '{self.name}' lies in the plane and needs codes of 2 numbers; the code has {sizes.code}. "
                "Set code_size = 2, or use a prior of any width ('gaussian', 'uniform')"
            )
        check_one_hot(self.name, sizes)
        if sizes.asked not in (0, components):
            raise PlanError(
                f"prior '{self.name}' has {components} components, so a condition must be a one-hot of {components}; "
                f"the one asked here has width {sizes.asked}. Set components = {sizes.asked}, use a prior that takes "
                "any condition ('gaussian', 'code_generator'), or ask for nothing (conditioner 'none', where the "
                "model has one)"
            )

    def _angles(self, k: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The cosine and sine of 2 pi k / K, in the dtype of `like`."""
        phi = k.to(like.dtype) * (2 * math.pi / self.config.components)
        return phi.cos(), phi.sin()

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, 2] of the component that each row of `asked` [n, K or 0] names, or of a random one."""
        n = len(asked)
        k = asked.argmax(1) if self.sizes.asked else torch.randint(self.config.components, (n,), device=asked.device)
        cos, sin = self._angles(k, asked)
        noise = torch.randn(2, n, device=asked.device, dtype=asked.dtype)
        rho: Tensor = self.config.shift + self.config.radial * noise[0]
        tau: Tensor = self.config.tangential * noise[1]
        return torch.stack([rho * cos - tau * sin, rho * sin + tau * cos], 1)

    def walk(self, columns: int, like: Tensor) -> Tensor:
        """Each component as a row, along the radius from -2 to 2 standard deviations: [K, columns, 2].

        z_kj = rho_j (cos phi_k, sin phi_k), rho_j from shift - 2 radial to shift + 2 radial in equal steps, tau = 0.
        """
        cos, sin = self._angles(torch.arange(self.config.components, device=like.device), like)
        steps = torch.linspace(-2, 2, columns, device=like.device, dtype=like.dtype)
        rho = self.config.shift + self.config.radial * steps
        return torch.stack([cos[:, None] * rho, sin[:, None] * rho], -1)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density, log mean_k N(rho_k; shift, radial^2) N(tau_k; 0, tangential^2): [n] in nats.

        (rho_k, tau_k) is z [n, 2] rotated back by phi_k; the mean runs over the component asked for, or over all.
        """
        radial: float = self.config.radial
        tangential: float = self.config.tangential
        components = torch.arange(self.config.components, device=z.device)[None]
        cos, sin = self._angles(asked.argmax(1, keepdim=True) if self.sizes.asked else components, z)
        rho, tau = z[:, :1] * cos + z[:, 1:] * sin, z[:, 1:] * cos - z[:, :1] * sin
        exponent = -0.5 * (((rho - self.config.shift) / radial).square() + (tau / tangential).square())
        log_mean: Tensor = exponent.logsumexp(1) - math.log(exponent.shape[1])
        return log_mean - math.log(2 * math.pi * radial * tangential)
