"""Base class of autoencoders whose decoder sees a category and a style as one point of d dimensions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from genprior import Batch, Condition, DataInfo, PlanError
from genprior_std.checks.parts import check_classes
from genprior_std.model_pieces.category_and_style import CategoryAndStyle

__all__ = ["PointsAboutHeads", "check_circle", "count_categories"]

CLUSTERS = 20
"""The paper's number of clusters without labels."""
DRAWN = 1_000
"""Random points from which the range of a walk is computed."""


class PointsAboutHeads(CategoryAndStyle):
    """An autoencoder of points r = W_C^T y + z around the heads of clusters, [n, d].

    It has `heads`, a `ClusterHeads`. Its settings have `code_size`, d, and `on_circle`: whether points are shown in the
    plane in which the heads lie on a circle.
    """

    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior", "heads")
    heads: Any

    def representation(self, y: Tensor, z: Tensor) -> Tensor:
        """The point r = W_C^T y + z, [n, d], of categories y [n, K] and styles z [n, d]."""
        r: Tensor = self.heads(y) + z
        return r

    def to_plane(self) -> Tensor:
        """The linear map P [d, 2] that puts the heads evenly on a circle, as nearly as can be."""
        plane: Tensor = self.heads.to_plane()
        return plane

    def encode(self, batch: Batch) -> Tensor | None:
        """The point r at the mean style, [n, d]; with `on_circle`, r P, [n, 2]."""
        logits, z = self.codes(batch.x)
        return self._shown(self.representation(logits.softmax(1), z))

    def draw_codes(self, condition: Condition) -> Tensor:
        """Points r of the categories that are asked for and of styles from the prior, [n, d]; or r P."""
        return self._shown(self.representation(condition.asked, self.prior.sample(condition.asked)))

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """A grid over the heads and the points around them, [columns, columns, 2]; None unless d = 2.

        It spans the 1% to 99% quantiles of 1,000 random points r in each coordinate. The first number rises along a
        row, and the second falls from row to row, as in a drawing of the plane.
        """
        if self.config.code_size != 2:
            return None
        r = self.draw_codes(self.condition(like.new_empty(DRAWN)))
        # torch computes no quantiles in half precision.
        r = r.to(torch.promote_types(r.dtype, torch.float32))
        low, high = r.quantile(r.new_tensor([0.01, 0.99]), dim=0)
        share = torch.linspace(0, 1, columns, device=r.device, dtype=r.dtype)
        across, up = torch.lerp(low[:, None], high[:, None], share)
        return torch.stack(torch.meshgrid(across, up.flip(0), indexing="xy"), -1).to(like.dtype)

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """Images of points r [n, d], whatever the condition; None with `on_circle`.

        A point of the plane does not determine a point of the d dimensions.
        """
        if self.config.on_circle:
            return None
        images: Tensor = self.decoder(z, condition.known)
        return images

    def _shown(self, r: Tensor) -> Tensor:
        """Where points r [n, d] are shown: at r, or with `on_circle` at r P in the plane."""
        return r @ self.to_plane() if self.config.on_circle else r


def check_circle(config: Any) -> Any:
    """Validate `on_circle` and return the settings.

    Raises:
        ValueError: `on_circle` is set for codes of one or two numbers.
    """
    if config.on_circle and config.code_size <= 2:
        raise ValueError(
            f"on_circle = true maps codes of more than two numbers to a plane, and code_size = {config.code_size}. "
            "Set code_size to 3 or more, or leave on_circle out"
        )
    return config


def count_categories(model: str, config: Any, info: DataInfo) -> int:
    """K: the setting or its default, or with labels the number of classes.

    Args:
        model: the model's name, for the message.
        config: the model's settings.
        info: the description of the data.

    Raises:
        PlanError: labels are asked for of data with fewer than two classes, or of another number than `categories`.
    """
    if not config.labels:
        return int(config.categories or CLUSTERS)
    classes = check_classes(model, info)
    if config.categories not in (None, classes):
        raise PlanError(
            f"model '{model}' has a category for each class with labels = true: the data has {classes} "
            f"classes, and categories = {config.categories}. Leave categories out, or labels"
        )
    return classes
