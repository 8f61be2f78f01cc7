"""Images of every label under the same noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genprior import Drawing, Figure, Model, PartConfig, Tiles, TrainedRun, generate_labels, tile_panels
from genprior_std.figures.arrays import arrays_of, stack_of
from genprior_std.figures.labels import shared_labels

__all__ = ["LabelColumns"]


BLOCK = 10
"""Rows whose noise is drawn together, as a `label_grid` of so many rows draws it."""


class LabelColumns(Figure):
    """A grid for each run: a column for each label or category, a row for each noise, which all columns share.

    The columns are named by the classes of the data. Categories are called "category 0" and so on, and in a figure of
    categories a label is called "label" with its name, so that neither is taken for the other.

    Arrays: `images` uint8 [runs, noises, labels, h, w, c], `labels` [labels], `kind`, "label" or "category".
    """

    shows: ClassVar[Literal["label", "category"]] = "label"
    """What its columns are in the paper; other runs may be given."""

    class Config(PartConfig):
        """The size of the grids."""

        noises: int = Field(default=10, ge=1)
        """How many rows of each grid; fewer rows are the first ones of more."""

    def draw(self, runs: Sequence[TrainedRun], seed: int) -> Drawing:
        """Draw the grids of all runs, under one seed.

        Raises:
            PlanError: a model takes no labels, or the runs have different numbers of them.
            DataError: the runs have images of different sizes.
        """
        kind, names = shared_labels(runs)
        if kind == "label" != self.shows:
            names = [f"label {name.removeprefix('label ')}" for name in names]
        grids = [_images_of_labels(run.model, len(names), self.config.noises, seed) for run in runs]
        images = stack_of(runs, grids)
        panels = [Tiles(run.label, own) for run, own in zip(runs, images, strict=True)]
        return Drawing(tile_panels(panels, columns=names), arrays_of(runs, images=images, labels=names, kind=kind))


def _images_of_labels(model: Model, labels: int, noises: int, seed: int) -> Tensor:
    """Images of each label under each noise, uint8 [noises, labels, c, h, w].

    The noise is drawn in whole blocks, so that fewer rows are the first ones of more. The first block is a `label_grid`
    of this seed.
    """
    every = [torch.full((BLOCK,), label) for label in range(labels)]
    streams = ["label_grid", *(f"label_grid {block}" for block in range(1, math.ceil(noises / BLOCK)))]
    blocks = [
        torch.stack([generate_labels(model, y, seed=seed, stream=stream) for y in every], dim=1) for stream in streams
    ]
    return torch.cat(blocks)[:noises]
