"""Image sizes that networks with steps of a factor of two accept."""

from __future__ import annotations

from genprior import PlanError

__all__ = ["divided", "doublings"]


def doublings(part: str, image: tuple[int, int, int], instead: str) -> int:
    """The number of doublings from 4 x 4 to the image: k for sides of 4 * 2^k.

    Args:
        part: the part that needs it, for the message.
        image: (c, h, w).
        instead: a part that takes any size, for the message.

    Raises:
        PlanError: the image is not square, or its side is not 4, 8, 16, 32, 64 ...
    """
    _, h, w = image
    k = (h // 4).bit_length() - 1
    if h != w or k < 0 or h != 4 << k:
        near = min((4 << i for i in range(16)), key=lambda side: abs(side - max(h, w)))
        raise PlanError(
            f"{part} was asked to take images of {h} x {w} pixels, but it goes from 4 x 4 in factors of two; "
            f"possible are square images with a side of 4, 8, 16, 32, 64, 128 ... "
            f"Set the data set's `size = {near}`, or use {instead}, which takes any size"
        )
    return k


def divided(part: str, image: tuple[int, int, int], by: int, instead: str) -> tuple[int, int]:
    """The sides of the smallest map of a network that halves an image to 1 / `by` of its sides.

    Args:
        part: the part that needs it, for the message.
        image: (c, h, w).
        by: a power of two.
        instead: a part that takes any size, for the message.

    Returns:
        (h / by, w / by).

    Raises:
        PlanError: a side is not divisible.
    """
    _, h, w = image
    if h % by or w % by:
        near = max(by, round(max(h, w) / by) * by)
        raise PlanError(
            f"{part} was asked to take images of {h} x {w} pixels, but it halves them to 1/{by} of their sides; "
            f"possible are sides that are multiples of {by}. "
            f"Set the data set's `size = {near}`, or use {instead}, which takes any size"
        )
    return h // by, w // by
