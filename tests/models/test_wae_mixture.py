"""What docs/autoencoders.md says of the priors that `wae` trains by samples alone."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import genprior
from genprior import GenpriorWarning, RecipeError
from genprior.launch.preflight import preflight


def told(prior: str) -> list[str]:
    """The warnings of a check of a small `wae` with this prior."""
    network: dict[str, Any] = {"name": "mlp", "hidden": [8]}
    model = {"name": "wae", "code_size": 3, "prior": {"name": prior}, "encoder": network, "decoder": network}
    model["reconstruction"] = {"name": "pixel"}
    tables = {"run": {"steps": 2, "batch": 16}, "data": {"name": "digits", "size": 8}, "model": model}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        preflight(genprior.make_recipe({**tables, "optimiser": {"default": {"lr": 1e-3}}}), "cpu")
    return [str(each.message) for each in caught if issubclass(each.category, GenpriorWarning)]


def test_the_weights_of_a_mixture_are_told_to_stay() -> None:
    (text,) = told("gaussian_mixture")
    assert "no phase of model 'wae' ('match') trains prior.logits, which would keep the first values" in text
    assert "To have them trained, use another prior or model; if the first values will do, ignore this" in text


def test_a_prior_that_samples_train_wholly_is_not_told_of() -> None:
    assert told("code_generator") == []


@pytest.mark.parametrize("prior", ["resampled", "latent_ebm"])
def test_a_prior_that_samples_do_not_train_is_refused(prior: str) -> None:
    with pytest.raises(RecipeError, match="its loss does not depend on its parameters"):
        told(prior)
