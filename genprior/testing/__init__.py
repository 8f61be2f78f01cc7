"""Contract tests for plugin authors: check that a part keeps the contract of its kind.

There is one function for each kind of part::

    from genprior.testing import check_prior
    from my_plugin import Ring

    def test_ring() -> None:
        check_prior(Ring.Config(radius=2.0), code=2)

Each function returns None for a correct part. Otherwise it raises one `ContractError` that lists all failures: the
call, its result, the contract and what to do. All draws are seeded, so results are reproducible.

`pytest --genprior MODULE` runs them for every part that a module registers. Names are loaded on first use, so that
pytest, which loads the option wherever genprior is installed, does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genprior.testing.conditioners import check_conditioner as check_conditioner
    from genprior.testing.datasets import check_dataset as check_dataset
    from genprior.testing.embedders import check_embedder as check_embedder
    from genprior.testing.exporters import check_exporter as check_exporter
    from genprior.testing.figures import check_figure as check_figure
    from genprior.testing.games import check_game as check_game
    from genprior.testing.hooks import check_hook as check_hook
    from genprior.testing.models import check_model as check_model
    from genprior.testing.networks import check_critic as check_critic
    from genprior.testing.networks import check_decoder as check_decoder
    from genprior.testing.networks import check_encoder as check_encoder
    from genprior.testing.optimisers import check_optimiser as check_optimiser
    from genprior.testing.optimisers import check_schedule as check_schedule
    from genprior.testing.priors import check_prior as check_prior
    from genprior.testing.reconstructions import check_reconstruction as check_reconstruction
    from genprior.testing.report import ContractError as ContractError
    from genprior.testing.scores import check_score as check_score

_HOME = {
    "check_conditioner": "conditioners",
    "check_dataset": "datasets",
    "check_embedder": "embedders",
    "check_exporter": "exporters",
    "check_figure": "figures",
    "check_game": "games",
    "check_hook": "hooks",
    "check_model": "models",
    "check_critic": "networks",
    "check_decoder": "networks",
    "check_encoder": "networks",
    "check_optimiser": "optimisers",
    "check_schedule": "optimisers",
    "check_prior": "priors",
    "check_reconstruction": "reconstructions",
    "ContractError": "report",
    "check_score": "scores",
}
"""The module that defines each public name."""

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


def __getattr__(name: str) -> Any:
    """Load a public name from its module, once."""
    if name not in _HOME:
        raise AttributeError(f"module 'genprior.testing' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names."""
    return sorted(__all__)
