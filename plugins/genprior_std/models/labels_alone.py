"""The baseline of semi-supervised models: the same encoder, trained on the labelled images only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

import genprior
from genprior import (
    Batch,
    Build,
    CategoricalPosterior,
    Condition,
    DataInfo,
    Model,
    Objectives,
    PartConfig,
    Phase,
    PlanError,
    Sizes,
)
from genprior_std.checks.parts import check_classes, check_enough_images, check_first_numbers
from genprior_std.model_pieces.version_0_1 import without_setting_labels_alone

__all__ = ["LabelledClassifier"]


class LabelledClassifier(Model):
    """Classifier trained on the labelled images only, the baseline of semi-supervised models.

        classify:  the encoder minimises label_weight E[-log q(y | x)] over labelled images

    q(y | x) is the encoder's soft category, or the softmax of the first K numbers of its code, one for each of the K
    classes. With `style_size` numbers after them the encoder has the same weights, one for one, as in model
    `aae_semi_supervised` or `aae_dimension_reduction` with a style of that size; without them, as in model
    `pixelgan_semi_supervised`. It makes no images.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 5, table 2; Makhzani and Frey, PixelGAN Autoencoders,
        2017, table 1.
    """

    name = "labels_alone"
    makes_images = False
    generating: ClassVar[tuple[str, ...]] = ("encoder",)
    encoder: Any

    class Config(PartConfig):
        """The encoder, and the width of its code beyond the classes."""

        style_size: int = Field(0, ge=0)
        """Numbers of the encoder's code after those of the classes; no loss trains them."""
        encoder: genprior.EncoderSpec
        """The logits of q(y | x), or, without `style_size`, a soft category."""
        label_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the cross-entropy."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the encoder.

        Raises:
            PlanError: the data has fewer than two classes, or the encoder's softmax is over the style too.
        """
        super().__init__(config)
        self.classes = check_classes(self.name, info)
        if config.style_size:
            check_first_numbers(self.name, config.encoder)
        build.parts(self, Sizes(info.image, self.classes + config.style_size, 0, 0))
        self.register_load_state_dict_pre_hook(_leave_out_other_modules)  # type: ignore[no-untyped-call]

    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Begin training, which needs at least one training image for each class.

        Raises:
            PlanError: there are more classes than training images.
        """
        super().begin(draw)
        check_enough_images(self.name, self.classes, draw, None)

    def phases(self) -> tuple[Phase, ...]:
        """The classification phase."""
        return (Phase("classify", self.learn_labels),)

    def learn_labels(self, batch: Batch) -> Objectives:
        """The classification phase: the cross-entropy of q(y | x) with the known labels."""
        labelled = batch.labelled or batch
        cross_entropy = functional.nll_loss(self._log_q(labelled.x), labelled.y)
        return Objectives({"encoder": self.config.label_weight * cross_entropy}, note={"cross_entropy": cross_entropy})

    def classify(self, batch: Batch) -> Tensor:
        """The probability of each class for each image, q(y | x), [n, classes]."""
        q = self.encoder(batch.x, batch.x.new_zeros(len(batch.x), 0))
        return q.mean if isinstance(q, CategoricalPosterior) else self._logits(q.mean).softmax(1)

    def clusters(self, batch: Batch) -> Tensor:
        """The classes as clusters: q(y | x), [n, classes]."""
        return self.classify(batch)

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """Refuse: there are no images to ask for.

        Raises:
            PlanError: always.
        """
        raise self._no_images()

    def generate(self, condition: Condition) -> Tensor:
        """Refuse to make images.

        Raises:
            PlanError: always.
        """
        raise self._no_images()

    def _no_images(self) -> PlanError:
        return PlanError(
            f"model '{self.name}' cannot make images: it is a baseline without a decoder, a classifier trained on "
            "labelled images. Score it by 'error_rate' or 'cluster_error', or sample from a model that it is compared "
            "with, such as 'aae_semi_supervised'"
        )

    def _logits(self, code: Tensor) -> Tensor:
        """The first K numbers of codes, [n, K], in at least single precision."""
        logits = code[:, : self.classes]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _log_q(self, x: Tensor) -> Tensor:
        q = self.encoder(x, x.new_zeros(len(x), 0))
        return q.log_mean if isinstance(q, CategoricalPosterior) else self._logits(q.mean).log_softmax(1)

    @classmethod
    def upgrade(cls, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
        """Turn a row of version 0.1 whose model has `labels_alone = true` into a row of this model."""
        return without_setting_labels_alone(recipe, cls.name)


def _leave_out_other_modules(model: Any, state: dict[str, Tensor], *_: object) -> None:
    """Drop from a checkpoint of version 0.1 the untrained modules that the model had beside the encoder."""
    for name in [name for name in state if name.startswith(("decoder.", "prior.", "conditioner.", "heads."))]:
        del state[name]
