"""Contract tests for plugin authors: check that a part keeps the contract of its kind.

There is one function for each kind of part::

    from genprior.testing import check_prior
    from my_plugin import Ring

    def test_ring() -> None:
        check_prior(Ring.Config(radius=2.0), code=2)

Each function returns None for a correct part. Otherwise it raises one `ContractError` that lists all failures: the
call, its result, the contract and what to do. All draws are seeded, so results are reproducible.
"""

from __future__ import annotations

from genprior.testing.conditioners import check_conditioner
from genprior.testing.datasets import check_dataset
from genprior.testing.embedders import check_embedder
from genprior.testing.exporters import check_exporter
from genprior.testing.figures import check_figure
from genprior.testing.games import check_game
from genprior.testing.hooks import check_hook
from genprior.testing.models import check_model
from genprior.testing.networks import check_critic, check_decoder, check_encoder
from genprior.testing.optimisers import check_optimiser, check_schedule
from genprior.testing.priors import check_prior
from genprior.testing.reconstructions import check_reconstruction
from genprior.testing.report import ContractError
from genprior.testing.scores import check_score

__all__ = [
    "ContractError",
    "check_conditioner",
    "check_critic",
    "check_dataset",
    "check_decoder",
    "check_embedder",
    "check_encoder",
    "check_exporter",
    "check_figure",
    "check_game",
    "check_hook",
    "check_model",
    "check_optimiser",
    "check_prior",
    "check_reconstruction",
    "check_schedule",
    "check_score",
]
