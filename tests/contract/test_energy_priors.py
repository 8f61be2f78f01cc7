"""The contract of priors with an energy, of priors made of training images, and of samples without a gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genprior import DensityPrior, EnergyPrior, LeaveOneOutPrior, Prior
from genprior.testing import ContractError, check_prior


class Tilted(EnergyPrior):
    name = "tilted"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.slope = nn.Parameter(torch.ones(sizes.code))

    def energy(self, z, asked):
        return 0.5 * (z - self.slope).square().sum(1)

    def sample(self, asked):
        return (self.slope + torch.randn(len(asked), self.sizes.code).to(asked)).detach()


class MixedRows(Tilted):
    name = "mixed_rows"

    def energy(self, z, asked):
        return super().energy(z, asked) + z.mean()


class Column(Tilted):
    name = "column"

    def energy(self, z, asked):
        return super().energy(z, asked)[:, None]


class WrongGradient(Tilted):
    name = "wrong_gradient"

    def energy(self, z, asked):
        return super().energy(z, asked) + z.detach().square().sum(1)


class NoGradient(Tilted):
    name = "no_gradient"
    reparameterised = True


class Centred(LeaveOneOutPrior):
    name = "centred"

    def sample(self, asked):
        return torch.randn(len(asked), self.sizes.code).to(asked)

    def log_prob(self, z, asked):
        return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)

    def log_prob_without(self, z, asked, index):
        return self.log_prob(z, asked)


class AlwaysLess(Centred):
    name = "always_less"

    def log_prob_without(self, z, asked, index):
        return self.log_prob(z, asked) - 1


class Unstated(Prior):
    name = "unstated"

    def sample(self, asked):
        return torch.randn(len(asked), self.sizes.code).to(asked)

    def energy(self, z, asked):
        return z.square().sum(1)


class UnstatedLeaving(DensityPrior):
    name = "unstated_leaving"
    sample = Centred.sample
    log_prob = Centred.log_prob

    def log_prob_without(self, z, asked, index):
        return self.log_prob(z, asked)


@pytest.mark.parametrize("part", [Tilted, Centred])
def test_right_priors_pass(part):
    check_prior(part)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (MixedRows, "in evaluation mode each row's energy depends on that row alone"),
        (Column, "one energy for each code"),
        (WrongGradient, "gradient"),
        (NoGradient, "reparameterised = False in the class body, for a prior that learns from its density alone"),
        (AlwaysLess, "an image that the prior is not made of changes no density"),
        (Unstated, "derive it from genprior.EnergyPrior in place of genprior.Prior, or leave energy out"),
        (UnstatedLeaving, "derive it from genprior.LeaveOneOutPrior in place of genprior.DensityPrior"),
    ],
)
def test_broken_priors_are_told_what_to_do(part, text):
    with pytest.raises(ContractError) as caught:
        check_prior(part)
    assert text in " ".join(str(caught.value).split())
