"""`check_dataset` accepts a right data set, and says of each wrong one what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from genprior import Attribute, DataError, Dataset, ImageSet
from genprior.testing import ContractError, check_dataset

CLASSES = ("left", "right")


class Sides(Dataset):
    """White on one side, by class."""

    name = "test_sides"

    def images(self, n: int) -> Any:
        images = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
        images[::2, :, :, :4] = 255
        images[1::2, :, :, 4:] = 255
        return images

    def labels(self, n: int) -> Any:
        return torch.arange(n) % 2

    def load(self, split: str) -> Any:
        if split not in ("train", "test"):
            raise DataError(f"there is no split '{split}'. Possible: train, test")
        n = 20 if split == "train" else 10
        return ImageSet(self.images(n), self.labels(n), CLASSES)


def changed(**fields: Any) -> Any:
    """A `load` whose sets have other fields."""
    return lambda self, split: Sides.load(self, split)._replace(**fields)


def refuses_only_with_a_key_error(self: Any, split: str) -> Any:
    {"train": 1, "test": 2}[split]
    return Sides.load(self, split)


def random_images(self: Any, n: int) -> Any:
    return torch.randint(256, (n, 1, 8, 8), dtype=torch.uint8)


BROKEN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a wrong size", {"facts": {"size": 9}}, ['facts["size"]', "the height and width of the images, 8 and 8"]),
    (
        "a wrong number of images",
        {"facts": {"images_of_splits": {"train": 21}}},
        ['facts["images_of_splits"]', "{'train': 20, 'test': 10}"],
    ),
    ("facts in a text", {"facts": "size"}, ["facts", "ValueError"]),
    ("numpy labels", {"labels": lambda s, n: np.arange(n) % 2}, ["a numpy.ndarray [20] int64", "torch.from_numpy"]),
    ("numpy images", {"images": lambda s, n: np.zeros((n, 1, 8, 8), np.uint8)}, ["numpy", "torch.from_numpy(images)"]),
    ("labels in a list", {"labels": lambda s, n: [0, 1] * (n // 2)}, ["a list", "torch.tensor(labels"]),
    ("int32 labels", {"labels": lambda s, n: Sides.labels(s, n).int()}, ["int32", ".long()"]),
    (
        "one-hot labels",
        {"labels": lambda s, n: torch.eye(2).long()[Sides.labels(s, n)]},
        ["[20, 2]", "one label for each"],
    ),
    ("labels from 1", {"labels": lambda s, n: Sides.labels(s, n) + 1}, ["from 1 to 2, and 2 class", "from 0"]),
    ("float images", {"images": lambda s, n: Sides.images(s, n) / 255}, ["float32", "scale to 0 .. 255"]),
    ("zeros and ones", {"images": lambda s, n: Sides.images(s, n) // 255}, ["values up to 1", "multiply"]),
    ("no channels", {"images": lambda s, n: Sides.images(s, n)[:, 0]}, ["[20, 8, 8]", "images[:, None]"]),
    (
        "channels last",
        {"images": lambda s, n: Sides.images(s, n).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)},
        ["8 channels and 8 x 3", ".permute(0, 3, 1, 2)"],
    ),
    ("no images", {"load": lambda s, split: Sides.load(s, split).take(slice(0))}, ["at least one image"]),
    ("classes in a list", {"load": changed(classes=list(CLASSES))}, ["a tuple of different texts"]),
    ("a class twice", {"load": changed(classes=("left", "left"))}, ["a tuple of different texts"]),
    ("a pair", {"load": lambda s, split: tuple(Sides.load(s, split))[:2]}, ["a tuple of", "return ImageSet"]),
    ("nothing", {"load": lambda s, split: None}, ["None", "a genprior.ImageSet"]),
    ("captions of some", {"load": changed(captions=(("white",),))}, ["of 1 items", "for each image"]),
    (
        "captions as texts",
        {
            "load": lambda s, split: Sides.load(s, split)._replace(
                captions=("white",) * (20 if split == "train" else 10)
            )
        },
        ["'white' for image 0", "((text,), ...)"],
    ),
    (
        "attributes out of range",
        {"load": changed(attributes=(Attribute("side", CLASSES, torch.full((20,), 2)),))},
        ["Attribute", "-1 or an index"],
    ),
    (
        "other classes in test",
        {
            "load": lambda s, split: Sides.load(s, split)._replace(
                classes=CLASSES if split == "train" else CLASSES[::-1]
            )
        },
        ['load("train").classes and load("test").classes'],
    ),
    (
        "another size in test",
        {
            "load": lambda s, split: Sides.load(s, split)._replace(
                images=Sides.images(s, 20 if split == "train" else 10)[..., : 8 if split == "train" else 6]
            )
        },
        ["[1, 8, 8] and [1, 8, 6]", "images of one size"],
    ),
    ("other images each time", {"images": random_images}, ["twice", "other images", "genprior.seeded"]),
    ("any split", {"load": lambda s, split: Sides.load(s, "train")}, ["no_such_split", "genprior.DataError"]),
    ("a key error", {"load": refuses_only_with_a_key_error}, ["KeyError: 'no_such_split'", "genprior.DataError"]),
    ("another hash each time", {"files_hash": lambda s: str(torch.rand(()))}, ["files_hash(), twice", "hash_file"]),
    ("a location that is no setting", {"locations": ("path",)}, ["('path',)", "settings that name files"]),
    ("a location without a comma", {"locations": "path"}, ["'path'", "the comma of a tuple of one"]),
    ("raises", {"load": lambda s, split: split.no_such_thing}, ["AttributeError", "look at"]),
]


def test_a_right_data_set() -> None:
    assert check_dataset(Sides) is None


@pytest.mark.parametrize(("what", "changes", "words"), BROKEN, ids=[each[0].replace(" ", "-") for each in BROKEN])
def test_what_is_broken_is_found(what: str, changes: dict[str, Any], words: list[str]) -> None:
    broken = type("Broken", (Sides,), {**changes, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        check_dataset(broken)
    for word in ["dataset 'broken'", *words, "came back:", "contract:", "what to do:"]:
        assert word in str(caught.value)


def test_one_hint_for_one_fault_in_each_split() -> None:
    broken = type("Broken", (Sides,), {"labels": lambda s, n: np.arange(n) % 2, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        check_dataset(broken)
    assert [failure.called for failure in caught.value.failures] == ['load("train").labels', 'load("test").labels']


def test_a_split_that_is_promised() -> None:
    with pytest.raises(ContractError, match="there is no split 'validation'"):
        check_dataset(Sides, splits=("validation",))
