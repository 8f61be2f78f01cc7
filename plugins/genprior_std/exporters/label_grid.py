"""A grid of one label per column and one noise vector per row."""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field

from genprior import DataError, Exporter, Model, PartConfig, PlanError, draw_grid, generate_labels

__all__ = ["LabelGrid"]


class LabelGrid(Exporter):
    """A PNG with one label per column and one noise vector per row, the same for all labels.

    The name of its class stands above each column, where the data names classes.

    As in "Learning priors for adversarial autoencoders", figures of the supervised models: column = label s, row =
    noise z, two pixels apart.
    """

    name = "label_grid"
    suffixes = (".png",)
    by_label = True

    class Config(PartConfig):
        """Which labels are shown."""

        labels: int = Field(default=10, gt=0)
        """How many labels, from 0: the columns."""

    @classmethod
    def for_classes(cls, classes: int) -> PartConfig:
        """A column for each class; ten where the data has none."""
        return cls.Config(labels=classes) if classes else cls.Config()

    def write(self, model: Model, path: Any, *, n: int, seed: int, label: int | None) -> None:
        """Write full rows, until at least n images are shown.

        Raises:
            DataError: n is less than 1.
            PlanError: a label is given, or the model takes none.
        """
        if label is not None:
            raise PlanError(
                f"'label_grid' shows every label, and label {label} was requested; use 'grid' for one label"
            )
        if n < 1:
            raise DataError(f"{n} images were asked for; ask for at least 1")
        rows = math.ceil(n / self.config.labels)
        labels = torch.arange(self.config.labels)[:, None].expand(-1, rows)
        # The same seed and stream for all columns, so that a row has one noise.
        columns = [generate_labels(model, y, seed=seed, stream=self.name) for y in labels]
        names = self.class_names if len(self.class_names) == len(columns) else ()
        draw_grid(torch.stack(columns, dim=1).flatten(0, 1), path, columns=len(columns), names=names)
