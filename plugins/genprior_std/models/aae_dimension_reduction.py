"""The adversarial autoencoder for dimensionality reduction: codes lie around the heads of their clusters."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator
from torch.nn import functional

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes, remember
from genprior_std.checks.parts import check_adversarial, check_category_and_style
from genprior_std.model_pieces.cluster_heads import ClusterHeads
from genprior_std.model_pieces.improves import Improves, has_image_game, real_and_fakes
from genprior_std.model_pieces.points_about_heads import PointsAboutHeads, check_circle, count_categories
from genprior_std.model_pieces.sorting import Sorting

__all__ = ["DimensionReductionAutoencoder"]


class DimensionReductionAutoencoder(PointsAboutHeads):
    """AAE for dimensionality reduction: the decoder sees a category and a style as one point of d dimensions.

    With y = softmax(enc(x)[:K]), z = enc(x)[K:], x_rec = dec(W_C^T y + z), y_p a uniform one-hot and z_p ~ p(z | y_p),
    each module minimises, with the games in their non-saturating form:

        regularise     D_y: -log D_y(y_p) - log(1 - D_y(y)),   D_z: -log D_z(z_p) - log(1 - D_z(z))
                       enc, dec: rec_weight L_rec - category_weight log D_y(y) - style_weight log D_z(z)
                       heads: rec_weight L_rec + repulsion_weight sum_(i<j) max(0, eta - |w_i - w_j|), w_i rows of W_C
        sort           enc: sorts.consistency C - sorts.information I, if one of them is not 0; see `Sorting`
        classify       enc: -label_weight log q(y | x) of labelled images, with `labels = true`
        improve_prior  D_I: -log D_I(x) - log(1 - D_I(x_new)) - log(1 - D_I(x_rec)),   x_new = dec(W_C^T y_p + z_p)
                       prior, dec: -log D_I(x_new) - log D_I(x_rec), where `improves` names them

    With `on_circle = true` codes of more than two dimensions are shown in the plane in which the heads lie evenly on a
    circle (the paper's ten dimensions for ten classes). `codes`, `representation`: see the base class.

    References: Makhzani et al., Adversarial Autoencoders, 2015, section 7; for the last phase Wang, Peng and Ko,
    Learning priors for adversarial autoencoders, 2020, Algorithm 1.
    """

    name = "aae_dimension_reduction"

    class Config(PartConfig):
        """The parts of an adversarial autoencoder that reduces dimensions."""

        retired = {"labels_alone": False}  # model `labels_alone` is that baseline
        code_size: int = Field(2, gt=0)
        """d, the width of the representation, of the style and of a head."""
        categories: int | None = Field(default=None, ge=2)
        """K, the number of clusters; by default 20, or with labels the number of classes."""
        labels: bool = False
        """Whether the categories are the classes, learnt from the labels that are not hidden."""
        prior: genprior.PriorSpec
        """p(z), or p(z | y): `asked` is the one-hot of a category, which a `code_generator` sees."""
        encoder: genprior.EncoderSpec
        """The logits of q(y | x), K numbers, and the style, d numbers: a code of K + d, with no softmax of its own."""
        decoder: genprior.DecoderSpec
        """The image of a point W_C^T y + z."""
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
        eta: float = Field(2.0, gt=0, allow_inf_nan=False)
        """The distance from which on two heads do not repel each other."""
        repulsion_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight of the repulsion of heads."""
        on_circle: bool = False
        """Whether codes are shown in the plane in which the heads lie evenly on a circle, for d > 2."""
        _check_circle = model_validator(mode="after")(check_circle)

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts; the image critic only if the reconstruction or `improves` needs it.

        Raises:
            PlanError: labels are asked for of data without classes, or parts do not fit.
        """
        super().__init__(config)
        self.supervised, self.categories = config.labels, count_categories(self.name, config, info)
        check_category_and_style(self.name, config)
        self.two_phases = has_image_game(self.name, config)
        style, category = (Sizes(info.image, width, 0, 0) for width in (config.code_size, self.categories))
        of = {"encoder": style._replace(code=self.categories + config.code_size), "category_critic": category}
        of |= {"prior": style._replace(asked=self.categories, one_hot=True), "category_game": category}
        build.parts(self, style, of=of, without=() if self.two_phases else ("image_critic", "image_game"))
        self.heads = build("heads", ClusterHeads.Config(categories=self.categories, spread=config.eta), style)
        check_adversarial(self)

    def phases(self) -> tuple[Phase, ...]:
        """The AAE phase, with labels the classification phase, and those that the settings ask for."""
        sort = (Phase("sort", self.sort),) if self.config.sorts.on else ()
        classify = (Phase("classify", self.learn_labels),) if self.supervised else ()
        improve = (Phase("improve_prior", self.improve_prior),) if self.two_phases else ()
        return (Phase("regularise", self.regularise), *sort, *classify, *improve)

    def regularise(self, batch: Batch) -> Objectives:
        """The AAE phase: categories and styles are matched to their priors, images reconstructed, heads separated."""
        no_condition, weights = batch.x.new_zeros(len(batch.x), 0), self.config
        logits, z = self.codes(batch.x, draw=True)
        y = logits.softmax(1)
        with torch.no_grad():
            y_p = self.draw_categories(y)
            z_p = self.prior.sample(y_p)
        rec = self.reconstruction_error(batch.x, y, z)  # L_rec
        category_critic, style_critic = remember(self.category_critic), remember(self.style_critic)
        fool_y = self.category_game.generator_loss(category_critic, (y_p, no_condition), (y, no_condition))
        fool_z = self.style_game.generator_loss(style_critic, (z_p, no_condition), (z, no_condition))
        repulsion = self.heads.repulsion(weights.eta)
        autoencoder = weights.rec_weight * rec + weights.category_weight * fool_y + weights.style_weight * fool_z
        loss = autoencoder + weights.repulsion_weight * repulsion  # the games reach only enc, the repulsion only heads
        judge_y = self.category_game.critic_loss(category_critic, (y_p, no_condition), (y, no_condition))
        judge_z = self.style_game.critic_loss(style_critic, (z_p, no_condition), (z, no_condition))
        losses = {"category_critic": judge_y, "style_critic": judge_z, "encoder": loss, "decoder": loss, "heads": loss}
        note = {"reconstruction": rec, "fool_category": fool_y, "fool_style": fool_z, "repulsion": repulsion}
        return Objectives(losses, note)

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
