"""Independent images in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from genprior import DataError, Model, PartConfig, TextExporter, draw_grid, generate

__all__ = ["Grid"]


class Grid(TextExporter):
    """A PNG of independent images, row by row, ten per row and two pixels apart as in the paper's figures."""

    name = "grid"
    suffixes = (".png",)

    class Config(PartConfig):
        """How wide the grid is."""

        columns: int = Field(default=10, gt=0)
        """How many images per row."""

    def write(
        self, model: Model, path: Any, *, n: int, seed: int, label: int | None, text: Sequence[str] | None = None
    ) -> None:
        """Write n images of `model`, all of class `label` if one is given, or described by sentences.

        Raises:
            DataError: n is less than 1.
            PlanError: a label or a sentence is given, and the model takes none.
        """
        if n < 1:
            raise DataError(f"{n} images were asked for; ask for at least 1")
        draw_grid(generate(model, n, seed=seed, label=label, text=text), path, columns=self.config.columns)
