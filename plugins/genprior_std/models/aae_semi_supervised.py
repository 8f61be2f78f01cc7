"""The adversarial autoencoder that learns to classify from few labels.

Makhzani et al. 2015 ("Adversarial autoencoders", section 5): the category of the code is the class of the image, which
all images help to tell from the style, and those with a label to name.
"""

from __future__ import annotations

from typing import Any

from genprior import DataInfo
from genprior_std.models.categorical_aae import check_classes
from genprior_std.models.labelled_aae import LabelledAutoencoder

__all__ = ["SemiSupervisedAutoencoder"]


class SemiSupervisedAutoencoder(LabelledAutoencoder):
    """AAE whose category is the class: reconstruction and the games on all images, cross-entropy on labelled ones.

        classify:  q(y | x) = softmax(enc(x)[:K])  <-  -log q(y | x) of labelled images,  K = classes of the data

    The first phase, on every image of the batch, looks at no label. How few labels there are is said by `run.labels`;
    without it each image has one. All else is as `CategoricalAutoencoder` says, including where it departs from the
    paper's phases.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 5.
    """

    name = "aae_semi_supervised"

    class Config(LabelledAutoencoder.Config):
        """The parts of a semi-supervised adversarial autoencoder."""

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
