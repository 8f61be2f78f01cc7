"""Checks of trainable parts for which a model has no loss, or not the right one."""

from __future__ import annotations

from genprior import Conditioner, PartConfig, PlanError, Prior
from genprior_std.checks.trainable import learns
from genprior_std.games.nonsaturating import NonSaturating

__all__ = ["check_cross_entropy", "check_knows_its_condition", "check_learns_nothing"]


def check_learns_nothing(model: str, prior: Prior) -> None:
    """Refuse a trainable prior in a model whose losses of images pass no gradient to codes.

    Raises:
        PlanError: it has parameters.
    """
    if learns(prior):
        raise PlanError(
            f"prior '{prior.name}' would not learn in model '{model}': its decoder draws pixels one by "
            "one, so that no gradient of an image game reaches the codes. Use a prior without parameters, such as "
            "'gaussian', 'mixture' or 'categorical', or model 'aae' with improves.prior = true"
        )


def check_knows_its_condition(model: str, conditioner: Conditioner) -> None:
    """Refuse a trainable conditioner in a model that has no loss for it.

    Raises:
        PlanError: it has parameters.
    """
    if learns(conditioner):
        raise PlanError(
            f"model '{model}' has no loss that trains a conditioner, and conditioner "
            f"'{conditioner.name}' has parameters. Use conditioner 'none' or 'label', or model 'aae'"
        )


def check_cross_entropy(model: str, game: PartConfig) -> None:
    """Refuse a gate in a game whose critic is not trained by cross-entropy.

    Raises:
        PlanError: the game trains its critic by another loss.
    """
    if not issubclass(game.part, NonSaturating):
        raise PlanError(
            f"model '{model}' with gate = true compares cross-entropies of the critic's logits with "
            f"gate_equilibrium; game '{game.name}' trains the critic by another loss. "
            "Use game 'nonsaturating' or 'minimax', or leave gate out"
        )
