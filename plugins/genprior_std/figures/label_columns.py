"""Images of every label under the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from genprior import Drawing, Figure, Model, PartConfig, Tiles, TrainedRun, generate_labels, tile_panels
from genprior_std.figures.arrays import arrays_of, stack_of
from genprior_std.figures.labels import shared_labels

__all__ = ["LabelColumns"]


class LabelColumns(Figure):
    """A grid for each run: a column for each label or category, a row for each noise, which all columns share.

    Arrays: `images` uint8 [runs, noises, labels, h, w, c], `labels` [labels].
    """

    class Config(PartConfig):
        """The size of the grids."""

        noises: int = Field(default=10, ge=1)
        """How many rows of each grid."""

    def draw(self, runs: Sequence[TrainedRun], seed: int) -> Drawing:
        """Draw the grids of all runs, under one seed.

        Raises:
            PlanError: a model takes no labels, or the runs have different numbers of them.
            DataError: the runs have images of different sizes.
        """
        _, names = shared_labels(runs)
        grids = [_images_of_labels(run.model, len(names), self.config.noises, seed) for run in runs]
        images = stack_of(runs, grids)
        panels = [Tiles(run.label, own) for run, own in zip(runs, images, strict=True)]
        return Drawing(tile_panels(panels, columns=names), arrays_of(runs, images=images, labels=names))


def _images_of_labels(model: Model, labels: int, noises: int, seed: int) -> Tensor:
    """Images of each label under each noise, uint8 [noises, labels, c, h, w]; those of a `label_grid` of this seed."""
    every = [torch.full((noises,), label) for label in range(labels)]
    return torch.stack([generate_labels(model, y, seed=seed, stream="label_grid") for y in every], dim=1)
