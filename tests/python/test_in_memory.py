"""Tensors, arrays and torch data sets as data: read and refused like files, and missed in words when they are gone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import genprior
from genprior import DataError, ImageSet, RecipeError, RunError
from genprior.data import in_memory as store
from genprior.runs.trainer import Trainer
from genprior_std.datasets.arrays import Arrays
from genprior_std.datasets.memory import Memory

from .small_tables import tables


@pytest.fixture
def images():
    return torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    return torch.arange(40) % 4


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Each test begins as a new process does."""
    monkeypatch.setattr(store, "_KEPT", {})


def splits(config):
    dataset = config.make()
    return dataset.load("train"), dataset.load("test")


class Pairs(Dataset):
    """A torch data set of Pillow images with labels, as torchvision's are."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return Image.fromarray(self.images[index, 0].numpy()), int(self.labels[index])


def test_every_form_gives_the_same_images(images, labels):
    expected = genprior.in_memory(images, labels=labels)
    array, floats = images.numpy(), images.double() / 255
    forms = [
        genprior.in_memory(array, labels=labels.tolist()),
        genprior.in_memory(array[:, 0], labels=labels.numpy().astype(np.uint8)),
        genprior.in_memory(array.transpose(0, 2, 3, 1), labels=labels),
        genprior.in_memory((images, labels)),
        genprior.in_memory(floats, labels=labels, range=(0, 1)),
        genprior.in_memory(floats.float() * 2 - 1, labels=labels, range=(-1, 1)),
        genprior.in_memory(TensorDataset(images, labels)),
        genprior.in_memory(Pairs(images, labels)),
        genprior.in_memory(ImageSet(images, labels, ("0", "1", "2", "3"))),
    ]
    assert {form.content_hash for form in forms} == {expected.content_hash}
    train, test = splits(expected)
    assert len(train.labels) == 36 and len(test.labels) == 4
    both = torch.cat([train.images, test.images])
    assert sorted(map(bytes, both.flatten(1).numpy())) == sorted(map(bytes, images.flatten(1).numpy()))
    assert train.classes == test.classes == ("0", "1", "2", "3")
    assert genprior.in_memory(images).content_hash != expected.content_hash


def test_the_held_out_images_are_those_of_an_archive(images, labels, tmp_path):
    np.savez(tmp_path / "a.npz", images=images.numpy(), labels=labels.numpy())
    archive = Arrays.Config(path=tmp_path / "a.npz", size=None, test_fraction=0.25)
    memory = genprior.in_memory(images, labels=labels, test_fraction=0.25)
    for a, b in zip(splits(archive), splits(memory), strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.classes == b.classes


def test_splits_may_be_passed(images, labels):
    config = genprior.in_memory(
        (images[:20], labels[:20]), test=(images[20:30], labels[20:30]), validation=(images[30:], labels[30:]),
        classes=["a", "b", "c", "d", "e"],
    )  # fmt: skip
    train, test = splits(config)
    assert torch.equal(train.images, images[:20]) and torch.equal(test.images, images[20:30])
    assert torch.equal(config.make().load("validation").labels, labels[30:])
    assert train.classes == ("a", "b", "c", "d", "e")
    # A held-out part without all classes has the names of the training images.
    few = genprior.in_memory((images[:20], labels[:20]), test=(images[20:22], labels[20:22]))
    assert splits(few)[1].classes == ("0", "1", "2", "3")


def test_images_are_fitted(images):
    for how, mean in (("pad", images.float().mean() / 4), ("resize", images.float().mean())):
        train, test = splits(genprior.in_memory(images, size=16, how=how))
        assert train.images.shape[1:] == (1, 16, 16)
        assert torch.cat([train.images, test.images]).float().mean() == pytest.approx(float(mean), rel=0.05)


def test_images_of_other_channels_and_names_of_many_classes():
    two = np.random.RandomState(0).randint(256, size=(5, 2, 8, 8)).astype(np.uint8)
    config = genprior.in_memory(two)
    assert splits(config)[0].images.shape == (4, 2, 8, 8)
    assert genprior.in_memory(two.transpose(0, 2, 3, 1)).content_hash == config.content_hash
    names = np.array([f"class {place}" for place in range(70_000)])
    assert splits(genprior.in_memory(two, labels=[69_999] * 5, classes=names))[0].classes == tuple(names)


def test_what_the_caller_writes_later_changes_nothing(images):
    config = genprior.in_memory(images)
    before = splits(config)[0].images.clone()
    images.zero_()
    assert torch.equal(splits(config)[0].images, before)


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (lambda x: {"train": x.float()}, r"'train' is float32; set range to the values of black and white, \[0, 1\]"),
        (lambda x: {"train": x.float(), "range": (0, 1)}, r"'train' runs from 0 to 25\d, but range = \[0, 1\]"),
        (lambda x: {"train": x, "range": (0, 1)}, "'train' is uint8, but range is for floating point"),
        (lambda x: {"train": x, "range": (0, 255)}, r"range = \(0, 255\) is not a range of images; possible: \(0, 1\)"),
        (lambda x: {"train": x // 255}, "'train': its values are 0 and 1, but 255 is white"),
        (lambda x: {"train": x.long()}, "'train' is int64; uint8 or floating point with a range is needed"),
        (lambda x: {"train": x[0, 0]}, r"'train' has shape \[8, 8\]"),
        (lambda x: {"train": x.repeat(1, 8, 1, 1)}, r"'train' has shape \[40, 8, 8, 8\]"),
        (lambda x: {"train": x[:0]}, "there are no images in it"),
        (lambda x: {"train": "images/"}, "'train' is a str; .* Files are the data sets 'folder' and 'arrays'"),
        (lambda x: {"train": Endless()}, "'train' is a Endless; an array or tensor of images"),
        (lambda x: {"train": [x[0], x[1, :, :4]]}, "'train' has images of several shapes"),
        (lambda x: {"train": ["a", "b"]}, "'train': its item 0 is a str and no image"),
        (lambda x: {"train": x, "labels": [1, 2]}, "'train': there are 2 labels for 40 images"),
        (lambda x: {"train": x, "labels": [0.5] * 40}, "'train': labels are float64"),
        (lambda x: {"train": x, "labels": [3] * 40, "classes": ["a"]}, r"'train': labels run from 3 to 3; 0..0"),
        (lambda x: {"train": x, "classes": ["a"]}, r"'train' has no labels, but there are classes \(a\)"),
        (lambda x: {"train": (x, [0] * 40), "labels": [0] * 40}, "'train' has labels of its own"),
        (lambda x: {"train": (x, [0] * 40), "test": x}, r"'test' has no labels, .* pass \(images, labels\)"),
        (lambda x: {"train": x, "test": (x, [0] * 40)}, "'test' has the classes 0, and 'train' none"),
        (lambda x: {"train": x, "test": x[..., :4]}, r"the images of 'test' are \[1, 8, 4\], and those of 'train'"),
        (lambda x: {"train": x, "test_fraction": 1.0}, "test_fraction = 1.0 is no share of the images"),
        (lambda x: {"train": x, "test_fraction": "a"}, "test_fraction = 'a' is no share of the images"),
        (lambda x: {"train": x, "range": 1}, r"range = 1 is not a range of images; possible: \(0, 1\)"),
        (lambda x: {"train": x, "how": "x"}, 'how = \'x\' fits no images; possible: "pad" and "resize"'),
        (lambda x: {"train": x, "size": 0}, "size = 0 is too small; give a whole number of at least 1"),
        (lambda x: {"train": x, "size": -1}, "size = -1 is too small"),
        (lambda x: {"train": x, "size": 8.5}, r"size = 8.5 \(float\) is no whole number"),
        (lambda x: {"train": x, "size": "8"}, r"size = '8' \(str\) is no whole number"),
        (
            lambda x: {"train": x, "labels": [10**12] * 40},
            "labels run up to 1000000000000, .*; number the classes from",
        ),
        (lambda x: {"train": x, "labels": [0] * 40, "classes": ["a", "a"]}, "classes has the name 'a' more than once"),
        (lambda x: {"train": x, "labels": [0] * 40, "classes": "ab"}, "classes = 'ab' is no list of names; give texts"),
        (lambda x: {"train": x, "labels": [0] * 40, "classes": [1, 2]}, r"classes = \[1, 2\] is no list of names"),
        (lambda x: {"train": x, "labels": [0] * 40, "classes": 5}, "classes = 5 is no list of names"),
        (
            lambda x: {"train": x, "labels": torch.zeros(40).to_sparse()},
            "'train': labels are a tensor of the layout sp",
        ),
        (lambda x: {"train": x.to_sparse()}, "'train' is a tensor of the layout sparse_coo; give a dense one"),
        (lambda x: {"train": x.to("meta")}, "'train' is a tensor on the device 'meta', which has no values"),
        (lambda x: {"train": [x[0].to("meta")] * 4}, "'train': its item 0 is a tensor on the device 'meta'"),
        (
            lambda x: {"train": (x / 255).to(torch.float8_e5m2), "range": (0, 1)},
            "'train' is float8_e5m2 .*; give uint8",
        ),
        (
            lambda x: {"train": ImageSet(x.to("meta"), x.new_zeros(40).long(), ())},
            "'train': images are a tensor on the",
        ),
        (lambda x: {"train": x[:1]}, "of 1 images, test_fraction = 0.1 leaves none to train on"),
        (lambda x: {"train": x, "size": 4, "how": "pad"}, "images of 8x8 cannot be padded to size = 4"),
        (lambda x: {"train": ImageSet(x, x.new_zeros(40).long(), ()), "labels": [0] * 40}, "is an ImageSet, which has"),
    ],
)
def test_what_is_not_images_is_refused(images, passed, text):
    with pytest.raises(DataError, match=text):
        genprior.in_memory(**passed(images))


def test_a_run_is_trained_and_resumed_on_the_same_images_only(images, tmp_path):
    recipe = genprior.make_recipe(tables())
    data = genprior.in_memory(images)
    plan = recipe.plans[0].model_copy(update={"data": data})
    Trainer(plan, 0, tmp_path / "runs" / "base" / "seed-0").run(until=1)
    with pytest.raises(RunError, match=r"holds a run of another recipe:\n  data.content_hash: was '\w+', is '\w+'"):
        genprior.train(recipe, data=255 - images, out=tmp_path / "runs", progress=False)
    genprior.train(recipe, data=images, out=tmp_path / "runs", progress=False)
    run = genprior.load_run(tmp_path / "runs" / "base" / "seed-0")
    assert run.finished and run.facts["data_hash"] == data.content_hash
    assert torch.equal(run.images("train").images, splits(data)[0].images)


def test_another_process_samples_and_says_what_to_do_for_the_rest(images, tmp_path, monkeypatch):
    recipe = genprior.make_recipe({**tables(), "data": genprior.in_memory(images)}, name="mine")
    genprior.train(recipe, out=tmp_path, progress=False)
    expected = genprior.load_run(tmp_path / "base" / "seed-0").sample(3)
    monkeypatch.setattr(store, "_KEPT", {})
    run = genprior.load_run(tmp_path / "base" / "seed-0")
    assert torch.equal(run.sample(3), expected) and run.encode(expected).shape == (3, 4)
    missing = (
        "the images were in the memory of the Python process .* Pass them again, with the same arguments: genprior"
    )
    for call in (lambda: run.images("test"), lambda: run.score("fid", extractor="classifier", samples=20)):
        with pytest.raises(DataError, match=missing):
            call()
    recipe.save(tmp_path / "saved.toml")
    with pytest.raises(RecipeError, match=missing):
        genprior.train(genprior.load_recipe(tmp_path / "saved.toml"), out=tmp_path / "again", progress=False)
    genprior.in_memory(images)
    assert len(run.images("test").labels) == 4


def test_images_that_no_process_has_are_missed_by_their_hash():
    with pytest.raises(DataError, match=r"are not in this one \(their hash is 0123456789abcdef\)"):
        Memory.Config(content_hash="0123456789abcdef").make().load("train")


def test_a_split_that_was_not_passed_is_refused(images):
    dataset = genprior.in_memory(images).make()
    with pytest.raises(DataError, match=r"no split 'validation'.*pass genprior.in_memory\(..., validation=...\)"):
        dataset.load("validation")


def test_several_processes_are_refused(images, tmp_path):
    recipe = genprior.make_recipe(tables(), seeds=[0, 1])
    with pytest.raises(RecipeError, match="only this one has the images, which are in its memory; use jobs=1"):
        genprior.train(recipe, data=images, jobs=2, out=tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


def test_the_hash_of_the_images_stands_once_in_a_printed_table(images, tmp_path):
    content = {**tables(), "scores": [{"name": "parzen", "samples": 20, "validation": 10}]}
    data = genprior.in_memory(images, validation=images[:12])
    table = genprior.train(genprior.make_recipe({**content, "data": data}), out=tmp_path, progress=False)
    shown = str(table)
    assert shown.startswith(table.title) and "Table(" not in shown
    assert shown.count(data.content_hash[:12]) == 1 and "Protocol of" in shown
