"""Parts that a row does not need need not be named, and one that it needs is asked for."""

from __future__ import annotations

import pytest
import torch

import genprior
from genprior import PlanError, RecipeError
from genprior.engine.build import build_model
from genprior.launch.preflight import preflight
from genprior.parts import DataInfo
from genprior.recipe.tables import model_settings
from genprior.registry import installed

INFO = DataInfo((1, 8, 8), ("a", "b", "c"))
MLP = {"name": "mlp", "hidden": [8]}
CRITIC, GAME = {"name": "code_mlp", "hidden": [8]}, {"name": "nonsaturating"}
SHARED = {"prior": {"name": "gaussian"}, "encoder": MLP, "decoder": MLP, "reconstruction": {"name": "pixel"}}
TWO = {"category_critic": CRITIC, "style_critic": CRITIC, "category_game": GAME, "style_game": GAME}
MODELS = {
    "aae": {**SHARED, "code_size": 3, "code_critic": CRITIC, "code_game": GAME},
    "aae_clustering": {**SHARED, **TWO, "categories": 3, "code_size": 2},
    "aae_semi_supervised": {**SHARED, **TWO, "code_size": 2},
    "aae_dimension_reduction": {**SHARED, **TWO, "categories": 3, "code_size": 2},
}
IMAGE = {"image_critic": {"name": "image_mlp", "hidden": [8]}, "image_game": GAME}


def built(model, **settings):
    return build_model(model_settings({"name": model, **MODELS[model], **settings}), INFO, 0)


@pytest.mark.parametrize("model", MODELS)
def test_a_row_without_an_image_critic_is_the_same_whether_it_names_one(model):
    short, named = built(model), built(model, **IMAGE)
    assert [phase.name for phase in short.phases()] == [phase.name for phase in named.phases()]
    assert "improve_prior" not in [phase.name for phase in short.phases()]
    first, second = short.state_dict(), named.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("model", MODELS)
def test_a_row_that_needs_an_image_critic_asks_for_it(model):
    with pytest.raises(PlanError) as error:
        built(model, improves={"decoder": True})
    assert str(error.value) == (
        f"model '{model}' with improves.decoder = true needs image_critic and image_game, which [model] does not name. "
        'Add image_critic = { name = "dcgan" } and image_game = { name = "nonsaturating" }, or others: '
        "`genprior parts critic` and `genprior parts game` list them"
    )
    assert "image_critic" in dict(built(model, improves={"decoder": True}, **IMAGE).named_children())


def test_what_needs_it_is_named():
    with pytest.raises(PlanError, match="'aae' with reconstruction 'learned_similarity' needs image_game, which"):
        built("aae", reconstruction={"name": "learned_similarity"}, image_critic=IMAGE["image_critic"])
    both = (
        "improves.prior = true and conditioner 'infogan' needs image_critic, which .* Add image_critic = { name = \"dcg"
    )
    with pytest.raises(PlanError, match=both):
        built("aae", improves={"prior": True}, conditioner={"name": "infogan"}, image_game=GAME)


RECIPE = """
title = "short"
data = { name = "digits", size = 8 }
run = { steps = 2, batch = 8 }
optimiser.default = { name = "adam", lr = 1e-3 }
[model]
name = "aae"
code_size = 3
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [8] }
decoder = { name = "mlp", hidden = [8] }
code_critic = { name = "code_mlp", hidden = [8] }
reconstruction = { name = "pixel" }
code_game = { name = "nonsaturating" }
"""


def test_a_short_recipe_is_trained_resolved_and_read_again(tmp_path, no_curves):
    (tmp_path / "short.toml").write_text(RECIPE)
    genprior.train(genprior.load_recipe(tmp_path / "short.toml"), out=tmp_path / "runs", device="cpu")
    folder = tmp_path / "runs" / "base" / "seed-0"
    resolved = (folder / "recipe.toml").read_text()
    assert "image_critic" not in resolved
    assert '[model.conditioner]\nname = "none"' in resolved
    assert genprior.load_run(folder).sample(2).shape == (2, 1, 8, 8)


def test_a_recipe_that_lacks_a_part_is_refused_before_training(tmp_path):
    (tmp_path / "short.toml").write_text(RECIPE + "improves.decoder = true\n")
    with pytest.raises(RecipeError, match=r"with improves.decoder = true needs image_critic and image_game"):
        preflight(genprior.load_recipe(tmp_path / "short.toml"), "cpu")


CONDITIONED = ["aae", "gan", "vae", "vae_gan", "iwae", "ncrp_vae", "pixelcnn", "pixelgan"]


@pytest.mark.parametrize("model", CONDITIONED)
def test_a_model_has_no_condition_by_default(model):
    assert installed().find("model", model).Config.model_fields["conditioner"].default.name == "none"
