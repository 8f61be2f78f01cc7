"""Games that are no more than two losses, which every model can play."""

from __future__ import annotations

from genprior import Game, PlanError

__all__ = ["check_plain"]


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
