"""The adversarial autoencoder that sorts images into clusters without labels.

Makhzani et al. 2015, section 6: the code is a category, the cluster, and a small style, the variation within it.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

import genprior
from genprior import Batch, Build, DataInfo, Objectives, PartConfig, Phase, Sizes, remember
from genprior_std.checks.parts import check_adversarial, check_category_and_style
from genprior_std.model_pieces.category_and_style import CategoryBesideStyle
from genprior_std.model_pieces.improves import Improves, has_image_game, real_and_fakes
from genprior_std.model_pieces.sorting import ClusterSorting

__all__ = ["ClusteringAutoencoder"]


class ClusteringAutoencoder(CategoryBesideStyle):
    """AAE that finds K clusters: its code is a category of K and a style.

    With y = softmax(enc(x)[:K]), z = enc(x)[K:], x_rec = dec([y, z]), y_p uniform on K one-hots and z_p ~ p(z | y_p),
    each module minimises, with the games in their non-saturating form:

        regularise     D_y: -log D_y(y_p) - log(1 - D_y(y)),   D_z: -log D_z(z_p) - log(1 - D_z(z))
                       enc, dec: rec_weight L_rec - category_weight log D_y(y) - style_weight log D_z(z)
        sort           enc: sorts.consistency C - sorts.information I, if one of them is not 0; see `Sorting`
        improve_prior  D_I: -log D_I(x) - log(1 - D_I(x_new)) - log(1 - D_I(x_rec)),   x_new = dec([y_p, z_p])
                       prior, dec: -log D_I(x_new) - log D_I(x_rec), where `improves` names them

    y is the softmax itself, neither sampled nor rounded. Choose more clusters than expected classes, such as 16 or 30
    for the ten digits; the head of a cluster is the image of its one-hot and z = 0. With `alternate`, as in the paper,
    L_rec is of a phase `reconstruct` before the games. `codes`, `representation`: see the base class.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 6; for the last phase Wang, Peng and Ko, Learning
        priors for adversarial autoencoders, 2020, Algorithm 1.
    """

    name = "aae_clustering"
    supervised = False

    class Config(PartConfig):
        """The parts of an adversarial autoencoder that clusters."""

        categories: int = Field(16, ge=2)
        """K, the number of clusters."""
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
        alternate: bool = False
        """Whether reconstruction is a phase `reconstruct` before the games, as in the paper; else one step has both."""
        sorts: ClusterSorting = ClusterSorting()
        """Losses that sort images into categories beside the games; none by default, as in the paper."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts; the image critic only if the reconstruction or `improves` needs it.

        Raises:
            PlanError: parts do not fit each other or the data.
        """
        super().__init__(config)
        self.categories, self.start_steps = config.categories, config.sorts.start_steps
        check_category_and_style(self.name, config)
        self.two_phases = has_image_game(self.name, config)
        widths = (self.categories + config.code_size, self.categories, config.code_size)
        code, category, style = (Sizes(info.image, width, 0, 0) for width in widths)
        of = {"category_critic": category, "category_game": category, "style_critic": style, "style_game": style}
        of |= {"prior": style._replace(asked=self.categories, one_hot=True)}
        build.parts(self, code, of=of, without=() if self.two_phases else ("image_critic", "image_game"))
        check_adversarial(self)

    def phases(self) -> tuple[Phase, ...]:
        """The AAE phase, and those that the settings ask for."""
        first = (Phase("reconstruct", self.reconstruct_images),) if self.config.alternate else ()
        sort = (Phase("sort", self.sort),) if self.config.sorts.on else ()
        improve = (Phase("improve_prior", self.improve_prior),) if self.two_phases else ()
        return (*first, Phase("regularise", self.regularise), *sort, *improve)

    def reconstruct_images(self, batch: Batch) -> Objectives:
        """The reconstruction phase, where it is apart from the AAE phase."""
        logits, z = self.codes(batch.x, draw=True)
        rec = self.reconstruction_error(batch.x, logits.softmax(1), z)
        return Objectives(dict.fromkeys(("encoder", "decoder"), self.config.rec_weight * rec), {"reconstruction": rec})

    def sort(self, batch: Batch) -> Objectives:
        """The phase of `sorts`: images and moved images get the same categories, and all categories are used."""
        return Objectives(*self.config.sorts.losses(batch.x, lambda x: self.codes(x)[0], batch.step))

    def regularise(self, batch: Batch) -> Objectives:
        """The AAE phase: categories and styles are matched to their priors, and images reconstructed if not before."""
        no_condition, weights, joint = batch.x.new_zeros(len(batch.x), 0), self.config, not self.config.alternate
        logits, z = self.codes(batch.x, draw=True)
        y = logits.softmax(1)
        with torch.no_grad():
            y_p = self.draw_categories(y)
            z_p = self.prior.sample(y_p)
        rec = self.reconstruction_error(batch.x, y, z) if joint else torch.zeros_like(logits[0, 0])  # L_rec
        category_critic, style_critic = remember(self.category_critic), remember(self.style_critic)
        fool_y = self.category_game.generator_loss(category_critic, (y_p, no_condition), (y, no_condition))
        fool_z = self.style_game.generator_loss(style_critic, (z_p, no_condition), (z, no_condition))
        # The games do not depend on the decoder, so one loss and one backward pass serve both.
        autoencoder = weights.rec_weight * rec + weights.category_weight * fool_y + weights.style_weight * fool_z
        judge_y = self.category_game.critic_loss(category_critic, (y_p, no_condition), (y, no_condition))
        judge_z = self.style_game.critic_loss(style_critic, (z_p, no_condition), (z, no_condition))
        losses = {"category_critic": judge_y, "style_critic": judge_z, "encoder": autoencoder}
        note = {"fool_category": fool_y, "fool_style": fool_z}
        if joint:
            losses, note = losses | {"decoder": autoencoder}, {"reconstruction": rec} | note
        return Objectives(losses, note)

    def improve_prior(self, batch: Batch) -> Objectives:
        """The prior-improvement phase: images decoded from random categories and styles are matched to real ones."""
        real, *fakes = real_and_fakes(self, batch.x)  # x; x_new, x_rec
        critic, trained = remember(self.image_critic), self.config.improves.modules
        losses = {"image_critic": self.image_game.critic_loss(critic, real, *fakes)}
        if trained:
            losses |= dict.fromkeys(trained, self.image_game.generator_loss(critic, real, *fakes))
        return Objectives(losses)
