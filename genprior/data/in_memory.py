"""Images in the memory of this process: reading arrays, tensors and torch data sets, and keeping them by their hash."""

from __future__ import annotations

from abc import ABC
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from genprior.data.archives import array_images
from genprior.data.given import given_array, given_tensor
from genprior.data.images import check_images, check_levels
from genprior.errors import DataError, did_you_mean, shown
from genprior.parts import Dataset, ImageSet, PartConfig
from genprior.storage.cache import content_hash

__all__ = ["Indexed", "MemoryDataset", "divide", "keep_images", "read_images_of", "same_form"]

_SEED = 0
"""Seed of the permutation that chooses the held-out images; fixed, so that a set has only one split."""
_MOST_WITHOUT_NAMES = 65_536
"""Classes that are named by their numbers; more are labels that are no numbers of classes, such as those of images."""
_KEPT: dict[str, Mapping[str, ImageSet]] = {}
"""The splits of all sets that were passed in this process, by the hash of their content."""


@runtime_checkable
class Indexed(Protocol):
    """A data set in the form of `torch.utils.data.Dataset`: numbered images, or pairs of an image and its label."""

    def __getitem__(self, index: int, /) -> Any:
        """The image, or the pair, of this number."""

    def __len__(self) -> int:
        """How many there are."""


class MemoryDataset(Dataset, ABC):
    """A data set whose images were passed in Python; a recipe has only their hash."""

    only_here: ClassVar[bool] = True

    class Config(PartConfig):
        """Settings of images in memory, which `genprior.in_memory` makes."""

        content_hash: str
        """The hash of all images, labels and class names, by which this process finds them."""

    def load(self, split: str) -> ImageSet:
        """The split `train` or `test`, or `validation` where one was passed.

        Raises:
            DataError: there is no such split, or the images were not passed in this process.
        """
        splits = _KEPT.get(self.config.content_hash)
        if splits is None:
            raise DataError(
                "the images were in the memory of the Python process that trained on them, and are not in this one "
                f"(their hash is {self.config.content_hash}). Pass them again, with the same arguments: "
                "genprior.in_memory(...) for the scores and images of a run, genprior.train(recipe, data=...) to "
                "resume; or save them as an .npz and use the data set 'arrays'"
            )
        if split not in splits:
            advice = "; pass genprior.in_memory(..., validation=...)" if split == "validation" else ""
            raise DataError(f"images in memory have no split '{split}'{did_you_mean(split, splits)}{advice}")
        return splits[split]

    def files_hash(self) -> str:
        """The hash of the content."""
        return str(self.config.content_hash)


def keep_images(splits: Mapping[str, ImageSet]) -> str:
    """Keep the splits of a set for the life of this process.

    Returns:
        The hash of their content, which is the same in every process.
    """
    items: list[Tensor | str] = []
    for split, images in splits.items():
        items += [split, images.images, images.labels, *images.classes]
    found = content_hash(*items)
    _KEPT[found] = dict(splits)
    return found


def read_images_of(
    given: Any,
    what: str,
    *,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    bounds: tuple[float, float] | None = None,
) -> ImageSet:
    """The images and labels that Python passed.

    Args:
        given: an array or tensor [n, h, w], [n, h, w, c] or [n, c, h, w] in uint8, bool, or floating point with
            `bounds`; a pair of such images and their labels; an `ImageSet`; or a `torch.utils.data.Dataset` of images
            [c, h, w], [h, w] or [h, w, c], or of pairs of an image and its label.
        what: the place of the images, for messages.
        labels: integers [n] from 0, where `given` has none.
        classes: the class names in label order; the numbers themselves by default.
        bounds: the values of black and white in floating-point images.

    Raises:
        DataError: the images or labels have another form, dtype or range.
    """
    if isinstance(given, ImageSet):
        if labels is not None or classes is not None or bounds is not None:
            raise DataError(f"{what} is an ImageSet, which has its own labels and classes; leave the others out")
        for tensor, of in ((given.images, "images"), (given.labels, "labels")):
            given_tensor(tensor, f"{what}: {of} are")
        check_levels(check_images(given, what).images, what)
        return given
    images, own = _parts_of(given, what)
    if own is not None and labels is not None:
        raise DataError(f"{what} has labels of its own, and labels were given too; give one of the two")
    # A copy: what the caller later writes into the array must not change images whose hash a run has recorded.
    levels = check_levels(array_images(images, what, bounds), what).clone()
    numbers, names = _labels(own if own is not None else labels, len(levels), what, classes)
    return check_images(ImageSet(levels, numbers, names), what)


def _parts_of(given: Any, what: str) -> tuple[np.ndarray, Any]:
    """The array of images, and their labels if there are any."""
    if isinstance(given, Tensor | np.ndarray):
        return given_array(given, f"{what} is"), None
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Tensor | np.ndarray):
        return given_array(given[0], f"{what} is"), given[1]
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Indexed):
        raise DataError(
            f"{what} is a {type(given).__name__}; an array or tensor of images, a pair (images, labels), or a "
            "torch.utils.data.Dataset is needed. Files are the data sets 'folder' and 'arrays' of a recipe"
        )
    return _collected(given, what)


def _collected(given: Indexed, what: str) -> tuple[np.ndarray, Any]:
    """The images of a torch data set, one after another, and their labels if it has pairs."""
    pairs = [_pair(given[place], place, what) for place in range(len(given))]
    if not pairs:
        raise DataError(f"{what} has no images; at least one is needed")
    shapes = {image.shape for image, _ in pairs}
    if len(shapes) > 1:
        listed = " and ".join(str(list(shape)) for shape in sorted(shapes)[:2])
        raise DataError(f"{what} has images of several shapes, such as {listed}; give them one size, with a transform")
    labels = [label for _, label in pairs]
    images = np.stack([image for image, _ in pairs])
    if images.ndim == 3:  # [n, h, w]: without doubt a number of grey images, whatever the sides are
        images = images[:, None]
    if any(label is None for label in labels):
        return images, None
    return images, labels


def _pair(item: Any, place: int, what: str) -> tuple[np.ndarray, Any]:
    image, label = (item[0], item[1]) if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
    if isinstance(image, Tensor):
        image = given_array(image, f"{what}: its item {place} is")
    # Pillow's images have NumPy's array interface too.
    array = np.asarray(image)
    if array.ndim not in (2, 3) or array.dtype.kind not in "bufi":
        raise DataError(
            f"{what}: its item {place} is a {type(item).__name__} and no image [c, h, w] or pair of an image and its "
            "label"
        )
    return array, label


def _labels(given: Any, n: int, what: str, classes: Sequence[str] | None) -> tuple[Tensor, tuple[str, ...]]:
    """The labels int64 [n], all zero without any, and the class names."""
    own_names = _names(classes, what)
    if given is None:
        if own_names:
            raise DataError(
                f"{what} has no labels, but there are classes ({', '.join(own_names)}); pass (images, labels), or "
                "leave labels and classes out"
            )
        return torch.zeros(n, dtype=torch.int64), ()
    try:
        labels = given_array(given, f"{what}: labels are") if isinstance(given, Tensor) else np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what}: labels are no list of integers ({error})") from error
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{what}: labels are {labels.dtype} {list(labels.shape)}; integers from 0 are needed, one for each image"
        )
    if len(labels) != n:
        raise DataError(f"{what}: there are {len(labels)} labels for {n} images; give one label for each image")
    if own_names is None and labels.max() >= _MOST_WITHOUT_NAMES:
        raise DataError(
            f"{what}: labels run up to {labels.max()}, and without names each number up to it is a class; number the "
            f"classes from 0, or give classes for more than {_MOST_WITHOUT_NAMES:,}"
        )
    names = own_names if own_names is not None else tuple(str(each) for each in range(int(labels.max()) + 1))
    return torch.from_numpy(labels.astype(np.int64)), names


def _names(classes: Any, what: str) -> tuple[str, ...] | None:
    """The class names, if they are texts that differ; None without any."""
    if classes is None:
        return None
    listed = () if isinstance(classes, str) or not isinstance(classes, Sequence | np.ndarray) else tuple(classes)
    if not all(isinstance(name, str) for name in listed) or (not listed and not isinstance(classes, list | tuple)):
        raise DataError(
            f"{what}: classes = {shown(classes)} is no list of names; give texts in label order, such as "
            'classes=["cat", "dog"]'
        )
    names = tuple(str(name) for name in listed)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{what}: classes has the name '{twice[0]}' more than once; give each class a name of its own")
    return names


def divide(whole: ImageSet, fraction: float) -> tuple[ImageSet, ImageSet]:
    """Hold out round(n fraction) images, at least one, by a fixed permutation; both parts keep the set's order.

    Returns:
        The other images, and those held out.

    Raises:
        DataError: the fraction is not above 0 and below 1, or leaves no image to train on.
    """
    n = len(whole.images)
    number = isinstance(fraction, int | float | np.floating) and not isinstance(fraction, bool)
    if not number or not 0 < fraction < 1:
        raise DataError(f"test_fraction = {shown(fraction)} is no share of the images; give one above 0 and below 1")
    held = max(1, round(n * fraction))
    if held >= n:
        raise DataError(f"of {n} images, test_fraction = {fraction} leaves none to train on; pass more images, or test")
    order = np.random.RandomState(_SEED).permutation(n)
    rest, out = (torch.from_numpy(np.sort(each)) for each in (order[held:], order[:held]))
    return whole.take(rest), whole.take(out)


def same_form(splits: Iterable[tuple[str, ImageSet]]) -> None:
    """Refuse splits whose images differ in size, or that have other classes.

    Raises:
        DataError: names both.
    """
    (first, whole), *others = splits
    for split, images in others:
        if images.images.shape[1:] != whole.images.shape[1:]:
            raise DataError(
                f"the images of '{split}' are {list(images.images.shape[1:])}, and those of '{first}' "
                f"{list(whole.images.shape[1:])}; give them one size"
            )
        if images.classes != whole.classes:
            raise DataError(
                f"'{split}' has the classes {', '.join(images.classes) or 'none'}, and '{first}' "
                f"{', '.join(whole.classes) or 'none'}; label both, or pass classes"
            )
