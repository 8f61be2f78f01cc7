"""The contract of priors beside sampling and densities: energies, leaving out training images, and preparation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from genprior.engine.fit import begin_fit
from genprior.parts import DataInfo, FittedPrior, PartConfig, Sizes
from genprior.randomness import seeded
from genprior.testing.densities import check_gradient
from genprior.testing.fits import some_codes
from genprior.testing.fixture import Fixture
from genprior.testing.report import Contract
from genprior.testing.tensors import batch_of, one_hot

__all__ = ["check_energy", "check_leaving_out", "fitted_alone", "preparation"]

ROWS = 32


def fitted_alone(config: PartConfig) -> bool:
    """Whether a prior can only be fitted to codes."""
    return issubclass(config.part, FittedPrior) and not config.part.joint


def preparation(config: PartConfig, sizes: Sizes) -> Callable[[Any, torch.dtype], None]:
    """Lets a prior begin from random images, or fits one that can only be fitted to codes, before it is checked."""
    if fitted_alone(config):
        return lambda prior, dtype: begin_fit(prior, some_codes(prior.sizes.code, sizes.asked, dtype), 0)
    return lambda prior, dtype: prior.begin(lambda n: batch_of(DataInfo(prior.sizes.image, ()), n, dtype))


def check_energy(contract: Contract, fixture: Fixture) -> None:
    """The energy's shape and gradient, and that each row's depends on that row alone."""
    prior, width = fixture.make().eval(), fixture.sizes.asked
    asked = one_hot(ROWS, width)
    with seeded("testing", "energy"), torch.no_grad():
        z = prior.sample(asked)
    called = f"energy(z [{ROWS}, {z.shape[1]}], asked [{ROWS}, {width}] float64)"
    with torch.no_grad():
        energy = contract.call(called, lambda: prior.energy(z, asked), "energy returns one number for each code")
    if not contract.tensor(called, energy, (ROWS,), torch.float64, "one energy for each code"):
        return
    with torch.no_grad():
        alone = torch.cat([prior.energy(z[i : i + 1], asked[i : i + 1]) for i in range(4)])
    contract.require(
        torch.allclose(alone, energy[:4], rtol=1e-8, atol=1e-8),
        f"energy of a code alone, and of the same code among {ROWS}",
        "different energies",
        "in evaluation mode each row's energy depends on that row alone",
        "take no statistics over the batch, and check the axis of each sum",
    )
    check_gradient(contract, called, lambda codes: prior.energy(codes, asked[:4]), z[:4])


def check_leaving_out(contract: Contract, fixture: Fixture) -> None:
    """Leaving out an image that is no training image leaves the density as it is."""
    prior, width = fixture.make().eval(), fixture.sizes.asked
    asked, nowhere = one_hot(ROWS, width), torch.full((ROWS,), 10**9)
    with seeded("testing", "leaving out"), torch.no_grad():
        z = prior.sample(asked)
        called = f"log_prob_without(z [{ROWS}, {z.shape[1]}], asked [{ROWS}, {width}] float64, index [{ROWS}])"
        without = contract.call(called, lambda: prior.log_prob_without(z, asked, nowhere))
        if contract.tensor(called, without, (ROWS,), torch.float64, "one log-density for each code"):
            contract.require(
                torch.allclose(without, prior.log_prob(z, asked)),
                f"{called}, where no training image has these places",
                "other numbers than log_prob",
                "an image that the prior is not made of changes no density",
                "compare `index` with the places of the training images, Batch.index of begin's draw",
            )
