"""Pixels in place of the features of a network."""

from __future__ import annotations

from torch import Tensor

from genprior import Features

__all__ = ["PixelExtractor"]


class PixelExtractor:
    """The pixels of an image, from 0 to 1, as its features; there are no logits."""

    key = "pixels"
    title = "pixels"
    keep = False
    batch = 10_000

    def __call__(self, images: Tensor) -> Features:
        """Features [n, c h w] and logits [n, 0] of images uint8 [n, c, h, w]."""
        features = images.flatten(1).float() / 255
        return Features(features, features[:, :0])
