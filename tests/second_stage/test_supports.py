"""Priors that are fitted to codes on the unit sphere: those that leave it are refused before training."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch

import genprior
from genprior import DensityPrior, PlanError, RecipeError, ScoreError
from genprior.engine.build import build_model
from genprior.recipe.load import Recipe
from genprior.registry import installed
from genprior_std.priors.kde import KernelDensity

RECIPE = """
[run]
steps = 4
batch = 16
sample_every = 100
hooks.pictures.enabled = false
fit = { steps = 3, batch = 32 }
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
[model]
name = "vae"
code_size = 4
prior = { name = "sphere" }
fitted_prior = { name = "nearest" }
encoder = { name = "mlp", hidden = [16], posterior = "von_mises_fisher" }
decoder = { name = "mlp", hidden = [16] }
reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.5, reduction = "sum" }
[[row]]
label = "sphere"
"""


def recipe(*settings: str) -> Recipe:
    return genprior.make_recipe(tomllib.loads(RECIPE), settings=settings)


@pytest.mark.parametrize("name", ["gaussian_mixture", "kde", "flow", "two_stage_vae", "code_gan"])
@pytest.mark.parametrize("model", ["vae", "iwae"])
def test_a_prior_that_leaves_the_sphere_is_refused(model: str, name: str) -> None:
    tables = tomllib.loads(RECIPE.replace('"vae"', f'"{model}"'))
    plan = genprior.make_recipe(tables, settings=[f'model.fitted_prior={{name="{name}"}}']).plans[0]
    with pytest.raises(PlanError) as caught:
        build_model(plan.model, genprior.DataInfo((1, 8, 8), ()), 0)
    assert str(caught.value) == (
        f"fitted_prior = '{name}' draws codes in all of space, and the codes of encoder 'mlp' lie on the unit sphere, "
        "so the decoder would get codes that it was not trained for. Leave fitted_prior out, choose one whose "
        "`supports` have \"unit_sphere\" ('nearest' has), or choose another posterior of the encoder"
    )


def test_nothing_is_written_for_a_prior_that_leaves_the_sphere(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"fitted_prior = 'kde' draws codes in all of space, and .* \[row sphere\]"):
        genprior.train(recipe('model.fitted_prior={name="kde"}'), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_codes_themselves_stay_on_the_sphere(no_curves, tmp_path: Path) -> None:
    genprior.train(recipe(), out=tmp_path)
    run = genprior.load_run(tmp_path / "sphere" / "seed-0")
    z = run.model.code_prior.sample(torch.zeros(50, 0))
    assert torch.allclose(z.norm(dim=1), torch.ones(50), atol=1e-5)
    with pytest.raises(ScoreError) as caught:  # the score names the setting to change
        run.score("elbo")
    assert "it needs log p(z), and fitted_prior 'nearest' of this model 'vae' has no log_prob" in str(caught.value)
    assert "Use a fitted_prior with a density ('gaussian_mixture', 'kde', 'flow'), or score" in str(caught.value)


def test_a_likelihood_that_finds_it_at_the_first_batch_names_the_fitted_prior() -> None:
    model = build_model(recipe().plans[0].model, genprior.DataInfo((1, 8, 8), ()), 0)
    model.fitted_prior = KernelDensity(KernelDensity.Config(), model.fitted_prior.sizes)
    images = genprior.ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ("0",))
    with pytest.raises(PlanError, match="fitted_prior 'kde' on all of space, .* Leave fitted_prior"):
        model.infer(genprior.as_batch(model, images, "cpu"))


def test_the_priors_that_the_message_names_have_a_density() -> None:
    from genprior_std.scores.likelihood import DENSITIES

    for role, names in DENSITIES.items():
        for name in names.split(", "):
            part = installed().find("prior", name.strip("'"))
            assert issubclass(part, DensityPrior)
            part.check_role(role)
