"""Settings of early stopping, `[run.stop]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genprior.parts import ScoreSpec, SettingsTable

__all__ = ["StopConfig"]


class StopConfig(SettingsTable):
    """Early stopping: a score is measured on validation images, and the best checkpoint is what is scored."""

    score: ScoreSpec
    """The score, if there is to be early stopping; it reads validation images in place of test images."""
    column: str | None = None
    """Which of its columns counts; by default its only one, or the one of its name."""
    every: int = Field(gt=0)
    """Steps between measurements, if there is to be early stopping."""
    patience: int = Field(10, ge=1)
    """Training stops after so many measurements in a row without an improvement."""
    min_delta: float = Field(0.0, ge=0, allow_inf_nan=False)
    """By how much a measurement must be better than the last improvement, to be one."""
    images: Annotated[int, Field(ge=1, strict=True)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    """How many images of the validation split, or, below 1, which share of it, chosen under the seed; all if not
    given."""
