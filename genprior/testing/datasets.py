"""The contract of a data set."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genprior.errors import DataError
from genprior.parts import Attribute, Dataset, ImageSet, PartConfig
from genprior.randomness import seeded
from genprior.runs.trial import trial
from genprior.testing.report import Contract, describe
from genprior.testing.settings import check_config, config_of
from genprior.testing.stand_in import Autoencoder

__all__ = ["check_dataset"]

FEW = 64
"""The largest number of images of the run in which the set is tried."""
MISSING = "no_such_split"


def check_dataset(part: PartConfig | type[Dataset], *, splits: Sequence[str] = ("train", "test")) -> None:
    """Check that a data set keeps its contract; see `genprior.Dataset` and `genprior.ImageSet`.

    Each split is an `ImageSet`: at least one image, uint8 [n, c, h, w] with values of 0 to 255, not of 0 and 1; labels
    int64 [n] in 0 .. number of classes - 1, all 0 without class names; class names are different texts; captions, if
    any, are at least one text for each image; values of attributes are int64 [n], -1 or an index into their names. All
    splits have images of one size, the same classes and the same attributes, and either all have captions or none. A
    split loads the same a second time, whatever torch drew before. A split that does not exist is refused with a
    `genprior.DataError`. `files_hash` is None or a text, the same each time; `locations` names settings. A small model
    trains on it for a few steps.

    Args:
        part: the settings or the class.
        splits: those that it has; "train" and "test" are always needed.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Dataset)
    contract = Contract(config.part, repr(config))
    check_config(contract, config)
    dataset = contract.call(f"{config.part.__qualname__}(config)", config.make, "it can be made")
    if dataset is not None:
        _check_statements(contract, dataset)
        loaded = {split: _loaded(contract, dataset, split) for split in dict.fromkeys(("train", "test", *splits))}
        sets = {split: images for split, images in loaded.items() if images is not None}
        if len(sets) == len(loaded) and not contract.failures:
            _check_alike(contract, sets)
            _check_again(contract, config, sets)
            _check_missing(contract, dataset)
            _check_facts(contract, dataset, sets)
        if not contract.failures:
            _check_training(contract, config, sets)
    contract.finish()


def _loaded(contract: Contract, dataset: Any, split: str) -> ImageSet | None:
    """A split, where it has the right form."""
    called = f'load("{split}")'
    given = contract.call(called, lambda: dataset.load(split), "a split is a genprior.ImageSet")
    if given is None or not contract.require(
        isinstance(given, ImageSet),
        called,
        describe(given),
        "a genprior.ImageSet",
        "return ImageSet(images, labels, classes)",
    ):
        return None
    failures = len(contract.failures)
    _check_images(contract, f"{called}.images", given.images)
    if len(contract.failures) == failures:
        _check_labels(contract, called, given)
        _check_captions(contract, called, given)
        _check_attributes(contract, called, given)
    return given if len(contract.failures) == failures else None


def _as_tensor(value: Any, name: str, dtype: str) -> str:
    """How to make a tensor of what a data set returned."""
    if isinstance(value, np.ndarray):
        return f"convert the array: {name} = torch.from_numpy({name}){'.long()' if dtype == 'int64' else ''}"
    return f"convert it: {name} = torch.tensor({name}, dtype=torch.{dtype})"


def _check_images(contract: Contract, called: str, images: Any) -> None:
    if not contract.require(
        isinstance(images, Tensor),
        called,
        describe(images),
        "a tensor, uint8 [n, c, h, w]",
        _as_tensor(images, "images", "uint8"),
    ):
        return
    whole = not images.is_floating_point()
    right = contract.require(
        images.dtype == torch.uint8,
        called,
        describe(images),
        "uint8, values of 0 to 255",
        "scale to 0 .. 255, round, and convert with .to(torch.uint8)" if not whole else "convert with .to(torch.uint8)",
    )
    right = (
        contract.require(
            images.ndim == 4 and images.device.type == "cpu",
            called,
            describe(images),
            "[n, c, h, w] on the host: channels before height and width",
            "add an axis of channels to grey images, images[:, None]; move channels with .permute(0, 3, 1, 2)",
        )
        and right
    )
    if right and contract.require(
        0 not in images.shape,
        called,
        describe(images),
        "at least one image",
        "raise genprior.DataError where there are none, and say how to get them",
    ):
        contract.require(
            int(images.max()) > 1,
            called,
            f"values up to {int(images.max())}",
            "values of 0 to 255: white is 255",
            "multiply images of 0 and 1 by 255",
        )
        channels, height, width = images.shape[1:]
        contract.require(
            channels <= min(height, width) or channels <= 4,
            called,
            f"images of {channels} channels and {height} x {width} pixels",
            "channels come before height and width",
            "move them with images.permute(0, 3, 1, 2)",
        )


def _check_labels(contract: Contract, called: str, given: ImageSet) -> None:
    labels, classes = given.labels, given.classes
    n = len(given.images)
    if contract.require(
        isinstance(labels, Tensor) and labels.dtype == torch.int64,
        f"{called}.labels",
        describe(labels),
        f"a tensor, int64 [{n}]",
        _as_tensor(labels, "labels", "int64") if not isinstance(labels, Tensor) else "convert with .long()",
    ) and contract.require(
        tuple(labels.shape) == (n,),
        f"{called}.labels",
        describe(labels),
        f"one label for each image: int64 [{n}]",
        "flatten them with .view(-1); without labels return torch.zeros(len(images), dtype=torch.int64)",
    ):
        low, high = (int(value) for value in labels.aminmax())
        contract.require(
            low >= 0 and high < max(len(classes), 1),
            f"{called}.labels",
            f"labels from {low} to {high}, and {len(classes)} class names",
            "a label is the index of its class name, from 0; without class names all labels are 0",
            "number the classes from 0, and name each of them in `classes`",
        )
    contract.require(
        isinstance(classes, tuple)
        and all(isinstance(name, str) and name for name in classes)
        and len(set(classes)) == len(classes),
        f"{called}.classes",
        f"{classes!r}"[:200],
        "a tuple of different texts, in the order of the labels; empty without labels",
        "return tuple(map(str, names))",
    )


def _check_captions(contract: Contract, called: str, given: ImageSet) -> None:
    captions = given.captions
    wrong = ""
    if not isinstance(captions, tuple) or len(captions) not in (0, len(given.images)):
        wrong = f"{describe(captions)} of {len(captions)} items"
    else:
        for place, own in enumerate(captions):
            if not isinstance(own, tuple) or not own or not all(isinstance(text, str) and text.strip() for text in own):
                wrong = f"{own!r} for image {place}"
                break
    contract.require(
        not wrong,
        f"{called}.captions",
        wrong,
        "for each image a tuple of at least one text that is not empty; an empty tuple without captions",
        "write ((text,), ...) where each image has one caption",
    )


def _check_attributes(contract: Contract, called: str, given: ImageSet) -> None:
    for each in given.attributes:
        right = (
            isinstance(each, Attribute)
            and isinstance(each.values, Tensor)
            and each.values.dtype == torch.int64
            and tuple(each.values.shape) == (len(given.images),)
            and -1 <= int(each.values.min())
            and int(each.values.max()) < len(each.names)
        )
        contract.require(
            right,
            f"{called}.attributes",
            f"{each!r}"[:200],
            f"a genprior.Attribute with values int64 [{len(given.images)}], -1 or an index into its names",
            "return Attribute(name, names, values)",
        )


def _check_alike(contract: Contract, sets: dict[str, ImageSet]) -> None:
    train = sets["train"]
    for split, images in sets.items():
        pairs = {
            "images": (list(train.images.shape[1:]), list(images.images.shape[1:])),
            "classes": (train.classes, images.classes),
            "captions": (bool(train.captions), bool(images.captions)),
            "attributes": ([each[:2] for each in train.attributes], [each[:2] for each in images.attributes]),
        }
        for what, (ours, theirs) in pairs.items():
            contract.require(
                ours == theirs,
                f'load("train").{what} and load("{split}").{what}',
                f"{ours!r} and {theirs!r}"[:300],
                "all splits have images of one size, the same classes and attributes, and captions or none",
                "use the class names and the size of the whole set for each split",
            )


def _check_again(contract: Contract, config: PartConfig, sets: dict[str, ImageSet]) -> None:
    """Splits are the same the second time, from another object and after other draws."""
    with seeded("testing", "again"):
        again = config.make()
        for split, first in sets.items():
            second = again.load(split)
            same = torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
            contract.require(
                same and first.captions == second.captions,
                f'load("{split}"), twice',
                "other images, labels or captions the second time",
                "a split is the same each time, so that a run can be resumed and scored",
                "sort files by name, and draw inside `with genprior.seeded(0, ...)`",
            )


def _check_missing(contract: Contract, dataset: Any) -> None:
    called, came = f'load("{MISSING}")', ""
    try:
        came = describe(dataset.load(MISSING))
    except DataError:
        return
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
    contract.require(
        False,
        called,
        came,
        "a split that does not exist is refused with a genprior.DataError that lists those that do",
        'compare the split with "train" and "test" first',
    )


def _check_statements(contract: Contract, dataset: Any) -> None:
    hashes = [contract.call("files_hash()", dataset.files_hash, optional=True) for _ in range(2)]
    contract.require(
        hashes[0] == hashes[1] and isinstance(hashes[0], str | None),
        "files_hash(), twice",
        f"{hashes[0]!r} and {hashes[1]!r}",
        "a text that depends on the content of the user's files alone, or None",
        "use genprior.hash_file(path) of each file, in the order of their names",
    )
    fields = type(dataset.config).model_fields
    contract.require(
        isinstance(dataset.locations, tuple) and all(name in fields for name in dataset.locations),
        "locations",
        repr(dataset.locations),
        f"a tuple of settings that name files: of {', '.join(fields)}",
        'write locations = ("path",), with the comma of a tuple of one',
    )
    contract.require(
        isinstance(dataset.stochastic, bool),
        "stochastic",
        describe(dataset.stochastic),
        "True or False",
        "make it a property that returns a bool",
    )


def _check_facts(contract: Contract, dataset: Any, sets: dict[str, ImageSet]) -> None:
    """What `facts` states of the images is true of them."""
    facts = contract.call("facts", lambda: dict(dataset.facts), "a mapping of facts by name")
    if facts is None:
        return
    h, w = sets["train"].images.shape[-2:]
    contract.require(
        facts.get("size", (h, w)) in (h if h == w else None, (h, w), [h, w]),
        'facts["size"]',
        repr(facts.get("size")),
        f"the height and width of the images, {h} and {w}",
        "state one number where both are equal, or leave it out",
    )
    stated = facts.get("images_of_splits", {})
    counts = {split: len(images.images) for split, images in sets.items()}
    contract.require(
        isinstance(stated, Mapping) and all(stated.get(split, n) == n for split, n in counts.items()),
        'facts["images_of_splits"]',
        repr(stated),
        f"the number of images of each split, {counts}",
        "count them as `load` does, with its settings, or leave the split out",
    )


def _check_training(contract: Contract, config: PartConfig, sets: dict[str, ImageSet]) -> None:
    few = {split: images.take(slice(FEW)) for split, images in sets.items()}
    batch = min(8, len(few["train"].images))
    with tempfile.TemporaryDirectory() as root, seeded("testing", "training"):
        run = trial(Path(root, "run"), config, Autoencoder.Config(), steps=2, batch=batch, splits=few)
        contract.call("two steps of training on it", run.run, "a model trains on the images")
