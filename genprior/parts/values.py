"""Values that parts exchange: sizes, conditions, batches, image sets."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Asks", "Attribute", "Batch", "Codes", "Condition", "DataInfo", "ImageSet", "Sizes", "Widths"]


_LOOKED_AT = 64


class Sizes(NamedTuple):
    """Every size that a part may depend on, fixed before any module exists."""

    image: tuple[int, int, int]
    """(c, h, w)."""
    code: int
    """d, the width of a code."""
    known: int
    """The width of `Condition.known`; 0 without a condition."""
    asked: int
    """The width of `Condition.asked`; 0 without a condition."""
    one_hot: bool = False
    """Whether `Condition.asked` is a one-hot; see `Widths`."""
    classes: int = 0
    """How many classes the data has; 0 without labels. A model's parts get it from the engine, whatever the model
    writes here."""


class Widths(NamedTuple):
    """The widths of a `Condition`, which a conditioner announces before any module exists."""

    known: int
    """The number of columns of `known`; 0 where nothing is told about images."""
    asked: int
    """The number of columns of `asked`; 0 where nothing is asked of new images."""
    one_hot: bool = False
    """Whether each row of `asked` is a one-hot, which a prior that has a component for each number of it needs."""


class Condition(NamedTuple):
    """A condition: `known` [n, k] of given images and `asked` [n, k] of new ones. Width 0 without one, never None."""

    known: Tensor
    """[n, k], which describes each training image: encoders, decoders and critics see it."""
    asked: Tensor
    """[n, k], which requests a kind of new image: priors see it."""


class Asks(NamedTuple):
    """What new images can be asked for by: a label, a category that was found without labels, a text, or nothing."""

    kind: Literal["label", "category", "text", "nothing"] = "nothing"
    """Labels and categories are taken by `of_label` and `Model.condition`, embedded texts by `of_text`."""
    number: int = 0
    """How many labels or categories there are."""


class Batch(NamedTuple):
    """Images `x` [n, c, h, w] in [-1, 1] and their labels `y` [n] (int64; all zero where a data set has none).

    With few labels (`run.labels`), y is -1 for an image whose label is hidden, and `labelled` is a second batch, of
    labelled images.
    """

    x: Tensor
    """The images, [n, c, h, w] in [-1, 1]."""
    y: Tensor
    """Their labels, int64 [n]: all zero where a data set has none, -1 where a label is hidden."""
    labelled: Batch | None = None
    """Labelled images and their labels, [m, c, h, w] and [m]; None where no label is hidden."""
    text: Tensor | None = None
    """The embedded caption of each image, [n, width of the model's embedder]; None without an embedder. An image with
    several captions has one of them, drawn anew in each step."""
    step: Tensor | None = None
    """In training, the number of finished steps: int64 [], on the device; 0 in the first step. None elsewhere."""
    share: Tensor | None = None
    """In training, `step` / `run.steps`: float32 [], from 0 to below 1, on the device; None elsewhere. A model whose
    losses depend on it states `uses_share`."""
    index: Tensor | None = None  # type: ignore[assignment]  # hides tuple.index
    """In training, the place of each image among the training images: int64 [n], on the device; None elsewhere. A prior
    made of the training images leaves an image out by it."""


class Codes(NamedTuple):
    """Codes `z` [n, d] of training images with the condition of each, `asked` [n, k], to which a prior is fitted."""

    z: Tensor
    """The codes, [n, d]."""
    asked: Tensor
    """The condition of each image, [n, k], as new images are asked for by it; width 0 without one."""
    step: Tensor | None = None
    """During the fit, the number of finished steps: int64 [], on the device; None elsewhere."""
    share: Tensor | None = None
    """During the fit, `step` / `run.fit.steps`: float32 [], from 0 to below 1, on the device; None elsewhere."""


class DataInfo(NamedTuple):
    """The form of the data, known before a model is built."""

    image: tuple[int, int, int]
    """(c, h, w)."""
    classes: tuple[str, ...]
    """Class names in label order; empty where there are no labels."""
    binary: bool = False
    """Whether every training pixel is black or white, -1 or 1."""
    labelled: int | None = None
    """How many training images keep their label; None where no label is hidden."""
    captioned: bool = False
    """Whether every image has captions."""


class Attribute(NamedTuple):
    """A property of images that captions speak of, such as the colour of a stroke, with its true value for each image.

    `values` int64 [n] is the index of the value in `names`, or -1 where captions leave the attribute out.
    """

    name: str
    """What varies, such as "colour"."""
    names: tuple[str, ...]
    """The words for its values."""
    values: Tensor
    """The index of each image's value in `names`, int64 [n]; -1 where captions leave the attribute out."""


class ImageSet(NamedTuple):
    """One split of a data set, decoded: `images` uint8 [n, c, h, w], `labels` int64 [n], class names in label order."""

    images: Tensor
    """uint8 [n, c, h, w]."""
    labels: Tensor
    """int64 [n]; all zero where there are none."""
    classes: tuple[str, ...]
    """Class names in label order; empty where there are no labels."""
    captions: tuple[tuple[str, ...], ...] = ()
    """The captions of each image, n times at least one; empty where the data set has none."""
    attributes: tuple[Attribute, ...] = ()
    """The properties that the captions speak of; empty where they are not known."""

    @property
    def info(self) -> DataInfo:
        """The form of this data."""
        c, h, w = self.images.shape[1:]
        black_and_white = _black_and_white(self.images[:1]) and _black_and_white(self.images)
        return DataInfo((c, h, w), self.classes, black_and_white, captioned=bool(self.captions))

    def take(self, chosen: Tensor | slice) -> ImageSet:
        """Some of the images, with their labels, captions and attributes.

        Args:
            chosen: indices int64 [m], or a slice.
        """
        captions = self.captions
        if captions:
            captions = captions[chosen] if isinstance(chosen, slice) else tuple(captions[i] for i in chosen.tolist())
        attributes = tuple(each._replace(values=each.values[chosen]) for each in self.attributes)
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, captions, attributes)


def _black_and_white(images: Tensor) -> bool:
    # In pieces, because streamed images are decoded to be looked at; the first grey pixel ends it.
    return all(bool(((piece == 0) | (piece == 255)).all()) for piece in torch.split(images, _LOOKED_AT))
