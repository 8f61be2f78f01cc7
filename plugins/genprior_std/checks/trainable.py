"""Whether modules have parameters."""

from __future__ import annotations

from torch import nn

__all__ = ["learning", "learns"]


def learns(module: nn.Module) -> bool:
    """Whether a module has parameters."""
    return any(True for _ in module.parameters())


def learning(model: nn.Module, *roles: str) -> tuple[str, ...]:
    """The roles whose modules have parameters, in the order given."""
    return tuple(role for role in roles if learns(model.get_submodule(role)))
