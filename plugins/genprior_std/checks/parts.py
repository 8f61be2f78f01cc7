"""Checks of parts that models share: each refuses, when the model is built, what the model could not train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genprior import (
    AutoregressiveDecoder,
    Batch,
    CategoricalPosterior,
    DataInfo,
    Game,
    Model,
    PlanError,
    Prior,
    Reconstruction,
)

__all__ = [
    "check_adversarial",
    "check_category_and_style",
    "check_classes",
    "check_enough_images",
    "check_first_numbers",
    "check_fixed",
    "check_learns",
    "check_plain",
]


def check_plain(model: str, role: str, game: Game) -> None:
    """Refuse a game whose parameters or state no phase of the model would move.

    Raises:
        PlanError: it has parameters or a state of its own.
    """
    if any(True for _ in game.parameters()) or any(True for _ in game.buffers()):
        raise PlanError(
            f"model '{model}' moves networks alone, and {role} '{game.name}' has parameters or a state of its own. "
            "Use 'nonsaturating', 'minimax', 'least_squares', 'hinge' or 'wasserstein_gp', or model 'gan'"
        )


def check_fixed(model: str, reconstruction: Reconstruction) -> None:
    """Refuse an error of reconstructions that learns, in a model without a likelihood that could teach it.

    Raises:
        PlanError: it has parameters.
    """
    if any(True for _ in reconstruction.parameters()):
        raise PlanError(
            f"reconstruction '{reconstruction.name}' learns how wide its density is, which only a bound of a "
            f"likelihood can teach it; model '{model}' has none. Set its variance (or learned) to \"fixed\", "
            "or use model 'vae'"
        )


def check_learns(prior: Prior) -> None:
    """Refuse to improve a prior that has nothing to learn.

    Raises:
        PlanError: it has no parameters.
    """
    if not any(True for _ in prior.parameters()):
        raise PlanError(
            f"improves.prior = true asks for a prior that can be trained; '{prior.name}' has no parameters. "
            'Use prior = { name = "code_generator" }, or leave improves.prior out.'
        )


def check_first_numbers(model: str, encoder: Any) -> None:
    """Refuse an encoder whose softmax is over the whole code, in a model whose category is the first numbers of it.

    Args:
        model: whose encoder it is, for the message.
        encoder: the encoder's settings.

    Raises:
        PlanError: its codes are soft categories.
    """
    if issubclass(encoder.part.posterior_of(encoder), CategoricalPosterior):
        raise PlanError(
            f"model '{model}' takes the softmax of the first K numbers of its code alone, and encoder "
            f"'{encoder.name}' takes that of all. Set posterior = \"point\" in the encoder's table"
        )


def check_category_and_style(model: str, config: Any) -> None:
    """Refuse parts that cannot be of an autoencoder whose code is a category and a style.

    Args:
        model: whose parts they are, for the message.
        config: the model's settings.

    Raises:
        PlanError: an encoder that has a softmax, a decoder that draws pixels, or a prior that borrows a module.
    """
    check_first_numbers(model, config.encoder)
    if issubclass(config.decoder.part, AutoregressiveDecoder):
        raise PlanError(
            f"model '{model}' descends the error of decoded images, and decoder '{config.decoder.name}' draws "
            "its pixels, which no gradient passes. Use a decoder such as 'mlp' or 'residual'"
        )
    if config.prior.part.borrows:
        raise PlanError(
            f"model '{model}' has a prior of the style alone, and prior '{config.prior.name}' borrows "
            f"{', '.join(config.prior.part.borrows)}, whose codes hold the category too. "
            "Use a prior that borrows nothing, such as 'gaussian' or 'code_generator'"
        )


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


def check_adversarial(model: Model) -> None:
    """Refuse parts that no phase of an adversarial autoencoder would teach, or that it would teach nothing.

    Args:
        model: it has games, a reconstruction and the setting `improves`.

    Raises:
        PlanError: a game learns or has a state of its own, the reconstruction learns its width, or `improves.prior` is
            asked of a prior that has nothing to learn.
    """
    for role, module in model.named_children():
        if isinstance(module, Game):
            check_plain(model.name, role, module)
        elif isinstance(module, Reconstruction):
            check_fixed(model.name, module)
        elif isinstance(module, Prior) and model.config.improves.prior:
            check_learns(module)
