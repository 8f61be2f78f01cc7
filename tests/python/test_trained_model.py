"""Methods of a run that use its model: equal to the model's own, in batches, refusing in words what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import genprior
from genprior import (
    DataError,
    ImageSet,
    PlanError,
    RunError,
    ScoreError,
    as_batch,
    evaluating,
    images_to_float,
    to_uint8,
)
from genprior.bench.bench import Bench
from genprior.runs.pictures_given import checked_pictures

from ..small import aae

RUN = """
[run]
steps = 2
batch = 8
ema = 0.5
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
"""
VAE = """
[model]
name = "vae"
code_size = 3
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [16], batch_norm = true, posterior = "gaussian" }
decoder = { name = "mlp", hidden = [16], batch_norm = true }
reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.5, reduction = "sum" }
conditioner = { name = "none" }
"""
GAN = """
[model]
name = "gan"
code_size = 3
prior = { name = "gaussian" }
decoder = { name = "mlp", hidden = [16] }
image_critic = { name = "image_mlp", hidden = [16] }
conditioner = { name = "none" }
game = { name = "nonsaturating" }
"""
LABELLED = (
    aae(batch_norm=True)
    .replace('conditioner = { name = "none" }', 'conditioner = { name = "label" }')
    .replace("batch_norm = true }", "batch_norm = true, conditional = true }", 2)
)
CLASSIFIER = """
[model]
name = "labels_alone"
encoder = { name = "mlp", hidden = [16] }
"""
MODELS = {"aae": aae(batch_norm=True), "vae": VAE, "gan": GAN, "labelled": LABELLED}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each model, trained for two steps."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name, model in MODELS.items():
        path = folder / f"{name}.toml"
        path.write_text(RUN + model)
        recipe = genprior.load_recipe(path, settings=["run.hooks.pictures.enabled=false"])
        genprior.train(recipe, out=folder / name, progress=False)
        made[name] = genprior.load_run(folder / name / "base" / "seed-0")
    return made


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def by_hand(run, images, method, y=None):
    """What the model's own method gives, for all images in one batch."""
    y = torch.zeros(len(images), dtype=torch.int64) if y is None else y
    batch = as_batch(run.model, ImageSet(images, y, tuple(run.classes)), "cpu")
    with evaluating(run.model):
        return getattr(run.model, method)(batch)


@pytest.mark.parametrize("name", ["aae", "vae"])
def test_codes_and_reconstructions_are_those_of_the_model(runs, images, name):
    run = runs[name]
    assert torch.equal(run.encode(images), by_hand(run, images, "encode"))
    assert torch.equal(run.reconstruct(images), to_uint8(by_hand(run, images, "reconstruct")))
    z = run.encode(images)
    with evaluating(run.model):
        decoded = run.model.decode(z, run.model.condition(z))
    assert torch.equal(run.decode(z), to_uint8(decoded))
    assert not z.requires_grad and not run.model.training


def test_a_labelled_model_sees_the_labels(runs, images):
    run, y = runs["labelled"], torch.tensor([3, 1, 4, 1, 5, 9, 2])
    assert torch.equal(run.encode(images, label=y), by_hand(run, images, "encode", y))
    assert torch.equal(run.encode(images, label=[int(each) for each in y]), run.encode(images, label=y))
    assert torch.equal(run.encode(images, label="7"), by_hand(run, images, "encode", torch.full((7,), 7)))
    assert not torch.equal(run.encode(images, label=1), run.encode(images, label=2))
    z = run.encode(images, label=y)
    with evaluating(run.model):
        decoded = run.model.decode(z, run.model.condition(z, y))
    assert torch.equal(run.decode(z, label=y), to_uint8(decoded))
    drawn = run.decode(z, seed=0)
    assert torch.equal(drawn, run.decode(z, seed=0)) and not torch.equal(drawn, run.decode(z, seed=1))


def test_many_images_are_answered_in_batches(runs, images, monkeypatch):
    run = runs["aae"]
    whole = run.encode(images), run.reconstruct(images), run.decode(run.encode(images))
    monkeypatch.setattr("genprior.runs.trained_model.CHUNK", 3)
    pieces = run.encode(images), run.reconstruct(images), run.decode(run.encode(images))
    assert torch.allclose(whole[0], pieces[0], atol=1e-6)
    assert all((a.int() - b.int()).abs().max() <= 1 for a, b in zip(whole[1:], pieces[1:], strict=True))


def test_floating_point_images_have_a_range(runs, images):
    run = runs["aae"]
    for bounds in ((0, 1), (-1, 1)):
        x = images.double() / 255 * (bounds[1] - bounds[0]) + bounds[0]
        assert torch.allclose(run.encode(x, range=bounds), run.encode(images), atol=1e-5)
        assert torch.allclose(run.encode(x.numpy(), range=bounds), run.encode(images), atol=1e-5)
    # not rounded to 256 levels
    fine = images_to_float(images) * 0.999
    with evaluating(run.model):
        exact = run.model.encode(genprior.Batch(fine, torch.zeros(7, dtype=torch.int64)))
    assert torch.allclose(run.encode(fine, range=(-1, 1)), exact, atol=1e-6)


def test_interpolations_begin_and_end_at_the_decoded_codes(runs, images):
    run = runs["vae"]
    between = run.interpolate(images[:3], images[3:6], steps=4)
    assert between.shape == (3, 4, 1, 8, 8) and between.dtype == torch.uint8
    a, b = run.encode(images[:3]), run.encode(images[3:6])
    for place, t in ((0, 0), (1, 1 / 3), (3, 1)):
        expected = run.decode((1 - t) * a + t * b)
        assert (between[:, place].int() - expected.int()).abs().max() <= 1
    labelled = runs["labelled"].interpolate(images[:2], images[2:4], steps=3, label=["1", "2"])
    ends = runs["labelled"].decode(runs["labelled"].encode(images[:2], label=[1, 2]), label=[1, 2])
    assert (labelled[:, 0].int() - ends.int()).abs().max() <= 1


def test_classes_are_predicted(tmp_path, images):
    path = tmp_path / "classifier.toml"
    path.write_text(RUN.replace("ema = 0.5", "labels = 50") + CLASSIFIER)
    recipe = genprior.load_recipe(path, settings=["run.hooks.pictures.enabled=false"])
    genprior.train(recipe, out=tmp_path / "runs", progress=False)
    run = genprior.load_run(tmp_path / "runs" / "base" / "seed-0")
    assert torch.equal(run.predict(images), by_hand(run, images, "classify").argmax(1))
    assert run.predict(images).dtype == torch.int64
    with pytest.raises(PlanError, match="model 'labels_alone' of the run .* has no encoder"):
        run.encode(images)
    with pytest.raises(ScoreError, match="score 'fid' needs generated images, but model 'labels_alone' makes none"):
        run.score("fid")


def test_a_model_without_an_encoder_or_classifier_says_so(runs, images):
    for call in (runs["gan"].encode, runs["gan"].reconstruct):
        with pytest.raises(PlanError, match="model 'gan' of the run .* has no encoder, so it cannot do this"):
            call(images)
    with pytest.raises(PlanError, match="has no classifier"):
        runs["vae"].predict(images)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: x[0], r"images have shape \[1, 8, 8\], but this run's images are .* one image is images\[None\]"),
        (lambda x: x[:0], r"images have shape \[0, 1, 8, 8\], .* n at least 1"),
        (lambda x: x.repeat(1, 3, 1, 1), r"shape \[7, 3, 8, 8\], but this run's images are \[n, 1, 8, 8\]"),
        (lambda x: x.float() / 255, r"images are float32; set range to the values of black and white, range=\(0, 1\)"),
        (lambda x: x.long(), "images are int64; uint8, or floating point with a range, is needed"),
        (lambda x: x.tolist(), "images are a list; give a tensor or NumPy array"),
    ],
)
def test_images_of_another_form_are_refused(runs, images, wrong, text):
    with pytest.raises(DataError, match=text):
        runs["aae"].encode(wrong(images))


def test_values_outside_the_range_are_refused(runs, images):
    with pytest.raises(DataError, match=r"images run from 0 to 25\d, but range = \(0, 1\); correct the range"):
        runs["aae"].encode(images.float(), range=(0, 1))
    nan = torch.full((1, 1, 8, 8), float("nan"))
    with pytest.raises(DataError, match="images run from nan to nan"):
        runs["aae"].encode(nan, range=(0, 1))
    with pytest.raises(DataError, match="images are uint8, but range is for floating point"):
        runs["aae"].encode(images, range=(0, 1))
    with pytest.raises(DataError, match=r"range=\(0, 1\) or range=\(-1, 1\), not \(0, 255\)"):
        runs["aae"].encode(images.float(), range=(0, 255))


def test_conditions_that_do_not_fit_are_refused(runs, images):
    with pytest.raises(PlanError, match="model 'aae' of this run sees the labels of its images; give label="):
        runs["labelled"].encode(images)
    with pytest.raises(PlanError, match="2 labels were given for 7 images; give one for all, or one for each"):
        runs["labelled"].encode(images, label=[1, 2])
    with pytest.raises(PlanError, match="there is no class '11' in this run's data"):
        runs["labelled"].reconstruct(images, label=11)
    with pytest.raises(PlanError, match="conditioner 'none' takes no label"):
        runs["aae"].decode(torch.zeros(1, 4), label=1)
    with pytest.raises(PlanError, match="takes no text"):
        runs["aae"].decode(torch.zeros(1, 4), text="a seven")


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        (torch.zeros(2, 5), r"codes are float32 \[2, 5\]; floating point \[n, 4\] is needed"),
        (torch.zeros(4), r"codes are float32 \[4\]"),
        (torch.zeros(2, 4, dtype=torch.int64), "codes are int64"),
        (np.full((1, 4), np.nan), "codes hold NaN or infinite numbers"),
    ],
)
def test_codes_of_another_form_are_refused(runs, codes, text):
    with pytest.raises(PlanError, match=text):
        runs["aae"].decode(codes)
    assert runs["aae"].decode(np.zeros((2, 4))).shape == (2, 1, 8, 8)


def test_an_interpolation_has_two_ends(runs, images):
    with pytest.raises(PlanError, match="steps = 1 is too small; give a whole number of at least 2"):
        runs["aae"].interpolate(images[:1], images[:1], steps=1)
    with pytest.raises(DataError, match="there are 1 first and 2 second images; give equally many"):
        runs["aae"].interpolate(images[:1], images[:2])


def test_a_score_is_the_one_of_training(tmp_path):
    path = tmp_path / "scored.toml"
    path.write_text(
        'scores = [{ name = "nll", importance_samples = 5 }, { name = "classifier_score", samples = 50 }]\n' + RUN + VAE
    )
    recipe = genprior.load_recipe(path, settings=["run.hooks.pictures.enabled=false"])
    genprior.train(recipe, out=tmp_path / "runs", progress=False)
    run = genprior.load_run(tmp_path / "runs" / "base" / "seed-0")
    again = {**run.score("nll", importance_samples=5), **run.score("classifier_score", samples=50)}
    assert again == pytest.approx(run.scores, rel=1e-5)


def test_a_score_that_is_not_there_or_does_not_fit_is_refused(runs):
    with pytest.raises(ScoreError, match="there is no score named 'fidd'; did you mean 'fid'"):
        runs["vae"].score("fidd")
    with pytest.raises(ScoreError, match="score 'nll' has no number of samples; leave samples out"):
        runs["vae"].score("nll", samples=5)
    with pytest.raises(ScoreError, match="'important_samples'; did you mean 'importance_samples'.*Possible: "):
        runs["vae"].score("nll", important_samples=5)
    with pytest.raises(ScoreError, match="score 'nll'"):
        runs["gan"].score("nll")


def test_a_device_that_is_not_there_is_refused(runs):
    assert genprior.load_run(runs["vae"].folder, device="cpu").model is not None
    with pytest.raises(PlanError, match="there is no device 'gpu'. Possible: auto, cpu, cuda"):
        genprior.load_run(runs["vae"].folder, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(PlanError, match="cuda needs a GPU"):
            genprior.load_run(runs["vae"].folder, device="cuda")


def test_the_command_samples_on_a_device(runs, call, tmp_path):
    for device in ("cpu", "auto"):
        done = call("sample", runs["vae"].folder, "--n", 3, "--to", tmp_path / f"{device}.npz", "--device", device)
        assert done.exit_code == 0, done.output
    with np.load(tmp_path / "cpu.npz") as written:
        assert np.array_equal(written["images"].transpose(0, 3, 1, 2), runs["vae"].sample(3).numpy())


def test_images_in_the_forms_of_in_memory(runs, images):
    run, expected = runs["aae"], runs["aae"].encode(images)
    grey, last = images[:, 0], images.permute(0, 2, 3, 1)
    for form in (grey, last, grey.numpy(), last.numpy()):
        assert torch.equal(run.encode(form), expected)
        assert torch.equal(run.reconstruct(form), run.reconstruct(images))
        assert torch.equal(run.encode(form / 255, range=(0, 1)), run.encode(images / 255, range=(0, 1)))
    black_and_white = images > 100
    assert torch.equal(run.encode(black_and_white[:, 0]), run.encode(black_and_white.to(torch.uint8) * 255))


@pytest.mark.parametrize(
    ("shape", "given", "right"),
    [
        ((3, 4, 5), (2, 4, 5, 3), True),
        ((3, 4, 5), (2, 4, 5), False),
        ((1, 4, 5), (2, 5, 4), False),
        ((1, 4, 5), (2, 1, 4, 5), True),
        ((3, 3, 3), (2, 3, 3, 3), True),
    ],
)
def test_the_channels_are_those_of_the_run(shape, given, right):
    x = torch.arange(int(np.prod(given))).to(torch.uint8).reshape(given)
    if not right:
        with pytest.raises(DataError, match=r"this run's images are \[n, .*; also possible: \[n, 4, 5, "):
            checked_pictures(x, shape, None)
        return
    expected = x if given[1:] == shape else torch.from_numpy(np.moveaxis(x.numpy(), -1, 1))
    assert torch.equal(checked_pictures(x, shape, None), expected)


def test_images_are_exported_of_a_run_or_of_its_folder(runs, tmp_path):
    run = runs["aae"]
    for name, given in (("a", run), ("b", run.folder), ("c", str(run.folder))):
        genprior.export(given, tmp_path / f"{name}.npz", n=3)
    written = [np.load(tmp_path / f"{name}.npz")["images"] for name in "abc"]
    assert all(np.array_equal(each, written[0]) for each in written)
    with pytest.raises(RunError, match="run is a Recipe, and no run; give genprior.load_run"):
        genprior.export(genprior.load_recipe(run.folder / "recipe.toml"), tmp_path / "d.npz")
    with pytest.raises(RunError, match="is not a run folder"):
        genprior.export(tmp_path, tmp_path / "d.npz")
    assert not (tmp_path / "d.npz").exists()


def test_a_wrong_setting_of_a_score_is_told_as_in_a_recipe(runs, tmp_path):
    with pytest.raises(ScoreError, match=r"score 'parzen': sample: unknown key 'sample'; did you mean 'samples'\? "):
        runs["vae"].score("parzen", sample=3)
    with pytest.raises(ScoreError, match=r"score 'parzen': validation: input should be .*; got 'many'"):
        runs["vae"].score("parzen", validation="many")
    with pytest.raises(ScoreError, match=r"unknown key 'sample'; did you mean 'samples'\? Possible: "):
        Bench([runs["vae"].folder], scores=['{ name = "parzen", sample = 3 }'])
