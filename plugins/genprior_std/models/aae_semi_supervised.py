"""The adversarial autoencoder that learns to classify from few labels.

Makhzani et al. 2015 ("Adversarial autoencoders", section 5): the category of the code is the class of the image, which
all images help to tell from the style, and those with a label to name.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from genprior import Batch, Build, Condition, DataInfo, Phase
from genprior_std.models.categorical_aae import CategoricalAutoencoder, check_classes

__all__ = ["SemiSupervisedAutoencoder"]


class SemiSupervisedAutoencoder(CategoricalAutoencoder):
    """AAE whose category is the class: reconstruction and the games on all images, cross-entropy on labelled ones.

        classify:  q(y | x) = softmax(enc(x)[:K])  <-  -log q(y | x) of labelled images,  K = classes of the data

    The first phase, on every image of the batch, looks at no label. How few labels there are is said by `run.labels`;
    without it each image has one. All else is as `CategoricalAutoencoder` says, including where it departs from the
    paper's phases.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 5.
    """

    name = "aae_semi_supervised"

    class Config(CategoricalAutoencoder.Config):
        """The parts of a semi-supervised adversarial autoencoder."""

        label_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the cross-entropy of labelled images."""
        labels_alone: bool = False
        """Only the phase of the labels: the baseline that learns from nothing but the labelled images. It has no
        critics, and its decoder and its prior are not trained."""

    def count_categories(self, config: Any, info: DataInfo) -> int:
        """The number of classes of the data.

        Raises:
            PlanError: the data has fewer than two classes.
        """
        return check_classes(self.name, info)

    @property
    def supervised(self) -> bool:
        """Always."""
        return True

    def make_games(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the critics, their games and the reconstruction, unless labels alone are learnt from."""
        if not config.labels_alone:
            super().make_games(config, info, build)

    def phases(self) -> tuple[Phase, ...]:
        """The AAE phase, that of the labels and, with an image critic, the prior's; or that of the labels alone."""
        return (Phase("classify", self.learn_labels),) if self.config.labels_alone else super().phases()

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """The image of the soft category and the mean style of each image; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().reconstruct(batch)

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """Images of styles z [n, d] in the classes asked for; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().decode(z, condition)

    def cluster_heads(self) -> Tensor | None:
        """The image of each class with style z = 0, [K, c, h, w]; None where the decoder is not trained."""
        return None if self.config.labels_alone else super().cluster_heads()
