"""Coloured digits with captions made from what is measured in each image: text to image without a download."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genprior import Attribute, Dataset, ImageSet, PartConfig, fit_images
from genprior_std.datasets.digit_captions import WORDINGS, write_captions
from genprior_std.datasets.digit_scans import divide_scans, read_scans
from genprior_std.datasets.download import DIGIT_NAMES
from genprior_std.datasets.shared import check_split
from genprior_std.strokes import slant, thickness

__all__ = ["COLOURS", "LEFT_OUT", "PALETTE", "CaptionedDigits"]

PALETTE = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "red": (230, 25, 30),
    "green": (20, 160, 60),
    "blue": (40, 60, 230),
    "yellow": (245, 200, 20),
}
"""Red, green and blue of the colours that ink and background may have."""
COLOURS = tuple(PALETTE)
LEFT_OUT = tuple((digit + 2) % len(COLOURS) for digit in range(len(DIGIT_NAMES)))
"""For each digit the ink, as an index in `COLOURS`, that `train` leaves out; for example, it has no green seven."""

_PAIRS = tuple((ink, ground) for ink in range(len(COLOURS)) for ground in range(len(COLOURS)) if ink != ground)
_MOST = len(_PAIRS) - (len(COLOURS) - 1)
"""How many pairs of ink and background are possible for a digit in `train`."""
_SEED = 777
_MEASURED_AT = 32
"""Height and width, in pixels, at which strokes are measured, so that captions do not depend on the size of images."""


class CaptionedDigits(Dataset):
    """The scans of scikit-learn's `load_digits`, coloured, with captions that say digit, colours, thickness and slant.

    A pixel is b + (i - b) g / 255 with the grey g of the scan after scaling, the ink i and the background b. Scans and
    their division are those of the grey digits: 1,437 train and 360 test. Each scan comes in `colourings` pairs of ink
    and background, drawn without replacement from all pairs of different colours: the first 1,437 images of `train` are
    the scans in order, each in its first pair, the next 1,437 the same scans in their second pair, and so on. `train`
    has no image whose digit and ink are a pair of `LEFT_OUT`, unless `leave_out` is off; `test` has all pairs.

    The attributes are the truth of the captions: `digit`, `ink`, `background`, `thickness` (thin, thick) and `slant`
    (upright, slanted). Thickness and slant are measured (see `genprior_std.strokes`) with bounds from the training
    scans; between the bounds the attribute is -1, and captions leave it out:

    - strokes are thin below the lower tercile of the thickness, and thick above the upper tercile;
    - the lean of a scan is its slant minus the median slant of the training scans of its digit, because the slant
      depends on the shape of the digit too. A digit is upright if |lean| is below the lower tercile of |lean|, and
      slanted if it leans to the right by more than the upper tercile. Large leans to the left are left out: in scans of
      8x8 pixels many of them are the foot of a 1 or a 2, and not a slant.

    Colours, wordings and synonyms are drawn by numpy's `RandomState` under fixed seeds, so the set has only one form.

    References:
        Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998.
    """

    name = "captioned_digits"

    class Config(PartConfig):
        """Settings of the captioned digits."""

        size: int = Field(default=32, ge=1)
        """Height and width of the images in pixels, by bilinear scaling from 8x8."""
        colourings: int = Field(default=4, ge=1, le=_MOST)
        """How many copies of each scan there are, each in its own pair of colours."""
        captions: int = Field(default=4, ge=1, le=len(WORDINGS))
        """Captions of an image, each with a wording of its own."""
        leave_out: bool = True
        """Whether `train` leaves out one ink for each digit; `test` has all of them."""

    def load(self, split: str) -> ImageSet:
        """Make the split `train` or `test`.

        Raises:
            DataError: there is no such split.
        """
        check_split(self.name, split)
        config = self.config
        scans, digits = read_scans()
        mine, place = divide_scans(digits, split), int(split == "test")
        traits = _measure(scans, digits, divide_scans(digits, "train"))
        avoided = torch.tensor(LEFT_OUT)[digits[mine]] if config.leave_out and split == "train" else None
        ink, background = _draw_colours(len(mine), avoided, place)[: config.colourings].unbind(2)
        grey = fit_images(scans[mine], config.size, "resize")
        images = torch.cat([_colour(grey, *pair) for pair in zip(ink, background, strict=True)])
        digit, thick, lean = (each[mine].repeat(config.colourings) for each in (digits, *traits))
        ink, background = ink.flatten(), background.flatten()
        values = torch.stack([digit, ink, background, thick, lean], 1).tolist()
        return ImageSet(
            images,
            digit,
            DIGIT_NAMES,
            captions=write_captions(values, COLOURS, each=config.captions, place=place),
            attributes=(
                Attribute("digit", DIGIT_NAMES, digit),
                Attribute("ink", COLOURS, ink),
                Attribute("background", COLOURS, background),
                Attribute("thickness", ("thin", "thick"), thick),
                Attribute("slant", ("upright", "slanted"), lean),
            ),
        )


class _Traits(NamedTuple):
    """The index of each scan's thickness and slant, int64 [n]; -1 where it is not clear."""

    thickness: Tensor
    slant: Tensor


def _measure(scans: Tensor, digits: Tensor, train: Tensor) -> _Traits:
    """Measure all scans, with bounds that the training scans alone decide."""
    grey = fit_images(scans, _MEASURED_AT, "resize")[:, 0].double() / 255
    width, angle = thickness(grey), slant(grey)
    usual = torch.stack([angle[train][digits[train] == digit].median() for digit in range(len(DIGIT_NAMES))])
    lean = angle - usual[digits]
    thin, thick = _terciles(width[train])
    upright, slanted = _terciles(lean[train].abs())
    return _Traits(_between(width < thin, width > thick), _between(lean.abs() < upright, lean > slanted))


def _terciles(values: Tensor) -> Tensor:
    return torch.quantile(values, torch.tensor([1 / 3, 2 / 3], dtype=values.dtype))


def _between(low: Tensor, high: Tensor) -> Tensor:
    """0 where `low`, 1 where `high`, and -1 where neither."""
    return torch.where(low, 0, torch.where(high, 1, -1))


def _draw_colours(n: int, avoided: Tensor | None, place: int) -> Tensor:
    """Draw all pairs of ink and background for each of n scans, in random order without replacement.

    Fewer colourings are the first ones of more.

    Args:
        n: the number of scans.
        avoided: the ink that each scan must not have, int64 [n]; those pairs come last. None for no such ink.
        place: tells the splits of the set apart.

    Returns:
        Indices in `COLOURS`, int64 [pairs, n, 2].
    """
    order = torch.from_numpy(np.random.RandomState([_SEED, place]).random_sample((n, len(_PAIRS))))
    pairs = torch.tensor(_PAIRS)
    if avoided is not None:
        order = order + (pairs[:, 0] == avoided[:, None])
    return pairs[order.argsort(1)].transpose(0, 1)


def _colour(grey: Tensor, ink: Tensor, background: Tensor) -> Tensor:
    """Colour grey images, uint8 [n, 1, s, s], by colours int64 [n]: uint8 [n, 3, s, s]."""
    palette = torch.tensor(list(PALETTE.values()), dtype=torch.float32)
    to, start = palette[ink][:, :, None, None], palette[background][:, :, None, None]
    return torch.lerp(start, to, grey.float() / 255).round_().to(torch.uint8)
