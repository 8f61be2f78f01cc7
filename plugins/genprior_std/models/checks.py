"""Checks of parts that models share: each refuses, when the model is built, what the model could not train."""

from __future__ import annotations

from genprior import Game, PlanError, Prior, Reconstruction

__all__ = ["check_fixed", "check_learns", "check_plain"]


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
