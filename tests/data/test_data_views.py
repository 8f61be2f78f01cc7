from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from torch.nn.functional import pad

from genprior.data.cache import write_cache
from genprior.data.images import images_to_float
from genprior.errors import DataError
from genprior.parts import ImageSet
from genprior_std.datasets.cifar10 import Cifar10
from genprior_std.datasets.digits import Digits
from genprior_std.datasets.fashion_mnist import FashionMnist
from genprior_std.datasets.mnist import Mnist

REAL = os.environ.get("GENPRIOR_DATA")
N = 40


@pytest.fixture(autouse=True)
def filled(cache):
    """Small sets of random bytes under the names of the real ones."""
    for name in ("mnist", "fashion_mnist"):
        for split, seed in (("train", 1), ("test", 2)):
            write_cache(name, split, grey(seed))


def grey(seed, n=N):
    images = torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return ImageSet(images, torch.arange(n) % 10, tuple("0123456789"))


def load(part, split="train", **config):
    return part.Config(**config).make().load(split)


def is_binary(images):
    return set(images.unique().tolist()) == {0, 255}


DOWNLOADED = pytest.mark.parametrize("part", [Mnist, FashionMnist])
VIEWED = pytest.mark.parametrize("part", [Mnist, FashionMnist, Digits])
few = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# --- the validation split ---------------------------------------------------------------------------------------------


@VIEWED
@given(validation=st.integers(1, N - 1), binarise=st.sampled_from(["none", "static"]))
@few
def test_the_last_training_images_are_held_back(part, validation, binarise):
    size = None if part is Digits else 28
    whole = load(part, size=size, binarise=binarise)
    n = len(whole.images)
    train, held = (load(part, each, size=size, binarise=binarise, validation=validation) for each in VALIDATED)
    assert (len(train.images), len(held.images)) == (n - validation, validation)
    assert torch.equal(torch.cat([train.images, held.images]), whole.images)
    assert torch.equal(torch.cat([train.labels, held.labels]), whole.labels)
    assert train.classes == held.classes == whole.classes
    assert torch.equal(
        load(part, "test", size=size, validation=validation).images, load(part, "test", size=size).images
    )


VALIDATED = ("train", "validation")


@VIEWED
def test_nothing_is_changed_unless_asked(part):
    config = part.Config()
    assert (config.binarise, config.validation, config.make().stochastic) == ("none", 0, False)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        part.Config(validation=-1)
    with pytest.raises(ValidationError, match="'none', 'static' or 'dynamic'"):
        part.Config(binarise="larochelle")


def test_mnist_is_what_the_cache_holds():
    for split, seed in (("train", 1), ("test", 2)):
        got = load(Mnist, split, size=None)
        assert torch.equal(got.images, grey(seed).images) and torch.equal(got.labels, grey(seed).labels)


@pytest.mark.parametrize(("part", "usual"), [(Mnist, "10_000"), (FashionMnist, "10_000"), (Digits, "200")])
def test_a_validation_split_that_is_not_held_back_is_refused(part, usual):
    with pytest.raises(
        DataError,
        match=rf"^data set '{part.name}' has no split 'validation', because validation = 0 holds nothing back from "
        rf"training; set validation = {usual} in its settings$",
    ):
        load(part, "validation")


@pytest.mark.parametrize("split", VALIDATED)
@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize(("part", "n"), [(Mnist, N), (FashionMnist, N), (Digits, 1437)])
def test_an_image_must_be_left_to_train_on(part, n, more, split):
    with pytest.raises(
        DataError,
        match=rf"^data set '{part.name}': validation = {n + more} leaves none of the {n} training images to train on; "
        rf"hold back at most {n - 1}$",
    ):
        load(part, split, validation=n + more)
    assert len(load(part, validation=n - 1).images) == 1


def test_the_limit_cuts_what_is_left_for_training():
    official = grey(1).images
    config = {"size": 28, "validation": 10, "limit": 7}
    assert torch.equal(load(Mnist, **config).images, official[:7])
    assert torch.equal(load(Mnist, "validation", **config).images, official[30:])
    assert len(load(Mnist, "test", **config).images) == N
    assert len(load(Mnist, validation=10, limit=500).images) == 30


@pytest.mark.parametrize("binarise", ["none", "static", "dynamic"])
@pytest.mark.parametrize("part", [Mnist, FashionMnist, Digits])
def test_scores_can_see_validation_images_in_place_of_test_images(part, binarise, monkeypatch):
    settings = {"validation": 10, "binarise": binarise, "size": 8 if part is Digits else 28}
    chosen = {
        split: load(part, split, **settings, test_split="validation") for split in ("train", "validation", "test")
    }
    plain = {split: load(part, split, **settings) for split in ("train", "validation", "test")}
    for split, same in (("train", "train"), ("validation", "validation"), ("test", "validation")):
        assert torch.equal(chosen[split].images, plain[same].images)
        assert torch.equal(chosen[split].labels, plain[same].labels)
    assert len(plain["test"].images) != 10
    with pytest.raises(DataError, match="has no split 'validation', because validation = 0 holds nothing back"):
        load(part, "test", test_split="validation")


def test_the_validation_digits_have_all_classes_and_no_test_image():
    """The 200 that recipes hold back, of 1,437."""
    train, validation, test = (load(Digits, split, validation=200, size=8) for split in ("train", "validation", "test"))
    assert [len(each.images) for each in (train, validation, test)] == [1237, 200, 360]
    assert validation.labels.bincount(minlength=10).min() >= 10
    held, seen = ({image.numpy().tobytes() for image in each.images} for each in (validation, test))
    assert not held & seen and not held & {image.numpy().tobytes() for image in train.images}


def test_other_sets_have_neither(cache):
    write_cache(
        "cifar10", "train", ImageSet(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2).long(), ("a",))
    )
    with pytest.raises(ValidationError, match="validation"):
        Cifar10.Config(validation=1)
    with pytest.raises(DataError, match=r"^data set 'cifar10' has no split 'validation'\. Possible: test, train$"):
        load(Cifar10, "validation")


# --- the fixed draw ---------------------------------------------------------------------------------------------------


@DOWNLOADED
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_byte_is_white_as_often_as_it_is_bright(cache, part, split):
    # Every byte 1,500 times a pixel place; two-sided binomial tests for 254 bytes, 1e-4 together, of a fixed draw.
    images = torch.arange(256, dtype=torch.uint8).repeat(49 * 16).reshape(-1, 1, 28, 28).repeat(2, 1, 1, 1)
    write_cache(part.name, split, ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ()))
    drawn = load(part, split, size=28, binarise="static").images
    assert is_binary(drawn)
    for value in range(256):
        white = drawn[images == value] == 255
        if value in (0, 255):
            assert bool((white == (value == 255)).all())
        else:
            assert stats.binomtest(int(white.sum()), len(white), value / 255).pvalue > 1e-4 / 254


@DOWNLOADED
def test_splits_images_and_pixels_are_drawn_independently(cache, part):
    # 51 / 255 = 1 / 5, so two independent pixels are alike with probability 1/25 + 16/25. The pairs do not overlap.
    # Three two-sided binomial tests at 1e-4 of a fixed draw.
    same = ImageSet(torch.full((N, 1, 28, 28), 51, dtype=torch.uint8), torch.zeros(N, dtype=torch.int64), ())
    for split in ("train", "test"):
        write_cache(part.name, split, same)
    train, test = (load(part, split, size=28, binarise="static").images for split in ("train", "test"))
    for one, other in ((train, test), (train[::2], train[1::2]), (train[..., ::2], train[..., 1::2])):
        assert stats.binomtest(int((one == other).sum()), one.numel(), 17 / 25).pvalue > 1e-4


@VIEWED
def test_a_fixed_draw_follows_no_generator_and_moves_none(part):
    torch.manual_seed(1)
    np.random.seed(1)
    first = load(part, binarise="static")
    torch.manual_seed(2)
    np.random.seed(2)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = load(part, binarise="static")
    assert torch.equal(again.images, first.images)
    assert torch.equal(torch.get_rng_state(), states[0]) and np.array_equal(np.random.get_state()[1], states[1])


def test_a_fixed_draw_is_the_same_in_another_process(cache):
    code = (
        "import sys, torch; torch.manual_seed(99); from genprior_std.datasets.mnist import Mnist\n"
        "made = Mnist.Config(binarise='static', size=28).make().load('test')\n"
        "sys.stdout.buffer.write(made.images.numpy().tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=cache).stdout
    assert there == load(Mnist, "test", binarise="static", size=28).images.numpy().tobytes()


@given(validation=st.integers(0, N - 1), limit=st.integers(1, N), size=st.integers(28, 40))
@few
def test_neither_size_nor_limit_nor_validation_change_the_draw(validation, limit, size):
    whole = load(Mnist, binarise="static", size=28).images
    train = load(Mnist, binarise="static", validation=validation, limit=limit, size=size)
    left = (size - 28) // 2
    wanted = pad(whole[: N - validation][:limit], (left, size - 28 - left, left, size - 28 - left))
    assert torch.equal(train.images, wanted) and train.info.binary
    test = load(Mnist, "test", binarise="static", validation=validation, size=28).images
    assert torch.equal(test, load(Mnist, "test", binarise="static", size=28).images)


# --- drawn anew in each batch -----------------------------------------------------------------------------------------


@VIEWED
def test_dynamic_leaves_only_training_grey(part):
    config = {"validation": 12, "size": 28}
    made = part.Config(binarise="dynamic", **config).make()
    assert made.stochastic and not part.Config(binarise="static", **config).make().stochastic
    assert torch.equal(made.load("train").images, load(part, **config).images) and not made.load("train").info.binary
    for split in ("validation", "test"):
        drawn, fixed = made.load(split), load(part, split, binarise="static", **config)
        assert is_binary(drawn.images) and torch.equal(drawn.images, fixed.images)
        assert torch.equal(drawn.labels, fixed.labels)
        assert torch.equal(drawn.images, made.load(split).images)


def test_a_dynamic_run_trains_on_black_and_white(tiny_plan, tmp_path):
    from genprior.runs.trainer import Trainer

    trainer = Trainer(tiny_plan("AAE", 'data.binarise="dynamic"', "data.validation=37"), 0, tmp_path / "run")
    trainer.prepare()
    assert len(trainer.data) == 1400
    x = torch.stack([trainer.data.batch(step).x for step in range(20)])
    assert torch.equal(x.abs(), torch.ones_like(x))
    # 10,240 pixels of a standard deviation below 1 against the mean of all: five standard errors, 1e-6.
    assert float(x.mean()) == pytest.approx(float(images_to_float(load(Digits, size=8).images).mean()), abs=0.05)


# --- size -------------------------------------------------------------------------------------------------------------


@DOWNLOADED
@pytest.mark.parametrize("binarise", ["static", "dynamic"])
@pytest.mark.parametrize(("how", "size"), [("resize", 32), ("resize", 16), ("pad", 16)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_black_and_white_images_are_not_scaled(part, binarise, how, size, split):
    with pytest.raises(
        DataError,
        match=rf"^data set '{part.name}': binarise = \"{binarise}\" makes pixels black or white at 28x28, and "
        rf'scaling to size = {size} would make them grey again; choose size = 28, or a larger one with how = "pad"$',
    ):
        load(part, split, binarise=binarise, how=how, size=size)


@DOWNLOADED
@pytest.mark.parametrize("size", [None, 28, 32])
def test_black_and_white_images_are_padded(part, size):
    images = load(part, binarise="static", size=size).images
    assert images.shape[-1] == (size or 28) and is_binary(images)
    same = load(part, binarise="static", size=28, how="resize").images
    assert torch.equal(same, load(part, binarise="static", size=28).images)


# --- digits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 16, 32])
def test_digits_are_binarised_after_scaling(size):
    scaled, drawn = (load(Digits, "all", size=size, binarise=each) for each in ("none", "static"))
    assert drawn.info.binary and drawn.info.image == scaled.info.image and torch.equal(drawn.labels, scaled.labels)
    p = scaled.images.double() / 255
    assert bool((drawn.images[p == 0] == 0).all()) and bool((drawn.images[p == 1] == 255).all())
    # For ten bands of grey, the number of white pixels against its mean and variance, a sum of Bernoulli variables:
    # two-sided normal tests, 1e-4 together, of a fixed draw.
    for low in np.arange(0, 1, 0.1):
        band = (p > low) & (p <= low + 0.1) & (p < 1)
        mean, variance = p[band].sum(), (p[band] * (1 - p[band])).sum()
        score = ((drawn.images[band] == 255).sum() - mean) / variance.sqrt()
        assert variance > 100 and abs(float(score)) < stats.norm.isf(1e-4 / 20)


def test_each_split_of_binarised_digits_is_a_part_of_the_whole():
    parts = {
        split: load(Digits, split, size=16, binarise="static", validation=200) for split in (*VALIDATED, "test", "all")
    }
    rows = {split: torch.cat([x.images.flatten(1).long(), x.labels[:, None]], 1).tolist() for split, x in parts.items()}
    assert [len(rows[split]) for split in (*VALIDATED, "test")] == [1237, 200, 360]
    assert sorted(rows["all"]) == sorted(rows["train"] + rows["validation"] + rows["test"])


# --- the real images --------------------------------------------------------------------------------------------------


def real(monkeypatch, part):
    files = [f"{part.name}-{split}.safetensors" for split in ("train", "test")]
    if not REAL or not all((Path(REAL) / file).exists() for file in files):
        pytest.skip(f"GENPRIOR_DATA has no {part.name}")
    monkeypatch.setenv("GENPRIOR_DATA", REAL)


@DOWNLOADED
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_real_images_keep_their_mean(monkeypatch, part, split):
    real(monkeypatch, part)
    before, after = (load(part, split, size=28, validation=10_000, binarise=each) for each in ("none", "static"))
    assert len(after.images) == (50_000 if split == "train" else 10_000) and is_binary(after.images)
    p = before.images.double() / 255
    # The number of white pixels is a sum of independent Bernoulli variables; a two-sided normal test at 1e-4.
    score = ((after.images == 255).sum() - p.sum()) / (p * (1 - p)).sum().sqrt()
    assert abs(float(score)) < stats.norm.isf(1e-4 / 2)


def test_real_mnist_is_784_pixels_of_which_a_seventh_is_white(monkeypatch):
    real(monkeypatch, Mnist)
    train = load(Mnist, size=28, validation=10_000, limit=1000, binarise="static")
    assert train.images.shape == (1000, 1, 28, 28) and train.images[0].numel() == 784
    # The mean grey of MNIST's training images is published as 0.1307.
    assert float((load(Mnist, size=28, binarise="static").images == 255).double().mean()) == pytest.approx(
        0.1307, abs=2e-4
    )
