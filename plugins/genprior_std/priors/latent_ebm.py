"""An energy-based prior of codes: a Gaussian tilted by a learned function."""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import EnergyPrior, PartConfig, Sizes
from genprior_std.layers.fully_connected import fully_connected

__all__ = ["LatentEnergy"]


class LatentEnergy(EnergyPrior):
    """A standard Gaussian tilted by a learned function f, sampled by short-run Langevin dynamics.

        p(z) is proportional to exp(f(z)) N(z; 0, I),    energy(z) = |z|^2 / 2 - f(z)
        z_0 ~ N(0, I),    z_t+1 = z_t - s^2 / 2 grad energy(z_t) + s e_t,    e_t ~ N(0, I)

    f is a fully connected network; it ignores the condition. Samples are z_K after K steps of size s, in training and
    evaluation alike. They are not corrected by a Metropolis step: of a Gaussian of variance v, long chains have the
    variance v / (1 - s^2 / (4 v)), and short ones have not left the start. So samples follow a distribution near p, and
    that is what the model generates from.

    With few steps the samples lag behind p, and f grows without bound: in a plain VAE with Adam at a rate of 2e-3, 10
    steps diverged. 20 to 60 steps, or a smaller rate for the prior, did not.

    Samples have no gradient in f. In a model such as `vae`, f learns from `log_prob_surrogate`: its gradient is
    grad f at the posterior's codes, minus its mean at samples. The constant of p is not known, so scores of likelihood
    are refused.

    Few steps do not follow f to the codes that it favours, so samples stay behind, f grows without bound, and training
    diverges to ever lower losses. With `penalty` a > 0, f also minimises a (f(z)^2 + f(z')^2) at codes z and samples
    z', without a gradient in the codes; recorded numbers do not contain it.

    References:
        Pang, Han, Nijkamp, Zhu and Wu, Learning Latent Space Energy-Based Prior Model, 2020, sections 2.1 (the model),
        2.2 (learning) and 2.3 (short-run Langevin dynamics). There the posterior is sampled by Langevin dynamics too;
        here it is the encoder's.
        Du and Mordatch, Implicit Generation and Modeling with Energy Based Models, 2019 (the penalty, there of the
        whole energy).
    """

    name = "latent_ebm"

    class Config(PartConfig):
        """Settings of the energy-based prior."""

        hidden: tuple[PositiveInt, ...] = Field(default=(200, 200), min_length=1)
        """Widths of the hidden layers of f, which have leaky ReLU."""
        langevin_steps: int = Field(default=60, ge=1)
        """K, the number of Langevin steps; with few of them f can diverge at a high learning rate."""
        step_size: float = Field(default=0.4, gt=0, allow_inf_nan=False)
        """s, the size of a step."""
        penalty: float = Field(default=0.0, ge=0, allow_inf_nan=False)
        """a, the weight of f squared; above 0 with few Langevin steps, if the loss falls without end."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network of f."""
        super().__init__(config, sizes)
        hidden: tuple[int, ...] = self.config.hidden
        self.network = nn.Sequential(
            *fully_connected(sizes.code, hidden, "leaky_relu", False), nn.Linear(hidden[-1], 1, bias=False)
        )

    def energy(self, z: Tensor, asked: Tensor) -> Tensor:
        """The energy |z|^2 / 2 - f(z): [n] for z [n, d], in the precision of the parameters, never of autocast."""
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(next(self.network.parameters()).dtype)
            return 0.5 * z.square().sum(1) - self._tilt(z)

    def log_prob_surrogate(self, z: Tensor, asked: Tensor) -> Tensor:
        """The surrogate of `EnergyPrior`, [n] in nats for z [n, d]; its gradients in f are those with the penalty."""
        weight: float = self.config.penalty
        if not weight:
            return super().log_prob_surrogate(z, asked)
        with torch.no_grad():
            drawn = self.sample(asked)
        with torch.autocast(z.device.type, enabled=False):
            penalty = weight * (self._tilt(z.detach()).square() + self._tilt(drawn).square())
        return self.energy(drawn, asked) - self.energy(z, asked) - (penalty - penalty.detach())

    def _tilt(self, z: Tensor) -> Tensor:
        """f(z), [n] for z [n, d]."""
        tilt: Tensor = self.network(z.to(next(self.network.parameters()).dtype))
        return tilt.squeeze(1)

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z_K [n, d] by Langevin dynamics, one for each row of `asked` [n, k], without a gradient."""
        size: float = self.config.step_size
        z = torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=next(self.network.parameters()).dtype)
        for _ in range(self.config.langevin_steps):
            with torch.enable_grad():
                z.requires_grad_()
                (slope,) = torch.autograd.grad(self.energy(z, asked).sum(), z)
            z = torch.add(z.detach(), slope, alpha=-0.5 * size**2).add_(torch.randn_like(z), alpha=size)
        return z.detach().to(asked.dtype)
