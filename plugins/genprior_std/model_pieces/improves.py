"""The setting `improves`: whom the prior-improvement phase of a model moves."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Improves"]


class Improves(BaseModel):
    """Whom the prior-improvement phase moves, beside the image critic."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    prior: bool = False
    """A: the code generator descends the image game."""
    decoder: bool = False
    """C: the decoder descends it too (paper, footnote 2)."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the modules that are moved, of `prior` and `decoder`."""
        return tuple(name for name, moved in self if moved)
