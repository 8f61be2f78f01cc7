"""The class of an image as its condition."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genprior import Asks, Batch, Condition, Conditioner, DataInfo, PartConfig, PlanError, Widths
from genprior_std.conditioners.known_labels import check_asked, check_labels_known

__all__ = ["Label"]


class Label(Conditioner):
    """The label as the condition: known = asked = one-hot of y, both [n, classes].

    Source: "Adversarial autoencoders", section 2.3; the supervised setting of "Learning priors for adversarial
    autoencoders", section 4.
    """

    name = "label"

    class Config(PartConfig):
        """No settings."""

    @classmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """The number of classes of the data, for `known` and for `asked`.

        Raises:
            PlanError: the data has no classes.
        """
        if not info.classes:
            raise PlanError(
                f"conditioner '{cls.name}' needs labelled images; this data set has no classes. "
                "Use conditioner 'none' or 'infogan', or a data set with labels"
            )
        check_labels_known(f"conditioner '{cls.name}'", info)
        return Widths(known=len(info.classes), asked=len(info.classes), one_hot=True)

    @property
    def asks(self) -> Asks:
        """The label."""
        return Asks("label", self.sizes.asked)

    def _one_hot(self, y: Tensor, dtype: torch.dtype) -> Condition:
        asked = functional.one_hot(y, self.sizes.asked).to(dtype)
        return Condition(known=asked, asked=asked)

    def forward(self, batch: Batch) -> Condition:
        """The one-hots [n, classes] of the batch's own labels, in the dtype of its images."""
        return self._one_hot(batch.y, batch.x.dtype)

    def draw(self, like: Tensor) -> Condition:
        """The one-hots [n, classes] of labels drawn uniformly."""
        y = torch.randint(self.sizes.asked, (len(like),), device=like.device)
        return self._one_hot(y, like.dtype if like.is_floating_point() else torch.get_default_dtype())

    def of_label(self, y: Tensor) -> Condition:
        """The one-hots [n, classes] of labels y [n], in torch's default dtype.

        Raises:
            PlanError: a label is not one of the data's.
        """
        check_asked(f"conditioner '{self.name}'", y, self.sizes.asked)
        return self._one_hot(y.long(), torch.get_default_dtype())
