"""What the adversarial autoencoders share whose code is a category and a style."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from genprior import (
    AutoregressiveDecoder,
    Batch,
    Build,
    Condition,
    CriticSpec,
    DataInfo,
    DecoderSpec,
    EncoderSpec,
    GameSpec,
    Model,
    Objectives,
    PartConfig,
    Phase,
    PlanError,
    PriorSpec,
    ReconstructionSpec,
    Sizes,
    remember,
)
from genprior_std.models.aae import Improves
from genprior_std.models.checks import check_fixed, check_learns, check_plain

__all__ = ["CategoricalAutoencoder", "check_classes", "check_enough_images"]


class CategoricalAutoencoder(Model):
    """AAE whose encoder tells a category y, one of K, from a style z.

        y = softmax of the first K numbers of enc(x),  z = the d numbers after them,  x_rec = dec([y, z])

    Two critics draw the encoder's codes to p(y), uniform on the K one-hots, and to p(z). What the category critic sees
    of the encoder is the soft y itself: nothing is drawn or rounded.

    The papers' phases of reconstruction and regularisation are one here, as in model `aae`: the encoder descends the
    sum of both losses at the same parameters, with one forward and one backward pass, in place of one after the other.
    With a prior that learns, a phase of Algorithm 1 of the learned-priors paper follows, whose new images are
    dec([y, CG([y, noise])]) with y ~ p(y).

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, sections 5 to 7.
        Wang, Peng and Ko, Learning priors for adversarial autoencoders, 2020, Algorithm 1.
    """

    # Classes and clusters are read by the encoder, and a reconstruction should be made by networks of one average.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of an adversarial autoencoder with a category and a style."""

        code_size: int = Field(5, gt=0)
        """d, the width of the style z."""
        prior: PriorSpec
        """p(z), or p(z | y): it is asked with the one-hot of a category, which a `code_generator` sees."""
        encoder: EncoderSpec
        """The logits of q(y | x), K numbers, and the style, d numbers: a code of K + d, with no softmax of its own."""
        decoder: DecoderSpec
        """The image of a category and a style."""
        category_critic: CriticSpec
        """D_y, which tells one-hots of p(y) from the soft categories of images."""
        style_critic: CriticSpec
        """D_z, which tells codes of the prior from the styles of images."""
        image_critic: CriticSpec
        """D_I, which tells images from decoded codes; made only where something needs it."""
        reconstruction: ReconstructionSpec
        """L_rec."""
        category_game: GameSpec
        """The game of the category critic and the encoder."""
        style_game: GameSpec
        """The game of the style critic and the encoder."""
        image_game: GameSpec
        """The game of the image critic, a prior that learns and the decoder."""
        improves: Improves = Improves()
        """Whom the prior-improvement phase moves."""
        reconstruction_as_fake: bool = True
        """Whether D_I also judges reconstructions as fakes."""
        rec_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
        """Weight of L_rec in the step of the encoder and the decoder."""
        category_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight, in the encoder's step, of fooling the category critic."""
        style_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight, in the encoder's step, of fooling the style critic."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts; the image critic only if the reconstruction or `improves` needs it.

        Raises:
            PlanError: parts do not fit each other or the data.
        """
        super().__init__(config)
        self.categories = self.count_categories(config, info)
        self.make_autoencoder(config, info, build)
        self.make_games(config, info, build)

    def begin(self, draw: Callable[[int], Batch]) -> None:
        """Start from training images, of which there must be one for each category at least.

        Raises:
            PlanError: there are more categories than training images.
        """
        super().begin(draw)
        check_enough_images(self.name, self.categories, draw, None if self.supervised else "categories")

    @abstractmethod
    def count_categories(self, config: Any, info: DataInfo) -> int:
        """K, how many categories there are.

        Raises:
            PlanError: the data has not what the model needs.
        """

    @property
    def supervised(self) -> bool:
        """Whether the categories are the classes of the data, learnt from labels."""
        return False

    def representation_size(self, config: Any) -> int:
        """How many numbers the decoder sees."""
        return self.categories + int(config.code_size)

    def make_autoencoder(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the encoder, the decoder and the prior.

        Raises:
            PlanError: an encoder that has a softmax, a decoder that draws pixels, or a prior that borrows a module.
        """
        if getattr(config.encoder, "posterior", None) == "softmax":
            raise PlanError(
                f"model '{self.name}' takes the softmax of the first K numbers of its code alone, and encoder "
                f"'{config.encoder.name}' takes that of all. Set posterior = \"point\" in the encoder's table"
            )
        if issubclass(config.decoder.part, AutoregressiveDecoder):
            raise PlanError(
                f"model '{self.name}' descends the error of decoded images, and decoder '{config.decoder.name}' draws "
                "its pixels, which no gradient passes. Use a decoder such as 'mlp' or 'residual'"
            )
        if config.prior.part.borrows:
            raise PlanError(
                f"model '{self.name}' has a prior of the style alone, and prior '{config.prior.name}' borrows "
                f"{', '.join(config.prior.part.borrows)}, whose codes hold the category too. "
                "Use a prior that borrows nothing, such as 'gaussian' or 'code_generator'"
            )
        code = config.code_size
        self.encoder = build("encoder", config.encoder, Sizes(info.image, self.categories + code, 0, 0))
        self.decoder = build("decoder", config.decoder, Sizes(info.image, self.representation_size(config), 0, 0))
        self.prior = build("prior", config.prior, Sizes(info.image, code, 0, self.categories))

    def make_games(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the critics, their games and the reconstruction.

        Raises:
            PlanError: `improves.prior` is asked of a prior that has nothing to learn, a game learns or has a state of
                its own, or the reconstruction learns its width.
        """
        seen = Sizes(info.image, self.representation_size(config), 0, 0)
        self.category_critic = build("category_critic", config.category_critic, seen._replace(code=self.categories))
        self.style_critic = build("style_critic", config.style_critic, seen._replace(code=config.code_size))
        self.category_game = build("category_game", config.category_game, seen._replace(code=self.categories))
        self.style_game = build("style_game", config.style_game, seen._replace(code=config.code_size))
        check_plain(self.name, "category_game", self.category_game)
        check_plain(self.name, "style_game", self.style_game)
        improves = config.improves
        self.two_phases = improves.prior or improves.decoder or "image_critic" in config.reconstruction.part.borrows
        if self.two_phases:
            self.image_critic = build("image_critic", config.image_critic, seen)
            self.image_game = build("image_game", config.image_game, seen)
            check_plain(self.name, "image_game", self.image_game)
        self.reconstruction = build("reconstruction", config.reconstruction, seen)
        check_fixed(self.name, self.reconstruction)
        if improves.prior:
            check_learns(self.prior)

    def phases(self) -> tuple[Phase, ...]:
        """The AAE phase and, where there is an image critic, the prior's."""
        improve = (Phase("improve_prior", self.improve_prior),) if self.two_phases else ()
        return (Phase("regularise", self.regularise), *improve)

    def regularise(self, batch: Batch) -> Objectives:
        """The AAE phase: categories and styles are drawn to their priors, and images are reconstructed."""
        none = _nothing(batch.x)
        logits, z = self.codes(batch.x, draw=True)
        y = logits.softmax(1)
        with torch.no_grad():
            y_prior = self.draw_categories(y)
            z_prior = self.prior.sample(y_prior)
        rec = self.reconstruction(batch.x, self.decoder(self.representation(y, z), none), none).mean()  # L_rec
        category_critic, style_critic = remember(self.category_critic), remember(self.style_critic)
        fool_y = self.category_game.generator_loss(category_critic, (y, none))
        fool_z = self.style_game.generator_loss(style_critic, (z, none))
        weights = self.config
        # The games do not depend on the decoder, so one loss and one backward pass serve both.
        autoencoder = weights.rec_weight * rec + weights.category_weight * fool_y + weights.style_weight * fool_z
        return Objectives(
            {
                "category_critic": self.category_game.critic_loss(category_critic, (y_prior, none), (y, none)),
                "style_critic": self.style_game.critic_loss(style_critic, (z_prior, none), (z, none)),
                "encoder": autoencoder,
                "decoder": autoencoder,
            },
            note={"reconstruction": rec, "fool_category": fool_y, "fool_style": fool_z},
        )

    def improve_prior(self, batch: Batch) -> Objectives:
        """The prior-improvement phase: what the prior decodes to, in a category drawn, is drawn to the images."""
        none = _nothing(batch.x)
        improves = self.config.improves
        y_prior = self.draw_categories(batch.x)
        with torch.set_grad_enabled(improves.prior or improves.decoder):
            x_new = self.decoder(self.representation(y_prior, self.prior.sample(y_prior)), none)
        fakes = [(x_new, none)]
        if self.config.reconstruction_as_fake:
            with torch.no_grad():
                logits, z = self.codes(batch.x, draw=True)
                code = self.representation(logits.softmax(1), z)
            with torch.set_grad_enabled(improves.decoder):
                fakes.append((self.decoder(code, none), none))
        critic = remember(self.image_critic)
        losses = {"image_critic": self.image_game.critic_loss(critic, (batch.x, none), *fakes)}
        if improves.prior or improves.decoder:
            fool = self.image_game.generator_loss(critic, *fakes)  # -L_I
            losses |= {part: fool for part, on in improves if on}
        return Objectives(losses)

    def codes(self, x: Tensor, *, draw: bool = False) -> tuple[Tensor, Tensor]:
        """The logits of q(y | x), [n, K] in at least single precision, and the style, [n, d]: drawn, or its mean."""
        q = self.encoder(x, _nothing(x))
        logits = q.mean[:, : self.categories]
        z = (q.rsample() if draw else q.mean)[:, self.categories :]
        return logits.to(torch.promote_types(logits.dtype, torch.float32)), z

    def representation(self, y: Tensor, z: Tensor) -> Tensor:
        """What the decoder sees of a category y [n, K] and a style z [n, d]: [y, z], [n, K + d]."""
        return torch.cat([y, z], dim=1)

    def draw_categories(self, like: Tensor) -> Tensor:
        """One-hots [n, K] of categories drawn uniformly, one for each row of `like`, in its dtype if it is floating."""
        return self._one_hot(torch.randint(self.categories, (len(like),), device=like.device), like)

    def _one_hot(self, y: Tensor, like: Tensor) -> Tensor:
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        return functional.one_hot(y, self.categories).to(dtype)

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """A category for each row of `like`: drawn uniformly, or class y [n] where categories are classes.

        Nothing is told; what is asked is the category's one-hot, [n, K].

        Raises:
            PlanError: a class is asked for and categories are no classes, or it is not one of the data's.
        """
        if y is None:
            asked = self.draw_categories(like)
        elif not self.supervised:
            raise PlanError(
                f"model '{self.name}' finds its {self.categories} categories without labels, so none of them is a "
                "class that could be asked for. Sample without a class, or train model 'aae_semi_supervised'"
            )
        elif len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.categories:
            raise PlanError(
                f"model '{self.name}' was asked for classes from {int(y.min())} to {int(y.max())}; the data has "
                f"{self.categories}. Ask for classes from 0 to {self.categories - 1}"
            )
        else:
            asked = self._one_hot(y.long(), like)
        return Condition(known=asked[:, :0], asked=asked)

    def generate(self, condition: Condition) -> Tensor:
        """The image of the category that is asked for, [n, K], and of a style from the prior."""
        images: Tensor = self.decoder(
            self.representation(condition.asked, self.prior.sample(condition.asked)), condition.known
        )
        return images

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """The image of the soft category and the mean style of each image of the batch."""
        logits, z = self.codes(batch.x)
        images: Tensor = self.decoder(self.representation(logits.softmax(1), z), _nothing(batch.x))
        return images

    def encode(self, batch: Batch) -> Tensor | None:
        """The mean style z, [n, d]."""
        return self.codes(batch.x)[1]

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """Images of styles z [n, d] in the categories that the condition asks for."""
        images: Tensor = self.decoder(self.representation(condition.asked, z), condition.known)
        return images

    def clusters(self, batch: Batch) -> Tensor:
        """The soft category y = q(y | x), [n, K]."""
        return self.codes(batch.x)[0].softmax(1)

    def classify(self, batch: Batch) -> Tensor | None:
        """q(y | x) where categories are classes, [n, classes]; else None."""
        return self.clusters(batch) if self.supervised else None

    def cluster_heads(self) -> Tensor | None:
        """The image of each category with style z = 0: [K, c, h, w]."""
        like = next(self.decoder.parameters())
        y = torch.eye(self.categories, device=like.device, dtype=like.dtype)
        z = y.new_zeros(self.categories, self.config.code_size)
        images: Tensor = self.decoder(self.representation(y, z), y[:, :0])
        return images


def check_classes(model: str, info: DataInfo) -> int:
    """The number of classes of the data.

    Args:
        model: who learns from labels, for the message.
        info: what is known of the data.

    Raises:
        PlanError: there are fewer than two.
    """
    if len(info.classes) < 2:
        raise PlanError(
            f"model '{model}' learns classes from labels; this data set has {len(info.classes) or 'no'} "
            f"{'class' if info.classes else 'classes'}, and two are needed. Use model 'aae_clustering', which needs no "
            "labels, or a data set with labels"
        )
    return len(info.classes)


def check_enough_images(model: str, categories: int, draw: Callable[[int], Batch], setting: str | None) -> None:
    """Refuse more categories than there are training images, of which some would stay empty.

    Args:
        model: who sorts images, for the message.
        categories: K.
        draw: gives n different training images, as `Model.begin` has it.
        setting: what says K, for the message; None where the classes of the data do.

    Raises:
        PlanError: there are fewer than K training images.
    """
    try:
        draw(categories)
    except PlanError as error:
        asked = f"was asked for {setting} = {categories}" if setting else f"has {categories} categories, one a class"
        raise PlanError(
            f"model '{model}' {asked}, and each category needs an image of its own: {error}. "
            f"{f'Set {setting} to less, or use' if setting else 'Use'} a data set with more images"
        ) from error


def _nothing(x: Tensor) -> Tensor:
    """What is known of images x: nothing, [n, 0]."""
    return x.new_zeros(len(x), 0)
