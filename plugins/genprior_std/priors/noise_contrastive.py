"""A base prior reweighted by a classifier of codes against its draws."""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import softplus

from genprior import Codes, FittedPrior, Objectives, PartConfig, Phase, PlanError, Prior, PriorSpec, Sizes
from genprior_std.layers.conditions import with_known
from genprior_std.layers.fully_connected import fully_connected
from genprior_std.layers.standardised_codes import StandardisedCodes
from genprior_std.priors.gaussian import Gaussian

__all__ = ["NoiseContrastive"]

ROOM = 2**16
"""Proposals that are drawn and weighted at once."""
FEWEST = 2
"""Codes that have a spread."""


class NoiseContrastive(FittedPrior):
    """A base distribution reweighted by a classifier of codes against its draws.

        p(e) = base(e) exp(f(e)) / Z,    exp(f) = D / (1 - D),    z = mean + scale e

    D = sigmoid(f) is trained by the logistic loss to tell standardised codes e from draws of the base, and at its
    optimum exp(f) is the ratio of their densities, so p is the distribution of the codes. Both may depend on `asked`.

    A code is drawn by sampling-importance-resampling: M proposals of the base, of which one is chosen with probability
    proportional to exp(f). That is p in the limit of large M; draws can have no more than M times the base's density,
    so the base must not be far from the codes. Recorded with the loss, `effective` is the share of proposals that
    count, (sum_i w_i)^2 / (M sum_i w_i^2) with w = exp(f): M times it should be well above 1. For clusters in 8 or more
    dimensions N(0, I) is too far; a base such as `kde` with Scott's bandwidth is near. The last batches shift the
    shares of the clusters where Adam's rate is 1e-3; a lower rate, or one that falls, prevents it.

    The base is a distribution of standardised codes: the default N(0, I) has the mean and the variances of the codes.
    It is fixed, or fitted in closed form to the standardised codes. There is no density: Z is unknown.

    Raises:
        PlanError: the base borrows a module, is trained by steps or has parameters that nothing trains; there are fewer
            than 2 codes, or than the base needs.

    References:
        Aneja, Schwing, Kautz and Vahdat, A Contrastive Learning Approach for Training Variational Autoencoder Priors,
        2021, section 3, for one group of latent variables. Langevin sampling is left out.
    """

    name = "noise_contrastive"

    class Config(PartConfig):
        """Settings of the reweighted prior."""

        base: PriorSpec = Gaussian.Config()
        """The base, a distribution of standardised codes: a fixed prior, or one that is fitted in closed form."""
        proposals: int = Field(default=500, ge=2)
        """M, the proposals for each code that is drawn."""
        hidden: tuple[PositiveInt, ...] = Field(default=(128, 128), min_length=1)
        """Widths of the hidden layers of the classifier."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the base and the classifier.

        Args:
            config: this part's settings.
            sizes: the sizes of codes and of the condition.
        """
        super().__init__(config, sizes)
        hidden: tuple[int, ...] = self.config.hidden
        self.standardised = StandardisedCodes(sizes.code)
        self.base = self._make_base(sizes)
        self.classifier = nn.Sequential(
            *fully_connected(sizes.code + sizes.asked, hidden, "leaky_relu", batch_norm=False),
            nn.Linear(hidden[-1], 1),
        )

    def _make_base(self, sizes: Sizes) -> Prior:
        chosen = self.config.base
        if borrowed := chosen.part.borrows_of(chosen):
            raise self._impossible_base(f"borrows {', '.join(borrowed)} of the model")
        base: Prior = chosen.make(sizes)
        if isinstance(base, FittedPrior) and base.phases():
            raise self._impossible_base("is trained by steps")
        if not isinstance(base, FittedPrior) and any(True for _ in base.parameters()):
            raise self._impossible_base("has parameters that are trained with a model")
        return base.requires_grad_(False)

    def _impossible_base(self, why: str) -> PlanError:
        return PlanError(
            f"prior '{self.name}' has base '{self.config.base.name}', which {why}. The base is fixed ('gaussian', "
            "'uniform') or fitted to codes in closed form ('kde'); choose one of those"
        )

    def check_codes(self, n: int) -> None:
        """Refuse fewer than 2 codes, or than the base needs.

        Raises:
            PlanError: says how many there are.
        """
        if n < FEWEST:
            raise PlanError(
                f"prior '{self.name}' standardises the codes by their spread, and needs at least {FEWEST}; the number "
                f"of codes is {n}. Train with more images"
            )
        if isinstance(self.base, FittedPrior):
            self.base.check_codes(n)

    def begin_fit(self, codes: Codes) -> None:
        """Take the mean and the scale of all codes, and fit the base to the standardised codes."""
        self.standardised.set(codes.z)
        if isinstance(self.base, FittedPrior):
            self.base.begin_fit(codes._replace(z=self.standardised(codes.z)))

    def phases(self) -> tuple[Phase, ...]:
        """One phase, which trains the classifier."""
        return (Phase("classify", self.classify),)

    def classify(self, codes: Codes) -> Objectives:
        """The logistic loss of f on a batch of codes and as many draws of the base with the same conditions."""
        f_codes = self.log_ratio(self.standardised(codes.z), codes.asked)
        f_base = self.log_ratio(self._propose(codes.asked), codes.asked)
        loss = softplus(-f_codes).mean() + softplus(f_base).mean()
        weights = f_base.detach().softmax(0)
        effective = 1 / (len(weights) * weights.square().sum())
        return Objectives({"classifier": loss}, note={"effective": effective})

    def log_ratio(self, e: Tensor, asked: Tensor) -> Tensor:
        """The logit f(e, asked), log p(e | asked) - log base(e | asked) but for a constant: [n], in nats."""
        logits: Tensor = self.classifier(with_known(e, asked.to(e.dtype)))
        return logits.squeeze(1)

    @torch.no_grad()
    def sample(self, asked: Tensor) -> Tensor:
        """Draw z [n, d] by resampling M proposals for each row of `asked` [n, k]; it has no gradient."""
        m: int = self.config.proposals
        rows = torch.split(asked.to(self.standardised.mean.dtype), max(1, ROOM // m))
        e = torch.cat([self._resample(some, m) for some in rows])
        return self.standardised.inverse(e).to(asked.dtype)

    def _resample(self, asked: Tensor, m: int) -> Tensor:
        """A code [n, d], chosen among m proposals, for each row of `asked`."""
        each = asked.repeat_interleave(m, 0)
        proposals = self._propose(each)
        weights = self.log_ratio(proposals, each).view(len(asked), m).softmax(1)
        chosen = torch.multinomial(weights, 1) if len(asked) else weights.new_zeros(0, 1, dtype=torch.int64)
        first = m * torch.arange(len(asked), device=asked.device)
        return proposals[first + chosen.squeeze(1)]

    @torch.no_grad()
    def _propose(self, asked: Tensor) -> Tensor:
        """A draw of the base for each row of `asked`, in evaluation mode."""
        return self.base.sample(asked)
