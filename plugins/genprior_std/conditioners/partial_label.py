"""The class of an image as its condition, with an extra class for hidden labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genprior import Asks, Batch, Condition, Conditioner, DataInfo, PartConfig, PlanError, Widths
from genprior_std.conditioners.known_labels import check_asked

__all__ = ["PartialLabel"]


class PartialLabel(Conditioner):
    """The label as the condition, with an extra class in `known` where it is hidden, for K classes.

        label y:         known = one-hot of y, [K + 1],      asked = one-hot of y, [K]
        hidden label:    known = one-hot of K, [K + 1],      asked = one-hot of a class drawn uniformly, [K]

    In model `aae` the code critic then sees the four streams of the paper: codes of component y with y, codes of the
    whole mixture with the extra class, and codes of labelled and of unlabelled images likewise. So labels shape the
    space of codes, and encoding needs no label: set `conditional = true` for the code critic, and `conditional = false`
    for the encoder and the decoder. Each image of a batch weighs the same, so the weight of a stream is its number of
    images. Where no label is hidden, the extra class is never seen in training.

    Source: Makhzani et al., "Adversarial Autoencoders", 2015, section 2.3 and figure 3.
    """

    name = "partial_label"

    class Config(PartConfig):
        """No settings."""

    @classmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """One more than the number of classes, and the number of classes.

        Raises:
            PlanError: the data has no classes.
        """
        if not info.classes:
            raise PlanError(
                f"conditioner '{cls.name}' needs images of which at least some are labelled; this data set has no "
                "classes. Use conditioner 'none' or 'infogan', or a data set with labels"
            )
        return Widths(known=len(info.classes) + 1, asked=len(info.classes), one_hot=True)

    @property
    def asks(self) -> Asks:
        """The label."""
        return Asks("label", self.sizes.asked)

    def forward(self, batch: Batch) -> Condition:
        """The condition of the batch's own labels, a negative one being hidden, in the dtype of its images."""
        classes, hidden = self.sizes.asked, batch.y < 0
        known = batch.y.masked_fill(hidden, classes)
        asked = torch.where(hidden, torch.randint_like(batch.y, classes), batch.y)
        return self._one_hots(known, asked, batch.x.dtype)

    def draw(self, like: Tensor) -> Condition:
        """The condition of new images: `asked` is a class drawn uniformly, `known` the extra class."""
        classes = self.sizes.asked
        asked = torch.randint(classes, (len(like),), device=like.device)
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        return self._one_hots(torch.full_like(asked, classes), asked, dtype)

    def of_label(self, y: Tensor) -> Condition:
        """The condition of new images of known classes y [n], in torch's default dtype.

        Raises:
            PlanError: a label is not one of the data's.
        """
        check_asked(f"conditioner '{self.name}'", y, self.sizes.asked)
        return self._one_hots(y.long(), y.long(), torch.get_default_dtype())

    def _one_hots(self, known: Tensor, asked: Tensor, dtype: torch.dtype) -> Condition:
        return Condition(
            known=functional.one_hot(known, self.sizes.known).to(dtype),
            asked=functional.one_hot(asked, self.sizes.asked).to(dtype),
        )
