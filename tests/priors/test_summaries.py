"""The line of a fitted prior in lists says once that it is fitted to codes."""

from __future__ import annotations

import pytest

from genprior import FittedPrior
from genprior.registry import installed

FITTED = [
    part for name in installed().names("prior") if issubclass(part := installed().find("prior", name), FittedPrior)
]


@pytest.mark.parametrize("part", FITTED, ids=lambda part: part.name)
def test_the_line_of_a_fitted_prior_says_so_once(part):
    assert part.summary().endswith("itted to codes after training.")
    assert part.summary().lower().count("fitted") == 1
