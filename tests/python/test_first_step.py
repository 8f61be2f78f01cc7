"""A value of a part that is not finite in the first step: which plugin and line, and no advice on learning rates."""

from __future__ import annotations

import inspect

import pytest
import torch

import genprior
from genprior import DensityPrior, RecipeError
from genprior.launch.preflight import preflight

from .small_tables import tables

pytestmark = pytest.mark.usefixtures("clean_session")


class Broken(DensityPrior):
    """A prior whose codes or densities are NaN."""

    name = "broken"

    def sample(self, asked):
        return torch.full((len(asked), self.sizes.code), torch.nan, device=asked.device)

    def log_prob(self, z, asked):
        return z.sum(1) / 0.0


def message(content):
    genprior.register(Broken)
    content["model"]["prior"] = {"name": "broken"}
    with pytest.raises(RecipeError) as caught:
        preflight(genprior.make_recipe(content), "cpu")
    return str(caught.value)


def vae():
    content = tables()
    aae = content["model"]
    content["model"] = {key: aae[key] for key in ("code_size", "decoder")} | {
        "name": "vae",
        "encoder": aae["encoder"] | {"posterior": "gaussian"},
        "reconstruction": {"name": "pixel", "reduction": "sum", "metric": "gaussian"},
    }
    return content


@pytest.mark.parametrize(("content", "method"), [(tables(), "sample"), (vae(), "log_prob")], ids=["aae", "vae"])
def test_the_line_of_the_part_is_named_and_no_rate_is_to_blame(content, method):
    text = message(content)
    line = inspect.getsourcelines(getattr(Broken, method))[1] + 1
    assert f"First was what prior (Broken) returned from {method}(), at {__file__}:{line} of this process (" in text
    assert (
        "No step was taken before, so the cause is no learning rate, but what that part computes, the settings or the "
        "images; or, under bf16, try"
    ) in text
    for wrong in ("Lower the learning rate", "starts anew", "on_divergence"):
        assert wrong not in text
