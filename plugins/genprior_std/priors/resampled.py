"""A resampled prior (LARS): a Gaussian whose draws are accepted with a learned probability."""

from __future__ import annotations

import math

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from genprior import DensityPrior, PartConfig, PlanError, Sizes
from genprior_std.layers.fully_connected import fully_connected
from genprior_std.layers.kept import KeptValue

__all__ = ["Resampled"]

POINTS = 2**14
"""Fixed draws of the proposal by which Z is computed in evaluation mode: quasi-random, a power of 2."""
HELD = 2**22
"""Numbers of proposals that are held at a time while sampling."""
SMALLEST = -500.0
"""The smallest log Z; its exponential is still a number in double precision."""


class Resampled(DensityPrior):
    """A standard Gaussian pi(z) whose draws are accepted with a learned probability a(z).

        p(z) = ((1 - alpha) a(z) / Z + alpha) pi(z),    Z = E_pi[a(z)],    alpha = (1 - Z)^(T - 1)

    A code is the first of T draws of pi that is accepted, or the last if none of the T - 1 before it is. So p is the
    density of the codes exactly, at any T. a(z) = sigmoid(f(z)) with a fully connected network f; it ignores the
    condition.

    In training, each call of `log_prob` estimates Z by `normaliser_samples` new draws of pi, and the estimate has its
    gradient. In evaluation mode Z is the mean of a over 16,384 quasi-random draws that are always the same, so it is a
    function of the weights, also of averaged ones, and a checkpoint holds no estimate.

    Samples are draws of pi that are chosen, and have no gradient in f: f learns from `log_prob`.

    References:
        Bauer and Mnih, Resampled Priors for Variational Autoencoders, 2019, section 3 (the density of truncated
        rejection sampling, and Z by Monte Carlo).
    """

    name = "resampled"
    reparameterised = False

    class Config(PartConfig):
        """Settings of the resampled prior."""

        hidden: tuple[PositiveInt, ...] = Field(default=(100, 100), min_length=1)
        """Widths of the hidden layers of f, which have tanh."""
        draws: int = Field(default=100, ge=2)
        """T, the number of draws of which the first accepted one is taken."""
        normaliser_samples: int = Field(default=1024, ge=1)
        """Draws by which Z is estimated in each call in training."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network of the acceptance probability; at first it is about 1/2 everywhere.

        Raises:
            PlanError: the code is wider than quasi-random draws can be.
        """
        super().__init__(config, sizes)
        widest = torch.quasirandom.SobolEngine.MAXDIM
        if sizes.code > widest:
            raise PlanError(
                f"prior '{self.name}' computes its constant with quasi-random codes, of at most {widest} numbers; the "
                f"code has {sizes.code}. Set code_size to {widest} or fewer, or use prior 'gaussian'"
            )
        hidden: tuple[int, ...] = self.config.hidden
        self.network = nn.Sequential(*fully_connected(sizes.code, hidden, "tanh", False), nn.Linear(hidden[-1], 1))
        self._log_z = KeptValue()

    def train(self, mode: bool = True) -> Resampled:
        """Set the mode, and forget the constant of other weights."""
        self._log_z.drop()
        super().train(mode)
        return self

    def sample(self, asked: Tensor) -> Tensor:
        """The first accepted draw, or the last of T, for each row of `asked` [n, k]: [n, d].

        All T draws are made, several at a time, so that the device need not tell which was accepted.
        """
        n, d, draws = len(asked), self.sizes.code, self.config.draws
        z = asked.new_zeros(n, d)
        open_ = torch.ones(n, dtype=torch.bool, device=asked.device)  # rows without an accepted draw
        at_once = max(1, HELD // max(1, n * d))
        for begin in range(0, draws, at_once):
            count = min(at_once, draws - begin)
            proposed = torch.randn(count, n, d, device=asked.device, dtype=asked.dtype)
            uniform = torch.rand(count, n, device=asked.device, dtype=torch.float32)
            with torch.no_grad():
                accepted = uniform < self._log_acceptance(proposed.flatten(0, 1)).exp().view(count, n)
            if begin + count == draws:
                accepted[-1] = True
            first = accepted.to(torch.uint8).argmax(0)
            chosen = proposed.gather(0, first.view(1, n, 1).expand(1, n, d))[0]
            z = torch.where((open_ & accepted.any(0))[:, None], chosen, z)
            open_ = open_ & ~accepted.any(0)
        return z

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density log pi(z) + log((1 - alpha) a(z) / Z + alpha): [n] in nats for z [n, d]."""
        log_z = self.log_normaliser()
        # 1 - Z is at least the rounding error of 1, so that the gradient of its logarithm is a number.
        log_alpha = (self.config.draws - 1) * torch.log1p(-log_z.exp().clamp(max=1 - torch.finfo(log_z.dtype).eps))
        log_share = torch.log(-torch.expm1(log_alpha)) - log_z
        log_ratio = torch.logaddexp(self._log_acceptance(z).double() + log_share, log_alpha)
        log_pi = -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
        return log_pi + log_ratio.to(log_pi.dtype)

    def log_normaliser(self) -> Tensor:
        """The logarithm of Z = E_pi[a(z)], [] in double precision."""
        if not self.training:
            return self._log_z(lambda: self._log_mean(self._points()), self.network.parameters())
        like = next(self.network.parameters())
        proposed = torch.randn(self.config.normaliser_samples, self.sizes.code, device=like.device, dtype=like.dtype)
        return self._log_mean(proposed)

    def _log_mean(self, z: Tensor) -> Tensor:
        log_z: Tensor = self._log_acceptance(z).double().logsumexp(0) - math.log(len(z))
        return log_z.clamp(min=SMALLEST)

    def _points(self) -> Tensor:
        """The fixed draws of pi, [POINTS, d]."""
        like = next(self.network.parameters())
        engine = torch.quasirandom.SobolEngine(self.sizes.code, scramble=True, seed=0)  # type: ignore[no-untyped-call]
        uniform: Tensor = engine.draw(POINTS, dtype=torch.float64)
        smallest = torch.finfo(torch.float64).eps  # scrambled points may be 0
        points: Tensor = torch.special.ndtri(uniform.clamp(smallest, 1 - smallest))
        return points.to(like)

    def _log_acceptance(self, z: Tensor) -> Tensor:
        """The logarithm of a(z), [n], in the precision of the network's parameters, never in that of autocast."""
        with torch.autocast(z.device.type, enabled=False):
            logits: Tensor = self.network(z.to(next(self.network.parameters()).dtype))
            return logsigmoid(logits.squeeze(1))
