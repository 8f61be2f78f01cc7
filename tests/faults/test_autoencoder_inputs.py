"""Error messages about impossible settings of adversarial autoencoders, before anything trains."""

from __future__ import annotations

import re

import numpy
import pytest
import torch

import genprior
from genprior.errors import PlanError, RecipeError
from genprior.launch.preflight import preflight
from genprior.parts import Batch, DataInfo
from genprior.randomness import seeded
from genprior.runs.trainer import Trainer

TRAIN = 1_437
"""Training images of the digits."""

HEAD = """
title = "faults"
[run]
steps = 2
batch = 4
{run}
[data]
{data}
[optimiser.default]
lr = 1e-3
[[row]]
label = "row"
changes = []
[model]
"""
DIGITS = 'name = "digits"\nsize = {size}'
MLP = '{ name = "mlp", hidden = [8] }'
CRITIC = '{ name = "code_mlp", hidden = [8] }'

CATEGORICAL = f"""
name = "aae_clustering"
code_size = 2
prior = {{ name = "gaussian" }}
encoder = {MLP}
decoder = {MLP}
category_critic = {CRITIC}
style_critic = {CRITIC}
image_critic = {{ name = "image_mlp", hidden = [8] }}
reconstruction = {{ name = "pixel" }}
category_game = {{ name = "nonsaturating" }}
style_game = {{ name = "nonsaturating" }}
image_game = {{ name = "nonsaturating" }}
"""
AAE = f"""
name = "aae"
code_size = 2
prior = {{ name = "gaussian" }}
encoder = {MLP}
decoder = {MLP}
code_critic = {CRITIC}
image_critic = {{ name = "image_mlp", hidden = [8] }}
reconstruction = {{ name = "pixel" }}
conditioner = {{ name = "none" }}
code_game = {{ name = "nonsaturating" }}
image_game = {{ name = "nonsaturating" }}
"""
PIXELGAN = f"""
name = "pixelgan"
code_size = 10
prior = {{ name = "categorical" }}
encoder = {{ name = "mlp", hidden = [8], posterior = "softmax" }}
decoder = {{ name = "pixelcnn", width = 2, head_width = 2, blocks = 0, first_kernel = 3, distribution = "softmax" }}
code_critic = {CRITIC}
conditioner = {{ name = "none" }}
code_game = {{ name = "nonsaturating" }}
"""
GAN = """
name = "gan"
code_size = 2
prior = { name = "gaussian" }
decoder = { name = "mlp", hidden = [8], conditional = true }
image_critic = { name = "image_mlp", hidden = [8], conditional = true }
conditioner = { name = "label" }
game = { name = "nonsaturating" }
"""


def load(folder, model, *, run="", size=8, data=None, changes=(), settings=()):
    """A recipe of one row, with lines of its model replaced, and settings as the command line has them."""
    for old, new in changes:
        assert old in model, old
        model = model.replace(old, new)
    path = folder / "faults.toml"
    path.write_text(HEAD.format(run=run, data=data or DIGITS.format(size=size)) + model)
    return genprior.load_recipe(path, settings=settings)


def told(folder, model, **options):
    """The error message of the recipe, in one line."""
    recipe = load(folder, model, **options)
    with pytest.raises(RecipeError) as caught:
        preflight(recipe, device="cpu")
    assert caught.value.exit_code == 2
    start = "the recipe 'faults' cannot be trained:\n  "
    text = str(caught.value)
    assert text.startswith(start) and text.endswith(" [row row]")
    return text.removeprefix(start).removesuffix(" [row row]")


def taken(folder, model, **options):
    """The trainer of a recipe that is not refused, after one step of it."""
    recipe = load(folder, model, **options)
    preflight(recipe, device="cpu")
    trainer = Trainer(recipe.plans[0], 0, folder / "run", device="cpu")
    trainer.prepare()
    before = [p.clone() for p in trainer.model.parameters()]
    trainer.one_step()
    moved = [not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True)]
    assert any(moved)
    assert all(bool(p.isfinite().all()) for p in trainer.model.parameters())
    return trainer


def archive(folder, labels=None, classes=None, images=20):
    """The table of data of an archive of black images of 8 x 8, all of which train."""
    arrays = {"images": numpy.zeros((images, 8, 8), dtype=numpy.uint8)}
    if labels is not None:
        arrays["labels"] = numpy.resize(numpy.array(labels), images)
    if classes is not None:
        arrays["classes"] = numpy.array(classes)
    path = folder / "own.npz"
    numpy.savez(path, **arrays)
    return f'name = "arrays"\nsize = 8\ntest_fraction = 0\npath = "{path.as_posix()}"'


def semi(model):
    """The model as it learns classes from few labels, its name replaced."""
    name = re.search(r'name = "(\w+)"', model)[1]
    return (f'name = "{name}"', f'name = "{name.removesuffix("_clustering")}_semi_supervised"')


SEMI_SUPERVISED = {
    "aae_semi_supervised": (CATEGORICAL, [semi(CATEGORICAL)]),
    "pixelgan_semi_supervised": (PIXELGAN, [semi(PIXELGAN), ("code_size = 10\n", "")]),
}


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_what_is_right_is_not_refused(name, tmp_path):
    model, changes = SEMI_SUPERVISED[name]
    few = taken(tmp_path, model, changes=changes, run="labels = 10").data.batch(0).labelled
    assert sorted(few.y.tolist()) == sorted(few.y.unique().tolist())
    assert taken(tmp_path, model).data.batch(0).labelled is None


@pytest.mark.parametrize(("model", "name"), [(AAE, "aae"), (GAN, "gan")])
def test_the_other_models_of_this_file_are_right_too(model, name, tmp_path):
    assert taken(tmp_path, model).model.name == name


# ---------------------------------------------------------------------------------------------------------------------
# How many labels
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
@pytest.mark.parametrize("labels", [9, TRAIN + 1])
def test_labels_are_at_least_one_a_class_and_at_most_one_an_image(name, labels, tmp_path):
    model, changes = SEMI_SUPERVISED[name]
    assert told(tmp_path, model, changes=changes, run=f"labels = {labels}") == (
        f"run.labels = {labels}, but each of the 10 classes needs at least one label, and there are 1437 training "
        "images; choose 10 to 1437"
    )


def test_a_share_of_labels_is_counted_before_it_is_refused(tmp_path):
    model, changes = SEMI_SUPERVISED["aae_semi_supervised"]
    assert told(tmp_path, model, changes=changes, run="labels = 0.005").startswith("run.labels = 7, but each")


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_a_labelled_batch_is_no_larger_than_the_images_with_labels(name, tmp_path):
    model, changes = SEMI_SUPERVISED[name]
    assert told(tmp_path, model, changes=changes, run="labels = 20\nlabelled_batch = 21") == (
        "run.labelled_batch = 21 is more than the 20 images that keep their label; choose 1 to 20, raise run.labels, "
        "or leave run.labelled_batch out"
    )
    trainer = taken(tmp_path, model, changes=changes, run="labels = 20\nlabelled_batch = 20")
    assert len(trainer.data.batch(0).labelled.y) == 20


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_a_labelled_batch_without_a_number_of_labels_is_refused(name, tmp_path):
    model, changes = SEMI_SUPERVISED[name]
    assert told(tmp_path, model, changes=changes, run="labelled_batch = 8") == (
        "run.labelled_batch = 8 has no effect without run.labels: all images keep their label. Set run.labels to the "
        "number of images that keep it, or leave run.labelled_batch out"
    )


def test_a_batch_larger_than_a_small_data_set_is_the_one_of_the_recipe(tmp_path):
    data = archive(tmp_path, images=10)
    assert told(tmp_path, CATEGORICAL, data=data, settings=["run.batch=16"]) == (
        "run.batch = 16 is more than the 10 images of the training split; choose a smaller batch"
    )


def test_few_labels_of_data_without_labels_are_refused(tmp_path):
    assert told(tmp_path, CATEGORICAL, data=archive(tmp_path), run="labels = 5") == (
        "run.labels = 5, but this data set has no labels; use a labelled data set, or leave run.labels out"
    )


def test_a_condition_on_every_label_is_refused_where_few_are_seen(tmp_path):
    text = (
        "conditioner 'label' needs the label of every image, and run.labels = 100 hides all others. Leave run.labels "
        "out, or use conditioner 'partial_label' or model 'aae_semi_supervised'"
    )
    assert told(tmp_path, GAN, run="labels = 100") == text
    other = [('conditioner = { name = "none" }', 'conditioner = { name = "label" }')]
    assert told(tmp_path, AAE, changes=other, run="labels = 100") == text


# ---------------------------------------------------------------------------------------------------------------------
# Labels that are missing or wrong
# ---------------------------------------------------------------------------------------------------------------------


def test_models_of_classes_need_labels(tmp_path):
    data = archive(tmp_path)
    model, changes = SEMI_SUPERVISED["aae_semi_supervised"]
    assert told(tmp_path, model, changes=changes, data=data) == (
        "model 'aae_semi_supervised' learns classes from labels; this data set has no classes, and two are needed. Use "
        "model 'aae_clustering', which needs no labels, or a data set with labels"
    )
    laid_out = [('name = "aae_clustering"', 'name = "aae_dimension_reduction"\nlabels = true')]
    assert told(tmp_path, CATEGORICAL, changes=laid_out, data=data).startswith(
        "model 'aae_dimension_reduction' learns classes from labels; this data set has no classes"
    )
    model, changes = SEMI_SUPERVISED["pixelgan_semi_supervised"]
    assert told(tmp_path, model, changes=changes, data=data) == (
        "model 'pixelgan_semi_supervised' learns classes, and this data set has none. Use a data set with labels, or "
        "model 'pixelgan'"
    )
    partial = [('conditioner = { name = "none" }', 'conditioner = { name = "partial_label" }')]
    assert told(tmp_path, AAE, changes=partial, data=data) == (
        "conditioner 'partial_label' needs images of which at least some are labelled; this data set has no classes. "
        "Use conditioner 'none' or 'infogan', or a data set with labels"
    )


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        ([0, 1, 2], ["round", "square"], "labels run from 0 to 2; 0..1 (2 classes) is possible"),
        ([-1, 0, 1], ["round", "square"], "labels run from -1 to 1; 0..1 (2 classes) is possible"),
        ([-3, 4], None, "labels run from -3 to 4; 0..4 (5 classes) is possible"),
    ],
)
def test_labels_out_of_range_are_named_with_their_file(labels, classes, says, tmp_path):
    data = archive(tmp_path, labels, classes)
    model, changes = SEMI_SUPERVISED["aae_semi_supervised"]
    assert told(tmp_path, model, changes=changes, data=data) == f"{tmp_path / 'own.npz'}: {says}"


# ---------------------------------------------------------------------------------------------------------------------
# How many categories
# ---------------------------------------------------------------------------------------------------------------------


def test_no_more_clusters_than_training_images(tmp_path):
    many = [("code_size = 2", f"code_size = 2\ncategories = {TRAIN + 1}")]
    says = (
        "1438 different training images are needed, but the data set has 1437; 1 to 1437 are possible. "
        "Set {} to less, or use a data set with more images"
    )
    assert told(tmp_path, CATEGORICAL, changes=many) == (
        "model 'aae_clustering' has categories = 1438, and each category needs an image of its own: "
        + says.format("categories")
    )
    many = [("code_size = 10", "code_size = 1438")]
    assert told(tmp_path, PIXELGAN, changes=many) == (
        "model 'pixelgan' has code_size = 1438, and each category needs an image of its own: "
        + says.format("code_size")
    )


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_no_more_classes_than_training_images(name, tmp_path):
    """The categories are the classes, so there is no setting to be told to lower."""
    data = archive(tmp_path, [0, 1], [str(k) for k in range(21)])
    model, changes = SEMI_SUPERVISED[name]
    assert told(tmp_path, model, changes=changes, data=data) == (
        f"model '{name}' has 21 categories, one for each class, and each category needs an image of its own: 21 "
        "different training images are needed, but the data set has 20; 1 to 20 are possible. "
        "Use a data set with more images"
    )


def test_as_many_clusters_as_images_are_not_refused(tmp_path):
    data = archive(tmp_path, images=6)
    whole = [("code_size = 2", "code_size = 2\ncategories = 6")]
    black = Batch(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))
    assert taken(tmp_path, CATEGORICAL, changes=whole, data=data).model.clusters(black).shape == (4, 6)
    fewer = [("code_size = 10", "code_size = 6")]
    assert taken(tmp_path, PIXELGAN, changes=fewer, data=data).model.clusters(black).shape == (4, 6)


def test_a_code_that_is_no_category_may_be_wider_than_there_are_images(tmp_path):
    wide = [("code_size = 10", "code_size = 30"), ("categorical", "gaussian"), (', posterior = "softmax"', "")]
    model = taken(tmp_path, PIXELGAN, changes=wide, data=archive(tmp_path)).model
    assert model.encode(Batch(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))).shape == (4, 30)


@pytest.mark.parametrize("model", [CATEGORICAL, PIXELGAN], ids=["aae_clustering", "pixelgan"])
def test_parts_still_begin_from_training_images(model, tmp_path, monkeypatch):
    """The check of categories comes beside what parts do with training images, not in its place."""
    from genprior.engine.build import build_model

    built = build_model(load(tmp_path, model).plans[0].model, DataInfo((1, 8, 8), ()), 0)
    asked = []
    monkeypatch.setattr(type(built.prior), "begin", lambda self, draw: asked.append(len(draw(3).x)), raising=False)
    with seeded(0, "begin"):
        built.begin(lambda n: Batch(torch.zeros(n, 1, 8, 8), torch.zeros(n, dtype=torch.int64)))
    assert asked == [3]

    def refuse(n):
        raise PlanError(f"no {n} images")

    monkeypatch.undo()
    with pytest.raises(PlanError, match=r"and each category needs an image of its own: no \d+ images\."):
        built.begin(refuse)


# ---------------------------------------------------------------------------------------------------------------------
# Parts of PixelGAN that do not fit
# ---------------------------------------------------------------------------------------------------------------------


def test_a_code_for_each_place_needs_sides_that_are_multiples_of_four(tmp_path):
    dependent = [('name = "pixelcnn"', 'name = "pixelcnn", code = "dependent"')]
    assert told(tmp_path, PIXELGAN, changes=dependent, size=10) == (
        "decoder 'pixelcnn' with code = \"dependent\" was asked to take images of 10 x 10 pixels, but it halves them "
        "to 1/4 of their sides; possible are sides that are multiples of 4. Set the data set's `size = 8`, or use "
        'code = "invariant", which takes any size'
    )
    assert taken(tmp_path, PIXELGAN, changes=dependent, size=8).model.decoder.code_map is not None


def test_codes_that_are_the_same_everywhere_and_strided_encoders_take_any_size(tmp_path):
    strided = [('{ name = "mlp", hidden = [8], posterior', '{ name = "strided", widths = [4, 4], posterior')]
    assert taken(tmp_path, PIXELGAN, changes=strided, size=10).sample(2).shape == (2, 1, 10, 10)


@pytest.mark.parametrize("semi_supervised", [False, True])
def test_a_decoder_without_a_likelihood_is_refused(semi_supervised, tmp_path):
    changes = SEMI_SUPERVISED["pixelgan_semi_supervised"][1] if semi_supervised else []
    plain = [(re.search("decoder = .*", PIXELGAN)[0], f"decoder = {MLP}")]
    name = "pixelgan_semi_supervised" if semi_supervised else "pixelgan"
    assert told(tmp_path, PIXELGAN, changes=[*changes, *plain]) == (
        f"model '{name}' needs a decoder with log_prob, an AutoregressiveDecoder; decoder 'mlp' makes images and gives "
        "no likelihood of them. Use decoder = { name = \"pixelcnn\" }, or model 'aae'"
    )


def test_a_prior_that_learns_is_refused(tmp_path):
    learned = [('prior = { name = "categorical" }', 'prior = { name = "code_generator", noise = 3 }')]
    assert told(tmp_path, PIXELGAN, changes=learned) == (
        "prior 'code_generator' would not learn in model 'pixelgan': its decoder draws pixels one by one, so that no "
        "gradient of an image game reaches the codes. Use a prior without parameters, such as 'gaussian', 'mixture' or "
        "'categorical', or model 'aae' with improves.prior = true"
    )


def test_colours_need_maps_that_can_be_shared_among_them(tmp_path):
    colours = numpy.zeros((20, 3, 8, 8), dtype=numpy.uint8)
    numpy.savez(tmp_path / "own.npz", images=colours)
    data = f'name = "arrays"\nsize = 8\ntest_fraction = 0\npath = "{(tmp_path / "own.npz").as_posix()}"'
    assert told(tmp_path, PIXELGAN, data=data) == (
        "decoder 'pixelcnn' was asked for width = 2, but each of the 3 colours of a pixel needs the same number of "
        "maps; possible are multiples of 3, such as 3. Set width = 3"
    )
