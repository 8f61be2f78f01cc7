"""The second stage of a two-stage VAE: a small VAE of codes."""

from __future__ import annotations

import math

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from genprior import Codes, FittedPrior, Objectives, PartConfig, Phase, PlanError, Sizes
from genprior_std.layers.conditions import with_known
from genprior_std.layers.fully_connected import fully_connected
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.layers.stacked import StackedLinear
from genprior_std.layers.standardised_codes import StandardisedCodes

__all__ = ["TwoStageVae"]

LEAST = math.log(1e-3)
"""The least log gamma: where codes fill fewer than d dimensions, the optimum is at minus infinity."""
LOG_VARIANCE = (-12.0, 4.0)
"""The range of the encoder's log-variances, so that an outlier among the codes has a finite loss."""
FEWEST = 2
"""Codes that have a spread."""


class TwoStageVae(FittedPrior):
    """A small VAE on standardised codes, whose decoder learns its variance.

        z = mean + scale (D(u, asked) + gamma e),    u ~ N(0, I),  e ~ N(0, I)

    It is trained by the evidence lower bound, with q(u | e, asked) a diagonal Gaussian and the learned gamma > 0:

        loss = d log gamma + d/2 log(2 pi) + |e - D(u, asked)|^2 / (2 gamma^2) + KL(q(u | e, asked) || N(0, I))

    The aggregated posterior of a VAE differs from its prior where the images lie on a manifold of fewer dimensions than
    the codes. The codes themselves fill all dimensions, so a VAE of codes, with u as wide as z, can match them. The
    networks are multilayer perceptrons with ReLU; the condition is a further input of both. gamma begins at 1 and is
    halved in no fewer than 700 steps of Adam with rate 1e-3: a slow start, without which q(u) matches N(0, I) worse.

    Raises:
        PlanError: there are fewer than 2 codes.

    References:
        Dai and Wipf, Diagnosing and Enhancing VAE Models, 2019, section 4. The widths, and codes that are standardised,
        are of this implementation.
    """

    name = "two_stage_vae"

    class Config(PartConfig):
        """Settings of the second stage."""

        hidden: tuple[PositiveInt, ...] = Field(default=(256, 256), min_length=1)
        """Widths of the hidden layers of the encoder, and in reverse order of the decoder."""
        code_size: int | None = Field(default=None, ge=1)
        """The width of u; that of the codes if not given."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make both networks.

        Args:
            config: this part's settings.
            sizes: the sizes of codes and of the condition.
        """
        super().__init__(config, sizes)
        hidden: tuple[int, ...] = self.config.hidden
        self.width: int = self.config.code_size or sizes.code
        self.standardised = StandardisedCodes(sizes.code)
        self.encoder = nn.Sequential(
            *fully_connected(sizes.code + sizes.asked, hidden, "relu", batch_norm=False),
            StackedLinear(hidden[-1], (self.width, self.width)),  # mean and log variance
        )
        self.decoder = GaussianDecoder(self.width + sizes.asked, hidden[::-1], sizes.code)

    def check_codes(self, n: int) -> None:
        """Refuse fewer than 2 codes.

        Raises:
            PlanError: says how many there are.
        """
        if n < FEWEST:
            raise PlanError(
                f"prior '{self.name}' standardises the codes by their spread, and needs at least {FEWEST}; the number "
                f"of codes is {n}. Train with more images"
            )

    def begin_fit(self, codes: Codes) -> None:
        """Take the mean and the scale of all codes."""
        self.standardised.set(codes.z)

    def phases(self) -> tuple[Phase, ...]:
        """One phase, which trains the encoder and the decoder."""
        return (Phase("elbo", self.elbo),)

    def elbo(self, codes: Codes) -> Objectives:
        """The negative evidence lower bound of a batch of standardised codes, in nats."""
        e = self.standardised(codes.z)
        mean, log_variance = self.encoder(with_known(e, codes.asked)).chunk(2, 1)
        q = GaussianPosterior(mean, log_variance.clamp(*LOG_VARIANCE))
        u = q.rsample()
        kl = 0.5 * (q.mean.square() + q.log_variance.exp() - 1 - q.log_variance).sum(1)
        reconstruction = self.decoder.negative_log_likelihood(e, with_known(u, codes.asked))
        loss = (reconstruction + kl).mean()
        return Objectives(
            {"encoder": loss, "decoder": loss},
            note={"kl": kl.mean(), "gamma": self.decoder.deviation()},
        )

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z [n, d] from u ~ N(0, I) and the decoder's noise, one for each row of `asked` [n, k]."""
        like = self.standardised.mean
        u = torch.randn(len(asked), self.width, dtype=like.dtype, device=like.device)
        mean = self.decoder(with_known(u, asked.to(like.dtype)))
        z: Tensor = self.standardised.inverse(mean + self.decoder.deviation() * torch.randn_like(mean))
        return z.to(asked.dtype)


class GaussianDecoder(nn.Module):
    """A multilayer perceptron for the mean of a Gaussian, and one learned standard deviation gamma for all numbers."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        """Make the network, with gamma = 1.

        Args:
            inputs: input width.
            hidden: widths of the hidden layers.
            outputs: d.
        """
        super().__init__()
        self.network = nn.Sequential(
            *fully_connected(inputs, hidden, "relu", batch_norm=False), nn.Linear(hidden[-1], outputs)
        )
        self.log_gamma = nn.Parameter(torch.zeros(()))

    def deviation(self) -> Tensor:
        """The standard deviation gamma, at least 1e-3."""
        return self.log_gamma.clamp(min=LEAST).exp()

    def forward(self, u: Tensor) -> Tensor:
        """The means [n, d] of u [n, inputs]."""
        mean: Tensor = self.network(u)
        return mean

    def negative_log_likelihood(self, e: Tensor, u: Tensor) -> Tensor:
        """-log N(e; D(u), gamma^2 I) of e [n, d]: [n], in nats."""
        gamma = self.deviation()
        per_number = gamma.log() + 0.5 * math.log(2 * math.pi) + 0.5 * ((e - self(u)) / gamma).square()
        total: Tensor = per_number.sum(1)
        return total
