"""The adversarial autoencoder that learns to classify from few labels.

Makhzani et al. 2015 ("Adversarial autoencoders", section 5): the category of the code is the class of the image. All
images train the split into category and style; the labelled ones also tell which category is which class.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch.nn import functional

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes, remember
from genprior_std.checks.parts import check_adversarial, check_category_and_style, check_classes
from genprior_std.model_pieces.category_and_style import CategoryBesideStyle
from genprior_std.model_pieces.improves import Improves, has_image_game, real_and_fakes
from genprior_std.model_pieces.sorting import Sorting

__all__ = ["SemiSupervisedAutoencoder"]


class SemiSupervisedAutoencoder(CategoryBesideStyle):
    """AAE whose category is the class: reconstruction and the games on all images, cross-entropy on labelled ones.

    With y = softmax(enc(x)[:K]), z = enc(x)[K:], x_rec = dec([y, z]), y_p uniform on K one-hots and z_p ~ p(z | y_p),
    each module minimises, with the games in their non-saturating form:

        regularise     D_y: -log D_y(y_p) - log(1 - D_y(y)),   D_z: -log D_z(z_p) - log(1 - D_z(z))
                       enc, dec: rec_weight L_rec - category_weight log D_y(y) - style_weight log D_z(z)
        sort           enc: sorts.consistency C - sorts.information I, if one of them is not 0; see `Sorting`
        classify       enc: -label_weight log q(y | x) of labelled images,  q(y | x) = softmax(enc(x)[:K])
        improve_prior  D_I: -log D_I(x) - log(1 - D_I(x_new)) - log(1 - D_I(x_rec)),   x_new = dec([y_p, z_p])
                       prior, dec: -log D_I(x_new) - log D_I(x_rec), where `improves` names them

    K is the number of classes; y is the softmax itself, neither sampled nor rounded. The paper alternates between
    reconstruction and games; here the encoder minimises their sum in one step. `run.labels` sets how many images have a
    label; by default all have one. The phase `sort` sees no label. `codes`, `representation`: see the base class.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 5; for the last phase Wang, Peng and Ko, Learning
        priors for adversarial autoencoders, 2020, Algorithm 1.
    """

    name = "aae_semi_supervised"
    supervised = True

    class Config(PartConfig):
        """The parts of a semi-supervised adversarial autoencoder."""

        retired = {"labels_alone": False}  # model `labels_alone` is that baseline
        code_size: int = Field(5, gt=0)
        """d, the width of the style z."""
        prior: genprior.PriorSpec
        """p(z), or p(z | y): `asked` is the one-hot of a category, which a `code_generator` sees."""
        encoder: genprior.EncoderSpec
        """The logits of q(y | x), K numbers, and the style, d numbers: a code of K + d, with no softmax of its own."""
        decoder: genprior.DecoderSpec
        """The image of a category and a style."""
        category_critic: genprior.CriticSpec
        """D_y, which tells one-hots of p(y) from the soft categories of images."""
        style_critic: genprior.CriticSpec
        """D_z, which tells codes of the prior from the styles of images."""
        image_critic: genprior.CriticSpec | None = None
        """D_I, which tells images from decoded codes; needed only by `improves` and by parts that borrow it."""
        reconstruction: genprior.ReconstructionSpec
        """L_rec."""
        category_game: genprior.GameSpec
        """The game of the category critic and the encoder."""
        style_game: genprior.GameSpec
        """The game of the style critic and the encoder."""
        image_game: genprior.GameSpec | None = None
        """The game of the image critic, a prior that learns and the decoder."""
        improves: Improves = Improves()
        """Which modules the prior-improvement phase trains."""
        reconstruction_as_fake: bool = True
        """Whether D_I also judges reconstructions as fakes."""
        rec_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of L_rec in the step of the encoder and the decoder."""
        category_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight, in the encoder's step, of fooling the category critic."""
        style_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight, in the encoder's step, of fooling the style critic."""
        label_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of the cross-entropy of labelled images."""
        sorts: Sorting = Sorting()
        """Losses that sort images into categories beside the games; none by default, as in the paper."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts; the image critic only if the reconstruction or `improves` needs it.

        Raises:
            PlanError: the data has fewer than two classes, or parts do not fit.
        """
        super().__init__(config)
        self.categories = check_classes(self.name, info)
        check_category_and_style(self.name, config)
        self.two_phases = has_image_game(self.name, config)
        widths = (self.categories + config.code_size, self.categories, config.code_size)
        code, category, style = (Sizes(info.image, width, 0, 0) for width in widths)
        of = {"category_critic": category, "category_game": category, "style_critic": style, "style_game": style}
        of |= {"prior": style._replace(asked=self.categories, one_hot=True)}
        build.parts(self, code, of=of, without=() if self.two_phases else ("image_critic", "image_game"))
        check_adversarial(self)

    def phases(self) -> tuple[Phase, ...]:
        """The AAE phase, the classification phase, and those that the settings ask for."""
        sort = (Phase("sort", self.sort),) if self.config.sorts.on else ()
        improve = (Phase("improve_prior", self.improve_prior),) if self.two_phases else ()
        return (Phase("regularise", self.regularise), *sort, Phase("classify", self.learn_labels), *improve)

    def regularise(self, batch: Batch) -> Objectives:
        """The AAE phase: categories and styles are matched to their priors, and images are reconstructed."""
        no_condition, weights = batch.x.new_zeros(len(batch.x), 0), self.config
        logits, z = self.codes(batch.x, draw=True)
        y = logits.softmax(1)
        with torch.no_grad():
            y_p = self.draw_categories(y)
            z_p = self.prior.sample(y_p)
        x_rec = self.decoder(self.representation(y, z), no_condition)
        rec = self.reconstruction(batch.x, x_rec, no_condition).mean()  # L_rec
        category_critic, style_critic = remember(self.category_critic), remember(self.style_critic)
        fool_y = self.category_game.generator_loss(category_critic, (y_p, no_condition), (y, no_condition))
        fool_z = self.style_game.generator_loss(style_critic, (z_p, no_condition), (z, no_condition))
        # The games do not depend on the decoder, so one loss and one backward pass serve both.
        autoencoder = weights.rec_weight * rec + weights.category_weight * fool_y + weights.style_weight * fool_z
        judge_y = self.category_game.critic_loss(category_critic, (y_p, no_condition), (y, no_condition))
        judge_z = self.style_game.critic_loss(style_critic, (z_p, no_condition), (z, no_condition))
        losses = {"category_critic": judge_y, "style_critic": judge_z, "encoder": autoencoder, "decoder": autoencoder}
        return Objectives(losses, note={"reconstruction": rec, "fool_category": fool_y, "fool_style": fool_z})

    def sort(self, batch: Batch) -> Objectives:
        """The phase of `sorts`: images and moved images get the same categories, and all categories are used."""
        return Objectives(*self.config.sorts.losses(batch.x, lambda x: self.codes(x)[0], batch.step))

    def learn_labels(self, batch: Batch) -> Objectives:
        """The classification phase: the cross-entropy of q(y | x) with the known labels."""
        labelled = batch.labelled or batch
        logits, _ = self.codes(labelled.x)
        cross_entropy = functional.cross_entropy(logits, labelled.y)
        return Objectives({"encoder": self.config.label_weight * cross_entropy}, note={"cross_entropy": cross_entropy})

    def improve_prior(self, batch: Batch) -> Objectives:
        """The prior-improvement phase: images decoded from random categories and styles are matched to real ones."""
        real, *fakes = real_and_fakes(self, batch.x)  # x; x_new, x_rec
        critic, trained = remember(self.image_critic), self.config.improves.modules
        losses = {"image_critic": self.image_game.critic_loss(critic, real, *fakes)}
        if trained:
            losses |= dict.fromkeys(trained, self.image_game.generator_loss(critic, real, *fakes))
        return Objectives(losses)
