"""Figure 14: images of sentences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field

from genprior import DataError, Drawing, Figure, PartConfig, RecipeRows, Tiles, TrainedRun, tile_panels
from genprior_std.figures.arrays import arrays_of, stack_of

__all__ = ["ImagesOfSentences"]


class ImagesOfSentences(Figure):
    """Images of sentences, one a row, under several noises, with a fixed and with a learned prior.

    Arrays: `images` uint8 [runs, sentences, noises, h, w, c], `sentences` [sentences].

    "Learning priors for adversarial autoencoders", journal version, figure 14, section 4.3.
    """

    name = "fig14_text"
    recipes = (RecipeRows("recipes/fig14_text.toml", ("fixed prior", "learned prior")),)

    class Config(PartConfig):
        """The sentences, and how many images of each."""

        text: tuple[str, ...] = ()
        """The sentences; by default captions of held-out images."""
        sentences: int = Field(default=6, ge=1)
        """How many held-out captions, if no text is given."""
        noises: int = Field(default=6, ge=1)
        """How many images of each sentence; the noise of a column is the same in all rows."""

    def draw(self, runs: Sequence[TrainedRun], seed: int) -> Drawing:
        """Draw the images of all sentences.

        Raises:
            PlanError: a model is not conditioned on text.
            DataError: no text is given, and the held-out images have no captions.
        """
        sentences = list(self.config.text) or self._held_out(runs[0])
        drawn = [
            torch.stack([run.sample(self.config.noises, seed=seed, text=sentence) for sentence in sentences])
            for run in runs
        ]
        images = stack_of(runs, drawn)
        panels = [Tiles(run.label, own) for run, own in zip(runs, images, strict=True)]
        picture = tile_panels(panels, rows=sentences, across=2)
        return Drawing(picture, arrays_of(runs, images=images, sentences=sentences))

    def _held_out(self, run: TrainedRun) -> list[str]:
        """The first captions of held-out images, each sentence once."""
        captions = dict.fromkeys(some[0] for some in run.images("test").captions)
        if not captions:
            raise DataError(
                f"figure '{self.name}' shows held-out captions, and the data of row '{run.label}' has none; give "
                "sentences with --text"
            )
        return list(captions)[: self.config.sentences]
