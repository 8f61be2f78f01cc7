"""Contract tests that a plugin author calls: whether a part keeps the promises of its kind.

One function for each kind of part that computes::

    from genprior.testing import check_prior
    from my_plugin import Ring

    def test_ring() -> None:
        check_prior(Ring.Config(radius=2.0), code=2)

Each function returns nothing where the part is right, and raises one `ContractError` with everything that it found
where it is not: what was called, what came back, what the contract says and what to do. All draws are seeded, so a
result does not change from one run to the next.
"""

from __future__ import annotations

from genprior.testing.conditioners import check_conditioner
from genprior.testing.games import check_game
from genprior.testing.models import check_model
from genprior.testing.networks import check_critic, check_decoder, check_encoder
from genprior.testing.priors import check_prior
from genprior.testing.reconstructions import check_reconstruction
from genprior.testing.report import ContractError

__all__ = [
    "ContractError",
    "check_conditioner",
    "check_critic",
    "check_decoder",
    "check_encoder",
    "check_game",
    "check_model",
    "check_prior",
    "check_reconstruction",
]
