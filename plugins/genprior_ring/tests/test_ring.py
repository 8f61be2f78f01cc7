"""The ring passes the contract test of priors, and its codes have the stated distribution."""

from __future__ import annotations

from importlib.metadata import distributions

import pytest
import torch

if not any(package.name == "genprior-ring" for package in distributions()):
    pytest.skip("genprior-ring is not installed; `pip install plugins/genprior_ring`", allow_module_level=True)

from genprior import PlanError, Sizes
from genprior.testing import check_prior
from genprior_ring import Ring


@pytest.mark.parametrize("config", [Ring.Config(), Ring.Config(radius=0.5, thickness=1.0)])
def test_contract(config: Ring.Config) -> None:
    check_prior(config, code=2)
    check_prior(config, code=2, asked=3)


def test_the_mean_square_distance_from_the_centre() -> None:
    """E |z|^2 = r^2 + 2 t^2 = 6 and Var |z|^2 = 4 t^2 (r^2 + t^2) = 20; fails by chance with probability 6e-7."""
    torch.manual_seed(0)
    ring = Ring.Config(radius=2.0, thickness=1.0).make(Sizes((1, 8, 8), 2, 0, 0))
    z = ring.sample(torch.zeros(10_000, 0))
    assert abs(float(z.square().sum(1).mean()) - 6.0) < 5 * (20 / 10_000) ** 0.5


def test_a_code_of_three_numbers_is_refused() -> None:
    with pytest.raises(PlanError, match="needs codes of 2 numbers; the code has 3. Set code_size = 2"):
        Ring.Config().make(Sizes((1, 8, 8), 3, 0, 0))
