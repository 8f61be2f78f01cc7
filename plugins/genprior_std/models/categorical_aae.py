"""The former place of `check_enough_images`."""

from genprior_std.models.checks import check_enough_images

__all__ = ["check_enough_images"]
