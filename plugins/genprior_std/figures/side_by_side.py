"""Samples, or reconstructions, of several models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    DataError,
    Drawing,
    Figure,
    PartConfig,
    PlanError,
    Tiles,
    TrainedRun,
    as_batch,
    evaluating,
    seeded,
    tile_panels,
    to_uint8,
)
from genprior_std.figures.arrays import arrays_of, stack_of

__all__ = ["SideBySide"]


class SideBySide(Figure):
    """A square grid of images for each run, under its label.

    Arrays: `images` uint8 [runs, grid, grid, h, w, c].
    """

    class Config(PartConfig):
        """What the grids hold."""

        grid: int = Field(default=10, ge=1)
        """How many rows and columns of images for each run."""
        show: Literal["samples", "reconstructions"] = "samples"
        """Samples, or held-out images, each with its reconstruction on the right of it."""

    def draw(self, runs: Sequence[TrainedRun], seed: int) -> Drawing:
        """Draw the grids of all runs; samples of all have one seed.

        Raises:
            PlanError: reconstructions of a model without an encoder, or a grid that is too small for them.
            DataError: too few held-out images, or runs of different sizes.
        """
        grid: int = self.config.grid
        made = self._reconstructions if self.config.show == "reconstructions" else self._samples
        images = stack_of(runs, [made(run, grid, seed) for run in runs])
        what = ": images | reconstructions" if self.config.show == "reconstructions" else ""
        panels = [Tiles(f"{run.label}{what}", own) for run, own in zip(runs, images, strict=True)]
        return Drawing(tile_panels(panels), arrays_of(runs, images=images))

    def _samples(self, run: TrainedRun, grid: int, seed: int) -> Tensor:
        return _square(run.sample(grid * grid, seed=seed), grid)

    def _reconstructions(self, run: TrainedRun, grid: int, seed: int) -> Tensor:
        """Images in columns 0, 2, ..., and the reconstruction of each on the right of it."""
        if grid % 2:
            raise PlanError(
                f"figure '{self.name}' shows each image beside its reconstruction, and grid = {grid} is odd; set an "
                "even number, such as --set grid=10"
            )
        n, held_out = grid * grid // 2, run.images("test")
        if len(held_out.images) < n:
            raise DataError(
                f"figure '{self.name}' with grid = {grid} shows {n} held-out images, and the data of row "
                f"'{run.label}' has {len(held_out.images)}; set a smaller grid, such as --set grid=4"
            )
        some = held_out.take(slice(n))
        with evaluating(run.model), seeded(seed, "reconstruct"):
            x_rec = run.model.reconstruct(as_batch(run.model, some, next(run.model.parameters()).device))
        if x_rec is None:
            raise PlanError(
                f"row '{run.label}' has no encoder, so it has no reconstructions; use --set 'show=\"samples\"'"
            )
        pairs = torch.stack([some.images, to_uint8(x_rec).cpu()], dim=1)
        return _square(pairs.flatten(0, 1), grid)


def _square(images: Tensor, grid: int) -> Tensor:
    """Images [grid^2, c, h, w] as [grid, grid, c, h, w]."""
    return images.view(grid, grid, *images.shape[1:])
