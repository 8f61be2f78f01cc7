"""The PixelGAN autoencoder that learns to classify from few labels, of Makhzani and Frey 2017, section 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

import genprior
from genprior import Asks, Batch, Build, Condition, DataInfo, Objectives, PartConfig, Phase, Sizes, remember
from genprior_std.checks.labels import check_code_is_class
from genprior_std.checks.learning import check_learns_nothing
from genprior_std.checks.likelihoods import check_autoregressive
from genprior_std.checks.parts import check_enough_images, check_plain
from genprior_std.conditioners.known_labels import check_asked
from genprior_std.conditioners.none import NoCondition
from genprior_std.layers.posterior import log_category
from genprior_std.model_pieces.autoregressive_autoencoder import AutoregressiveAutoencoder
from genprior_std.model_pieces.sorting import Sorting
from genprior_std.priors.categorical import Categorical

__all__ = ["SemiSupervisedPixelGan"]


class SemiSupervisedPixelGan(AutoregressiveAutoencoder):
    """PixelGAN autoencoder whose code is the class, learnt from the labels of some images.

    With z = q(y | x), the soft category that enc gives, and z_p ~ p(z), a uniform one-hot of the K classes, each module
    minimises, with the game in its non-saturating form:

        regularise     D: -log D(z_p) - log(1 - D(z))
                       enc, dec: -rec_weight log p(x | z) / (c h w) - adversarial_weight log D(z)
        sort           enc: sorts.consistency C - sorts.information I, if one of them is not 0; see `Sorting`
        classify       enc: -label_weight log q(y | x) of labelled images

    The first two phases see every image and no label. Labelled images come in a second stream if `run.labels` hides
    labels; else they are the images of the batch. Reconstruction and game share a step; the paper alternates.
    `prior` and `conditioner` have one possible value each. They are settings because the base class, which it shares
    with `pixelgan`, uses both parts, and so that a recipe of `pixelgan` with these values needs only another name.

    References:
        Makhzani and Frey, PixelGAN Autoencoders, 2017, section 2, section 3 (semi-supervised learning) and table 1.
    """

    name = "pixelgan_semi_supervised"
    # Also the encoder: it sorts images and takes part in scores, which need both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a semi-supervised PixelGAN autoencoder."""

        retired = {"labels_alone": False}  # model `labels_alone` is that baseline
        code_size: int | None = Field(None, gt=0)
        """The number of classes of the data, which is also the default."""
        prior: genprior.PriorSpec = Categorical.Config()
        """p(z), a class drawn uniformly; only `categorical` is possible."""
        encoder: genprior.EncoderSpec
        """q(y | x), with posterior = "softmax"."""
        decoder: genprior.DecoderSpec
        """p(x | z), an autoregressive decoder."""
        code_critic: genprior.CriticSpec
        """D, which tells codes of the prior from codes of images."""
        conditioner: genprior.ConditionerSpec = NoCondition.Config()
        """Only `none` is possible: the decoder sees the class as the code."""
        code_game: genprior.GameSpec
        """The game of the code critic and the encoder."""
        rec_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of -log p(x | z) / (c h w), in nats per sub-pixel, so that it does not depend on the images' size."""
        adversarial_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight of the code game in the encoder's step, the paper's cost multiplier."""
        label_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the cross-entropy."""
        sorts: Sorting = Sorting()
        """Losses that sort images into categories beside the game; none by default, as in the paper."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts for a code as wide as there are classes.

        Raises:
            PlanError: the data has no classes, the code is not a class, the decoder has no likelihood of these images,
                the game has parameters or a state, or parts do not fit.
        """
        super().__init__(config)
        check_code_is_class(self.name, config, info)
        check_autoregressive(self.name, config.decoder, info)
        build.parts(self, Sizes(info.image, len(info.classes), known=0, asked=0))
        check_plain(self.name, "code_game", self.code_game)
        check_learns_nothing(self.name, self.prior)

    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Begin training, which needs at least one training image for each class.

        Raises:
            PlanError: there are more classes than training images.
        """
        super().begin(draw)
        check_enough_images(self.name, self.encoder.sizes.code, draw, None)

    def phases(self) -> tuple[Phase, ...]:
        """The phases of all images, and the classification phase of the labelled ones."""
        sort = (Phase("sort", self.sort),) if self.config.sorts.on else ()
        return (Phase("regularise", self.regularise), *sort, Phase("classify", self.learn_labels))

    def regularise(self, batch: Batch) -> Objectives:
        """Images are predicted from their codes, and codes are matched to the prior."""
        known, asked = self.conditioner(batch)
        with torch.no_grad():
            z_p = self.prior.sample(asked)
        z = self.encoder(batch.x, known).rsample()
        rec = -self.decoder.log_prob(batch.x, z, known).mean() / batch.x[0].numel()
        critic = remember(self.code_critic)
        fool = self.code_game.generator_loss(critic, (z_p, known), (z, known))
        # The code game does not depend on the decoder, so one loss and one backward pass serve both.
        autoencoder = self.config.rec_weight * rec + self.config.adversarial_weight * fool
        judge = self.code_game.critic_loss(critic, (z_p, known), (z, known))
        losses = {"code_critic": judge, "encoder": autoencoder, "decoder": autoencoder}
        return Objectives(losses, note={"reconstruction": rec, "fool": fool})

    def sort(self, batch: Batch) -> Objectives:
        """The phase of `sorts`: images and moved images get the same categories, and all categories are used."""
        known, _ = self.conditioner(batch)
        return Objectives(*self.config.sorts.losses(batch.x, lambda x: self.log_categories(x, known), batch.step))

    def learn_labels(self, batch: Batch) -> Objectives:
        """The classification phase: the cross-entropy -log q(y | x) of the known labels."""
        labelled = batch.labelled or batch
        known, _ = self.conditioner(labelled)
        cross_entropy = functional.nll_loss(log_category(self.encoder(labelled.x, known)), labelled.y)
        return Objectives({"encoder": self.config.label_weight * cross_entropy}, note={"cross_entropy": cross_entropy})

    def classify(self, batch: Batch) -> Tensor:
        """The probability of each class for each image, q(y | x), [n, classes]."""
        return self.encode(batch)

    @property
    def asks(self) -> Asks:
        """The label."""
        return Asks("label", self.encoder.sizes.code)

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """Nothing, or the one-hot of the classes y [n] that are asked for.

        Raises:
            PlanError: a class is not one of the data's.
        """
        nothing, classes = super().condition(like), self.encoder.sizes.code
        if y is None:
            return nothing
        check_asked(f"model '{self.name}'", y, classes)
        return Condition(known=nothing.known, asked=functional.one_hot(y.long(), classes).to(nothing.known.dtype))

    def generate(self, condition: Condition) -> Tensor:
        """Images drawn from p(x | z), with the class that is asked as z, or one drawn from the prior."""
        z = condition.asked if condition.asked.shape[1] else self.prior.sample(condition.asked)
        images: Tensor = self.decoder(z, condition.known)
        return images
