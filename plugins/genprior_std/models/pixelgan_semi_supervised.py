"""The PixelGAN autoencoder that learns to classify from few labels.

Makhzani and Frey 2017 ("PixelGAN autoencoders"), the semi-supervised part of section 3.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from genprior import Batch, Build, Condition, ConditionerSpec, DataInfo, Objectives, Phase, PlanError, PriorSpec, Sizes
from genprior_std.conditioners.known_labels import check_asked
from genprior_std.conditioners.none import NoCondition
from genprior_std.layers.posterior import log_category
from genprior_std.models.labels_alone import LabelsAlone
from genprior_std.models.pixelgan import PixelGanAutoencoder, ends_in_softmax
from genprior_std.priors.categorical import Categorical

__all__ = ["SemiSupervisedPixelGan"]


class SemiSupervisedPixelGan(LabelsAlone, PixelGanAutoencoder):
    """PixelGAN autoencoder whose code is a class, which some images tell.

        classify:  encoder descends label_weight E[-log q(y | x)] over labelled images

    beside the phase of model `pixelgan`, which sees every image and no label. q(y | x) is the encoder's soft category,
    K numbers for K classes. Labelled images are the second stream of `run.labels`; where no label is hidden they are
    those of the batch.

    References:
        Makhzani and Frey, PixelGAN Autoencoders, 2017, section 3 (semi-supervised learning) and table 1.
    """

    name = "pixelgan_semi_supervised"
    counted_by: ClassVar[str | None] = None

    class Config(PixelGanAutoencoder.Config):
        """The parts of a semi-supervised PixelGAN autoencoder."""

        code_size: int | None = Field(None, gt=0)  # type: ignore[assignment]
        """The number of classes of the data, which is taken if not given."""
        prior: PriorSpec = Categorical.Config()
        """p(z), a class drawn uniformly; nothing but `categorical`."""
        conditioner: ConditionerSpec = NoCondition.Config()
        """Nothing but `none`: the code is the class, so the decoder is not told it."""
        label_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the cross-entropy."""
        labels_alone: bool = False
        """Only the phase `classify`: a baseline that sees nothing but labelled images; its decoder learns nothing."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts for a code as wide as there are classes.

        Raises:
            PlanError: the data has no classes, the code is not one of them, or parts do not fit.
        """
        classes = len(info.classes)
        _check(self.name, config, classes)
        super().__init__(config.model_copy(update={"code_size": classes}), info, build)
        if self.conditioner.sizes.known or self.conditioner.sizes.asked:
            raise PlanError(
                f"model '{self.name}' has the class as its code, and conditioner '{self.conditioner.name}' tells or "
                "asks something besides. Leave conditioner out, or use model 'pixelgan'"
            )

    def make_game(self, config: Any, sizes: Sizes, build: Build) -> None:
        """Make the code critic and its game, unless the labels alone are used."""
        if not config.labels_alone:
            super().make_game(config, sizes, build)

    def phases(self) -> tuple[Phase, ...]:
        """The phase of model `pixelgan` and the classification of labelled images."""
        classify = Phase("classify", self.fit_labels)
        return (classify,) if self.config.labels_alone else (*super().phases(), classify)

    def fit_labels(self, batch: Batch) -> Objectives:
        """The cross-entropy of the labels that are known, -log q(y | x)."""
        labelled = batch if batch.labelled is None else batch.labelled
        known, _ = self.conditioner(labelled)
        log_q = log_category(self.encoder(labelled.x, known))
        cross_entropy = functional.nll_loss(log_q, labelled.y)
        return Objectives({"encoder": self.config.label_weight * cross_entropy}, note={"cross_entropy": cross_entropy})

    def classify(self, batch: Batch) -> Tensor:
        """How likely each class is for each image, q(y | x), [n, classes]."""
        return self.encode(batch)

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """Nothing, or the one-hot of the classes y [n] that are asked for.

        Raises:
            PlanError: a class is not one of the data's.
        """
        nothing = super().condition(like)
        if y is None:
            return nothing
        classes = self.config.code_size
        check_asked(f"model '{self.name}'", y, classes)
        return Condition(known=nothing.known, asked=functional.one_hot(y.long(), classes).to(nothing.known.dtype))

    def generate(self, condition: Condition) -> Tensor:
        """Images drawn from p(x | z), with the class that is asked as z, or one drawn from the prior."""
        if condition.asked.shape[1]:
            images: Tensor = self.decoder(condition.asked, condition.known)
            return images
        return super().generate(condition)


def _check(model: str, config: Any, classes: int) -> None:
    """Refuse settings of which the code would be no class."""
    if not classes:
        raise PlanError(
            f"model '{model}' learns classes, and this data set has none. Use a data set with labels, or model "
            "'pixelgan'"
        )
    if config.code_size not in (None, classes):
        raise PlanError(
            f"model '{model}' has one category for each class of the data; code_size = {config.code_size}, and there "
            f"are {classes} classes. Leave code_size out, or use model 'pixelgan' for other numbers of clusters"
        )
    if not issubclass(config.prior.part, Categorical):
        raise PlanError(
            f"model '{model}' has the class as its code; prior '{config.prior.name}' draws other codes. "
            "Leave prior out, or use model 'pixelgan'"
        )
    if not ends_in_softmax(config.encoder):
        raise PlanError(
            f"model '{model}' reads the class of an image from a soft category, and encoder '{config.encoder.name}' "
            'gives other codes. Set posterior = "softmax" in the encoder\'s table'
        )
