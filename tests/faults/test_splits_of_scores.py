"""A score that lacks a split of the data says so before anything trains, and what to do."""

from __future__ import annotations

import numpy
import pytest

import genprior
from genprior.errors import RecipeError, ScoreError
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


TOO_FEW = [
    (
        '"classifier_score", samples = 8',
        "splits = 10 needs samples = 10 or more, and samples = 8; raise samples, or",
    ),
    (
        '"inception_score", samples = 4, splits = 5',
        "splits = 5 needs samples = 5 or more, and samples = 4; raise samp",
    ),
    (
        '"kid", extractor = "random", samples = 40',
        "subset_size = 1000 needs samples = 1000 or more, and samples = 40; ",
    ),
]


@pytest.mark.parametrize(("settings", "text"), TOO_FEW)
def test_fewer_samples_than_splits_are_refused_before_training(settings, text, tmp_path):
    recipe = load(tmp_path, f"{{ name = {settings} }}", 'name = "digits"\nsize = 8')
    with pytest.raises(RecipeError) as caught:
        preflight(recipe, device="cpu")
    name = settings.split('"')[1]
    assert f"the recipe 'splits' cannot be trained:\n  score '{name}': {text}" in str(caught.value)


def test_what_a_score_itself_checks_of_its_settings_is_refused_before_training(tmp_path, monkeypatch):
    def refuse(self):
        raise ScoreError("these settings measure nothing; leave it out")

    monkeypatch.setattr(genprior.Score, "check", refuse)
    with pytest.raises(RecipeError, match=r"score 'error_rate': these settings measure nothing; leave it out"):
        preflight(load(tmp_path, INSTEAD[1][2], archive(tmp_path)), device="cpu")


@pytest.mark.parametrize("score", [s for _, _, s in INSTEAD])
def test_the_way_out_is_one(score, tmp_path):
    assert not load(tmp_path, score, archive(tmp_path)).plans[0].scores[0].make().needs.keys() - {"train"}
    preflight(load(tmp_path, score, archive(tmp_path)), device="cpu")


def test_data_that_holds_images_back_are_not_refused(tmp_path):
    recipe = load(tmp_path, INSTEAD[0][0], 'name = "digits"\nsize = 8\nvalidation = 200')
    preflight(recipe, device="cpu")
    assert recipe.plans[0].scores[0].make().needs.keys() == {"validation"}


SEEN = 'name = "digits"\nsize = 8\nvalidation = 200\ntest_split = "validation"'


@pytest.mark.parametrize("score", ["cluster_error", "parzen"])
def test_a_score_does_not_choose_by_the_images_that_it_scores(score, tmp_path):
    with pytest.raises(RecipeError) as caught:
        preflight(load(tmp_path, f'{{ name = "{score}" }}', SEEN), device="cpu")
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"the recipe 'splits' cannot be trained:\n  score '{score}': it chooses something by the images of the split "
        "'validation' and scores those of 'test', which are the same images here, as with test_split = "
        '"validation" in [data]; leave test_split out, or the score, or choose settings with which it does '
        "not read 'validation' [row row]"
    )


@pytest.mark.parametrize(
    "score", ['"cluster_error", named_by = "train"', '"error_rate"', '"error_rate", split = "validation"']
)
def test_a_score_that_chooses_nothing_by_validation_images_may_score_them(score, tmp_path):
    assert preflight(load(tmp_path, f"{{ name = {score} }}", SEEN), device="cpu") == []  # and so not refused
