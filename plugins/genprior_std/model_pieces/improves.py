"""The setting `improves`: which modules a model's prior-improvement phase trains."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Improves"]


class Improves(BaseModel):
    """Which modules the prior-improvement phase trains, beside the image critic."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    prior: bool = False
    """A: the image game trains the prior, a code generator."""
    decoder: bool = False
    """C: the image game trains the decoder too (paper, footnote 2)."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the modules that are trained, of `prior` and `decoder`."""
        return tuple(name for name, trained in self if trained)
