"""Codes of a collapsed encoder, which are all equal, are told of whatever prior is fitted to them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import genprior
from genprior import Codes, GenpriorWarning
from genprior_std.priors.flow_matching import FlowMatching
from genprior_std.priors.gaussian_mixture import GaussianMixture
from genprior_std.priors.kde import KernelDensity
from genprior_std.priors.nearest import Nearest

PRIORS = [
    FlowMatching.Config(hidden=(8,)),
    GaussianMixture.Config(components=2),
    KernelDensity.Config(),
    Nearest.Config(),
]


@pytest.mark.parametrize("config", PRIORS, ids=lambda config: config.name)
def test_codes_that_do_not_vary_are_told_of(config: Any) -> None:
    """A collapsed encoder, whose codes may differ by rounding; numbers that are constant alone are no reason."""
    z = torch.full((50, 2), 1.5)
    with pytest.warns(GenpriorWarning, match=f"all 50 codes .* equal, so prior '{config.name}' has nothing to learn"):
        genprior.fit_prior(config, Codes(z * (1 + 1e-7 * torch.randn(50, 2)), z[:, :0]), steps=1)
    varied = torch.cat([z[:, :1], torch.randn(50, 1)], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        genprior.fit_prior(config, Codes(varied, z[:, :0]), steps=1)
