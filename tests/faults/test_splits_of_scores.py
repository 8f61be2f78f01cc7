"""A score that lacks a split of the data says so before anything trains, and what to do."""

from __future__ import annotations

import numpy
import pytest

import genprior
from genprior.errors import RecipeError
from genprior.launch.preflight import preflight

from .test_autoencoder_inputs import CATEGORICAL, HEAD

HOLD_BACK = (
    "Hold images back from training by `validation` in [data], which data sets mnist, fashion_mnist and digits have"
)
INSTEAD = [
    ('{ name = "cluster_error" }', ', or set named_by = "train"', '{ name = "cluster_error", named_by = "train" }'),
    ('{ name = "error_rate", split = "validation" }', ', or set split = "test"', '{ name = "error_rate" }'),
]


def load(folder, score, data):
    path = folder / "splits.toml"
    path.write_text(f"scores = [{score}]\n{HEAD.format(run='', data=data)}{CATEGORICAL}categories = 3\n")
    return genprior.load_recipe(path)


def archive(folder):
    path = folder / "own.npz"
    numpy.savez(path, images=numpy.zeros((20, 8, 8), dtype=numpy.uint8), labels=numpy.arange(20) % 2)
    return f'name = "arrays"\nsize = 8\ntest_fraction = 0.2\npath = "{path.as_posix()}"'


@pytest.mark.parametrize(("score", "way_out"), [*((s, w) for s, w, _ in INSTEAD), ('{ name = "parzen" }', "")])
def test_data_without_a_split_is_told_which_score_needs_it(score, way_out, tmp_path):
    name = score.split('"')[1]
    with pytest.raises(RecipeError) as caught:
        preflight(load(tmp_path, score, archive(tmp_path)), device="cpu")
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"the recipe 'splits' cannot be trained:\n  score '{name}': it needs the split 'validation': data set 'arrays' "
        f"has no split 'validation'. Possible: test, train. {HOLD_BACK}{way_out} [row row]"
    )


@pytest.mark.parametrize("score", [s for _, _, s in INSTEAD])
def test_the_way_out_is_one(score, tmp_path):
    assert not load(tmp_path, score, archive(tmp_path)).plans[0].scores[0].make().needs.keys() - {"train"}
    preflight(load(tmp_path, score, archive(tmp_path)), device="cpu")


def test_data_that_holds_images_back_are_not_refused(tmp_path):
    recipe = load(tmp_path, INSTEAD[0][0], 'name = "digits"\nsize = 8\nvalidation = 200')
    preflight(recipe, device="cpu")
    assert recipe.plans[0].scores[0].make().needs.keys() == {"validation"}
