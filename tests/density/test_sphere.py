"""The uniform prior on the sphere: its area, its samples, and the contract of densities on the sphere."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from genprior.errors import PlanError
from genprior.parts import Sizes
from genprior.testing import ContractError, check_prior
from genprior_std.layers.von_mises_fisher import VonMisesFisher
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.sphere import Sphere
from genprior_std.priors.vampprior import VampPrior


def prior_of(code):
    return Sphere.Config().make(Sizes((1, 4, 4), code, 0, 0))


@pytest.mark.parametrize(("code", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2), (6, math.pi**3)])
def test_the_density_is_one_over_the_area(code, area):
    log_p = prior_of(code).log_prob(torch.eye(code, dtype=torch.float64), torch.zeros(code, 0))
    torch.testing.assert_close(log_p, torch.full((code,), -math.log(area), dtype=torch.float64))


@pytest.mark.parametrize("code", [2, 3, 10])
def test_samples_are_uniform(code):
    """((1 + z_j) / 2) is Beta((d-1)/2, (d-1)/2) for each coordinate: refused at random with probability 1e-3 each."""
    torch.manual_seed(0)
    z = prior_of(code).sample(torch.zeros(20000, 0, dtype=torch.float64))
    assert (z.norm(dim=1) - 1).abs().max() < 1e-12
    for j in (0, code - 1):
        assert stats.kstest((1 + z[:, j].numpy()) / 2, stats.beta((code - 1) / 2, (code - 1) / 2).cdf).pvalue > 1e-3


def test_a_code_of_one_number_is_refused():
    with pytest.raises(
        PlanError, match=r"'sphere' needs codes of 2 numbers or more: .* code_size = 1 is two points\. Set"
    ):
        prior_of(1)


def test_the_circle_and_the_globe_are_walked_in_equal_areas():
    like = torch.zeros(1, dtype=torch.float64)
    circle = prior_of(2).walk(8, like)
    assert circle.shape == (1, 8, 2)
    torch.testing.assert_close(torch.atan2(circle[0, :, 1], circle[0, :, 0]).cos(), circle[0, :, 0])
    torch.testing.assert_close(circle[0, 0] @ circle[0, 1], torch.tensor(math.cos(math.pi / 4), dtype=torch.float64))
    globe = prior_of(3).walk(6, like)
    assert globe.shape == (6, 6, 3)
    torch.testing.assert_close(globe.norm(dim=2), torch.ones(6, 6, dtype=torch.float64))
    torch.testing.assert_close(globe[:, 0, 2].diff(), torch.full((5,), -1 / 3, dtype=torch.float64))
    assert prior_of(4).walk(6, like) is None


@pytest.mark.parametrize("code", [2, 3, 4, 9])
def test_it_keeps_the_contract(code):
    check_prior(Sphere, code=code)


def test_a_vampprior_of_posteriors_on_the_sphere_is_a_density_on_it():
    sizes = Sizes((1, 8, 8), 3, 0, 0)
    torch.manual_seed(0)
    encoder = MlpEncoder.Config(hidden=(8,), posterior="von_mises_fisher").make(sizes)
    check_prior(VampPrior.Config(components=4, std=0.5), code=3, lend={"encoder": encoder})


class Off(Sphere):
    """Its density lacks the area of the sphere."""

    name = "off"

    def log_prob(self, z, asked):
        return torch.zeros_like(z[:, 0])


class Inside(Sphere):
    """Its samples lie inside of the sphere."""

    name = "inside"

    def sample(self, asked):
        return 0.9 * super().sample(asked)


class Concentrated(Sphere):
    """Its samples are uniform, and its density is not."""

    name = "concentrated"

    def log_prob(self, z, asked):
        mean = torch.eye(z.shape[1], dtype=z.dtype)[:1].expand_as(z)
        return VonMisesFisher(mean, torch.full((len(z),), 0.5, dtype=z.dtype)).log_prob(z)


@pytest.mark.parametrize("code", [2, 3, 7])
@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Off, "integrates to 1 over the surface of the unit sphere"),
        (Inside, "have length 1"),
        (Concentrated, "samples are distributed by the density"),
    ],
)
def test_the_contract_finds_what_is_wrong(part, text, code):
    with pytest.raises(ContractError, match=text):
        check_prior(part, code=code)
