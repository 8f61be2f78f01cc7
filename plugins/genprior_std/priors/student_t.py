"""Student's t distribution in any number of dimensions: a Gaussian with heavier tails."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import DensityPrior, PartConfig, Sizes

__all__ = ["StudentT"]


class StudentT(DensityPrior):
    """A multivariate Student's t that ignores the condition, with `degrees` of freedom nu and scale sigma.

        p(z) = Gamma((nu + d) / 2) / (Gamma(nu / 2) (nu pi)^(d / 2) sigma^d) (1 + |z|^2 / (nu sigma^2))^(-(nu + d) / 2)

    Codes are [n, d] for any d. It is a Gaussian whose variance is random, and tends to N(0, sigma^2 I) as nu grows; a
    code far from the origin costs about (nu + d) log |z| and not |z|^2 / 2. The coordinates share the random variance,
    so they are uncorrelated and not independent. The covariance is sigma^2 nu / (nu - 2) I for nu > 2, and does not
    exist otherwise.

    With `learned`, log nu and log sigma are parameters; both `log_prob` and `sample` are differentiable in them, the
    latter by the implicit gradient of a gamma variable.

    References:
        Kotz and Nadarajah, Multivariate t Distributions and Their Applications, 2004, section 1.1 (the density);
        Figurnov, Mohamed and Mnih, Implicit Reparameterization Gradients, 2018 (the gradient of gamma variables).
    """

    name = "student_t"

    class Config(PartConfig):
        """Settings of Student's t."""

        degrees: float = Field(default=5.0, gt=0, le=1e6)
        """nu, the degrees of freedom; 1 is a Cauchy distribution. The start, where it is learned."""
        scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """sigma, the scale of each number of a code. The start, where it is learned."""
        learned: bool = False
        """Whether nu and sigma are trained with the model."""

    log_degrees: Tensor
    log_scale: Tensor

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Set the degrees of freedom and the scale."""
        super().__init__(config, sizes)
        for name, start in (("log_degrees", self.config.degrees), ("log_scale", self.config.scale)):
            value = torch.tensor(math.log(start))
            if self.config.learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                # The recipe has the number, so that a checkpoint need not.
                self.register_buffer(name, value, persistent=False)

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z = sigma e sqrt(nu / g) [n, d], e ~ N(0, I) and g ~ chi^2(nu), one for each row of `asked` [n, k]."""
        dtype = torch.promote_types(asked.dtype, torch.float32)
        noise = torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=dtype)
        half = 0.5 * self.log_degrees.to(dtype).exp()
        gamma = torch.distributions.Gamma(half.expand(len(asked)), torch.ones_like(half), validate_args=False)
        spread = self.log_scale.to(dtype) + 0.5 * (half.log() - gamma.rsample().log())
        z: Tensor = noise * spread.exp()[:, None]
        return z.to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density of the formula above: [n] in nats for z [n, d]."""
        d = z.shape[1]
        # In double precision: for large nu the two log-gammas and the logarithm nearly cancel.
        log_nu, log_sigma = self.log_degrees.double(), self.log_scale.double()
        nu = log_nu.exp()
        constant = torch.lgamma((nu + d) / 2) - torch.lgamma(nu / 2) - 0.5 * d * (log_nu + math.log(math.pi))
        square = (z.double() / log_sigma.exp()).square().sum(1)
        log_p: Tensor = constant - d * log_sigma - 0.5 * (nu + d) * torch.log1p(square / nu)
        return log_p.to(torch.promote_types(z.dtype, torch.float32))
