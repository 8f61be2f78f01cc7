"""Checks of parts that several models share: each raises a PlanError for parts that the model cannot train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genprior import (
    Batch,
    CategoricalPosterior,
    Critic,
    DataInfo,
    Game,
    Model,
    PlanError,
    Prior,
    Reconstruction,
)
from genprior_std.checks.autoencoders import check_decodes
from genprior_std.checks.trainable import learns

__all__ = [
    "check_adversarial",
    "check_category_and_style",
    "check_classes",
    "check_enough_images",
    "check_first_numbers",
    "check_fixed",
    "check_learns",
    "check_mismatched",
    "check_plain",
    "check_recognises",
    "check_sortable",
]


def check_plain(model: str, role: str, game: Game) -> None:
    """Refuse a game whose parameters or state no phase of the model would update.

    Raises:
        PlanError: it has parameters or a state of its own.
    """
    if learns(game) or any(True for _ in game.buffers()):
        raise PlanError(
            f"model '{model}' trains only networks, and {role} '{game.name}' has parameters or a state of its own. "
            "Use 'nonsaturating', 'minimax', 'least_squares', 'hinge' or 'wasserstein_gp', or model 'gan'"
        )


def check_fixed(model: str, reconstruction: Reconstruction) -> None:
    """Refuse a trainable reconstruction in a model without a likelihood bound to train it.

    Raises:
        PlanError: it has parameters.
    """
    if learns(reconstruction):
        raise PlanError(
            f"reconstruction '{reconstruction.name}' learns the width of its density, which only a "
            f"likelihood bound can train; model '{model}' has none. Set its variance (or learned) to \"fixed\", "
            "or use model 'vae'"
        )


def check_learns(prior: Prior) -> None:
    """Refuse to improve a prior without parameters.

    Raises:
        PlanError: it has no parameters.
    """
    if not learns(prior):
        raise PlanError(
            f"improves.prior = true asks for a prior that can be trained; '{prior.name}' has no parameters. "
            'Use prior = { name = "code_generator" }, or set improves.prior = false'
        )


def check_first_numbers(model: str, encoder: Any) -> None:
    """Refuse an encoder with a softmax over the whole code, in a model whose category is only the first numbers of it.

    Args:
        model: the model's name, for the message.
        encoder: the encoder's settings.

    Raises:
        PlanError: its codes are soft categories.
    """
    if issubclass(encoder.part.posterior_of(encoder), CategoricalPosterior):
        raise PlanError(
            f"model '{model}' takes the softmax of the first K numbers of its code alone, and encoder "
            f"'{encoder.name}' takes it of the whole code. Set posterior = \"point\" in the encoder's table"
        )


def check_category_and_style(model: str, config: Any) -> None:
    """Refuse parts that do not fit an autoencoder whose code is a category and a style.

    Args:
        model: the model's name, for the message.
        config: the model's settings.

    Raises:
        PlanError: an encoder that has a softmax, a decoder that draws pixels, or a prior that borrows a module.
    """
    check_first_numbers(model, config.encoder)
    check_decodes(model, config.decoder)
    if borrowed := config.prior.part.borrows_of(config.prior):
        raise PlanError(
            f"model '{model}' has a prior of only the style, and prior '{config.prior.name}' borrows "
            f"{', '.join(borrowed)}, whose codes hold the category too. "
            "Use a prior that borrows nothing, such as 'gaussian' or 'code_generator'"
        )


def check_classes(model: str, info: DataInfo) -> int:
    """The number of classes of the data.

    Args:
        model: the model's name, for the message.
        info: the description of the data.

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
    """Refuse more categories than there are training images, since some would stay empty.

    Args:
        model: the model's name, for the message.
        categories: K.
        draw: gives n different training images, see `Model.begin`.
        setting: the setting that K comes from, for the message; None if K is the number of classes.

    Raises:
        PlanError: there are fewer than K training images.
    """
    try:
        draw(categories)
    except PlanError as error:
        of = f"{setting} = {categories}" if setting else f"{categories} categories, one for each class"
        raise PlanError(
            f"model '{model}' has {of}, and each category needs an image of its own: {error}. "
            f"{f'Set {setting} to less, or use' if setting else 'Use'} a data set with more images"
        ) from error


def check_adversarial(model: Model) -> None:
    """Refuse parts that the phases of an adversarial autoencoder cannot train.

    Args:
        model: it has games, a reconstruction and the setting `improves`.

    Raises:
        PlanError: a game has parameters or a state, the reconstruction learns its width, or `improves.prior` is set
            for a prior without parameters.
    """
    for role, module in model.named_children():
        if isinstance(module, Game):
            check_plain(model.name, role, module)
        elif isinstance(module, Reconstruction):
            check_fixed(model.name, module)
        elif role == "prior" and isinstance(module, Prior) and model.config.improves.prior:
            check_learns(module)


def check_mismatched(model: Model, known: int) -> None:
    """Refuse `mismatched_as_fake` where no image critic would tell an image with its own condition from another.

    Args:
        model: it has a conditioner.
        known: the width of `Condition.known`.

    Raises:
        PlanError: there is no condition, there is no image critic, or it does not see the condition.
    """
    asks = (
        f"model '{model.name}' has mismatched_as_fake = true, which shows the image critic real images with the "
        "condition of other images"
    )
    critic = model.part_for("image_critic")
    if not known:
        raise PlanError(
            f"{asks}; conditioner '{model.conditioner.name}' gives real images no condition. "
            "Use a conditioner that does, such as 'sentence' or 'label', or set mismatched_as_fake = false"
        )
    if not isinstance(critic, Critic):
        raise PlanError(
            f"{asks}; no other setting needs an image critic here, so there is none. "
            "Set improves.prior or improves.decoder = true, or mismatched_as_fake = false"
        )
    if not critic.sees_known(critic.config):
        raise PlanError(
            f"{asks}, and image critic '{critic.name}' does not see the condition. "
            "Set conditional = true in the table of image_critic, or mismatched_as_fake = false"
        )


def check_recognises(model: Model) -> None:
    """Refuse `info_from` of real images where there is no head Q, or where nothing says what it should read.

    Raises:
        PlanError: the conditioner does not recognise conditions of real images.
    """
    conditioner, source = model.conditioner, model.config.info_from
    if not conditioner.recognises:
        raise PlanError(
            f"model '{model.name}' has info_from = \"{source}\", so Q learns from real images; conditioner "
            f"'{conditioner.name}' has no Q that reads a condition that real images have. Use 'infogan' with "
            'supervised = true, or \'sentence\' with reads = "head", or set info_from = "new"'
        )


def check_sortable(model: str, config: Any) -> None:
    """Refuse `sorts` with a weight where codes are no categories.

    Args:
        model: the model's name, for the message.
        config: the model's settings, with `encoder` and `sorts`.

    Raises:
        PlanError: the encoder does not end in a softmax.
    """
    if config.sorts.on and not issubclass(config.encoder.part.posterior_of(config.encoder), CategoricalPosterior):
        raise PlanError(
            f"model '{model}' has a weight of sorts.consistency or sorts.information, losses of soft categories, and "
            f"encoder '{config.encoder.name}' gives other codes. Set posterior = \"softmax\" in the encoder's table "
            'and prior = "categorical", or leave sorts out'
        )
