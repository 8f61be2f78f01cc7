"""What the adversarial autoencoders share whose category can be the class, learnt from labels."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from genprior import Batch, Build, DataInfo, Objectives, Phase
from genprior_std.models.categorical_aae import CategoricalAutoencoder
from genprior_std.models.labels_alone import LabelsAlone

__all__ = ["LabelledAutoencoder"]


class LabelledAutoencoder(LabelsAlone, CategoricalAutoencoder):
    """AAE with a phase of the labels, where it is supervised: cross-entropy on the images whose label is known.

        classify:  q(y | x) = softmax(enc(x)[:K])  <-  -log q(y | x) of labelled images,  K = classes of the data

    It comes after the AAE phase, which looks at no label, and before that of a prior that learns.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 5.
    """

    class Config(CategoricalAutoencoder.Config):
        """The parts of an adversarial autoencoder that can learn labels."""

        label_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the cross-entropy of labelled images."""
        labels_alone: bool = False
        """Only the phase of the labels: the baseline that learns from nothing but the labelled images. It has no
        critics, and nothing but its encoder's category is trained."""

    def make_games(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the critics, their games and the reconstruction, unless labels alone are learnt from."""
        if not config.labels_alone:
            super().make_games(config, info, build)

    def phases(self) -> tuple[Phase, ...]:
        """The AAE phase, that of the labels and, with an image critic, the prior's; or that of the labels alone."""
        classify = Phase("classify", self.learn_labels)
        if self.config.labels_alone:
            return (classify,)
        regularise, *improve = super().phases()
        return (regularise, classify, *improve) if self.supervised else (regularise, *improve)

    def learn_labels(self, batch: Batch) -> Objectives:
        """The phase of the labels: q(y | x) learns those that are known, by cross-entropy."""
        labelled = batch.labelled or batch
        logits, _ = self.codes(labelled.x)
        cross_entropy = functional.cross_entropy(logits, labelled.y)
        return Objectives({"encoder": self.config.label_weight * cross_entropy}, note={"cross_entropy": cross_entropy})

    def encode(self, batch: Batch) -> Tensor | None:
        """The mean style z, [n, d]; None where styles are not trained."""
        return None if self.config.labels_alone else super().encode(batch)
