"""The convolution stacks of BEGAN's generator and autoencoder."""

from __future__ import annotations

from torch import nn

from genprior_std.layers.doubled import Doubled
from genprior_std.layers.image_sizes import doublings

__all__ = ["levels", "pair", "upsampling"]

BASE = 8
"""Side of the smallest map; smaller images keep their own."""


def levels(part: str, image: tuple[int, int, int], instead: str) -> tuple[int, int]:
    """The number of resolutions from 8 x 8 to the image, and the smallest side.

    Args:
        part: the part that needs it, for the message.
        image: (c, h, w).
        instead: a part that takes any size, for the message.

    Returns:
        (k, side): 3 and 8 for 32 x 32; 1 and the image's own side where that is at most 8.

    Raises:
        PlanError: the images are not square with a side of 4 * 2^k.
    """
    return max(doublings(part, image, instead), 1), min(image[1], BASE)


def pair(inputs: int, outputs: int) -> list[nn.Module]:
    """Two 3x3 convolutions, each with an ELU: `inputs` to `outputs` channels, then `outputs` to `outputs`."""
    modules: list[nn.Module] = []
    for channels in (inputs, outputs):
        modules += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ELU(inplace=True)]
    return modules


def upsampling(inputs: int, width: int, channels: int, count: int, side: int) -> nn.Sequential:
    """A network from a code to unbounded pixel values.

    FC w maps of side x side, without an activation -> `count` times two 3x3 convolutions (w) with ELU, and between them
    a doubling of the side by nearest neighbours -> 3x3 convolution to the channels.

    Args:
        inputs: width of the code.
        width: w.
        channels: of the image.
        count: number of resolutions, the image's included.
        side: of the smallest map.

    References:
        Berthelot, Schumm and Metz, BEGAN, 2017, section 3.4 and figure 1.
    """
    modules: list[nn.Module] = [nn.Linear(inputs, width * side**2), nn.Unflatten(1, (width, side, side))]
    for i in range(count):
        modules += [Doubled()] if i else []
        modules += pair(width, width)
    return nn.Sequential(*modules, nn.Conv2d(width, channels, 3, padding=1))
