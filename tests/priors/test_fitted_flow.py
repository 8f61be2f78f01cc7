"""The flow as fitted prior: its likelihood against closed forms, standardisation, and checkpoints of both uses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import genprior
from genprior import Codes, Sizes
from genprior.testing import check_prior
from genprior_std.priors.flow import FAMILIES, Flow

SMALL: dict[str, Any] = {"transforms": 2, "hidden": (16,)}


def flow_of(code: int = 2, **settings: Any) -> Flow:
    flow: Flow = Flow.Config(**{**SMALL, **settings}).make(Sizes((1, 8, 8), code, 0, 0))
    return flow


def fitted(z: Tensor, steps: int, rate: float = 5e-3, **settings: Any) -> Any:
    return genprior.fit_prior(
        Flow.Config(**{**SMALL, **settings}),
        Codes(z, z[:, :0]),
        steps=steps,
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=rate),
    )


@pytest.mark.parametrize("asked", [0, 3])
@pytest.mark.parametrize("kind", FAMILIES)
def test_it_keeps_the_contract_of_a_fitted_prior(kind: Any, asked: int) -> None:
    check_prior(Flow.Config(kind=kind, hidden=(8,), transforms=1), code=3, asked=asked, uses_asked=asked > 0)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_likelihood_of_a_gaussian_is_the_closed_form(kind: Any) -> None:
    """Codes far from unit scale and correlated: held-out log-density against that of SciPy.

    The expected difference is minus a Kullback-Leibler divergence, so not above 0 (5 standard errors), and small.
    """
    torch.manual_seed(0)
    mean, factor = torch.tensor([40.0, -3.0]), torch.tensor([[9.0, 0.0], [0.1, 0.2]])
    z = mean + torch.randn(8000, 2) @ factor.T
    truth = stats.multivariate_normal(mean.numpy(), (factor @ factor.T).numpy()).logpdf(z[4000:].numpy())
    prior = fitted(z[:4000], 300, kind=kind)
    with torch.no_grad():
        gap = prior.log_prob(z[4000:], z[4000:, :0]) - torch.from_numpy(truth)
    assert -0.03 < float(gap.mean()) < 5 * float(gap.std()) / math.sqrt(len(gap))


def test_the_fitted_density_integrates_to_one_and_its_draws_follow_it() -> None:
    torch.manual_seed(1)
    z = torch.cat([30 + torch.randn(1000, 1), 50 + 3 * torch.randn(1000, 1)])
    prior = fitted(z, 200, kind="nsf")
    grid = torch.linspace(-20, 110, 40_001)[:, None]
    with torch.no_grad():
        density = prior.log_prob(grid, grid[:, :0]).exp().double()
        draws = prior.sample(torch.zeros(2000, 0))
    below = torch.cumsum(density, 0) * (130 / 40_000)
    assert float(below[-1]) == pytest.approx(1, abs=1e-3)
    places = below[((draws[:, 0] + 20) * 40_000 / 130).long().clamp(0, 40_000)]
    assert stats.kstest(places.numpy(), "uniform").pvalue > 1e-3


def test_training_with_a_model_keeps_its_state_and_its_numbers() -> None:
    """The state of a flow that was not fitted has the network alone, as before it could be fitted."""
    flow = flow_of()
    state = flow.state_dict()
    assert all(name.startswith("network.") for name in state)
    z = 3 * torch.randn(50, 2)
    assert torch.equal(flow.log_prob(z, z[:, :0]), flow.network(None).log_prob(z))
    torch.manual_seed(2)
    draws = flow.sample(z[:, :0])
    torch.manual_seed(2)
    assert torch.equal(draws, flow.network(None).rsample((50,)))
    flow_of(hidden=(16,)).load_state_dict(state)


def test_states_of_both_uses_load_into_either() -> None:
    joint, z = flow_of(), 5 + 2 * torch.randn(100, 2)
    before = {name: value.clone() for name, value in joint.state_dict().items()}
    prior = fitted(z, 2)
    assert torch.allclose(prior.mean, z.mean(0)) and torch.allclose(prior.scale, z.std(0, correction=0))
    joint.load_state_dict(prior.state_dict())
    assert torch.equal(joint.log_prob(z, z[:, :0]), prior.log_prob(z, z[:, :0]))
    prior.load_state_dict(before)
    assert prior.mean is None and prior.scale is None
    assert prior.state_dict().keys() == before.keys()
