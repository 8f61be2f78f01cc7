"""Figure 15: images of one sentence whose colour is replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field

from genprior import (
    Attribute,
    DataError,
    Drawing,
    Figure,
    ImageSet,
    PartConfig,
    RecipeRows,
    Tiles,
    TrainedRun,
    tile_panels,
)
from genprior_std.figures.arrays import arrays_of, stack_of

__all__ = ["ColourSweep"]

PLACE = "{}"
"""Where a word is put into a sentence."""
COLOURS = ("pink", "red", "yellow", "orange", "purple", "blue", "white", "green", "black")
"""The colours of the paper's figure; its flowers are never green or black."""


def _with_place(sentence: str) -> str:
    if sentence.count(PLACE) != 1:
        raise ValueError(f"'{sentence}' needs {PLACE} once, where the words are put, as in 'a {PLACE} flower'")
    return sentence


class ColourSweep(Figure):
    """Images of one sentence whose colour is replaced (columns) under the same noise (rows), fixed and learned prior.

    Arrays: `images` uint8 [runs, sentences, noises, words, h, w, c], `sentences` [sentences], `words` [words].

    "Learning priors for adversarial autoencoders", journal version, figure 15, section 4.3.
    """

    name = "fig15_colours"
    recipes = (RecipeRows("recipes/fig15_colours.toml", ("fixed prior", "learned prior")),)

    class Config(PartConfig):
        """The sentence and its words."""

        text: tuple[Annotated[str, AfterValidator(_with_place)], ...] = ()
        """Sentences with {} where the words are put; by default the first held-out caption that has one of them."""
        words: tuple[str, ...] = ()
        """The words; by default the values of the data's attribute that has colours, or else the nine of the paper."""
        noises: int = Field(default=5, ge=1)
        """How many images of each sentence; the noise of a row is the same in all columns."""

    def draw(self, runs: Sequence[TrainedRun], seed: int) -> Drawing:
        """Draw the images of all words.

        Raises:
            PlanError: a model is not conditioned on text.
            DataError: no text is given, and no held-out caption has one of the words.
        """
        sentences, words = self._sentences_and_words(runs[0])
        drawn = [
            torch.stack([torch.stack([self._images(run, each, word, seed) for word in words], 1) for each in sentences])
            for run in runs
        ]
        images = stack_of(runs, drawn)
        panels = [
            Tiles(f"{run.label}: {sentence.replace(PLACE, '…')}", own[i])
            for i, sentence in enumerate(sentences)
            for run, own in zip(runs, images, strict=True)
        ]
        picture = tile_panels(panels, columns=words, across=min(2, len(runs)))
        return Drawing(picture, arrays_of(runs, images=images, sentences=sentences, words=words))

    def _images(self, run: TrainedRun, sentence: str, word: str, seed: int) -> torch.Tensor:
        return run.sample(self.config.noises, seed=seed, text=sentence.replace(PLACE, word))

    def _sentences_and_words(self, run: TrainedRun) -> tuple[list[str], list[str]]:
        """The sentences, each with one place for a word, and the words."""
        text, words = list(self.config.text), list(self.config.words)
        if text and words:
            return text, words
        held_out = run.images("test")
        attribute = _replaced(held_out, words)
        words = words or list(COLOURS if attribute is None else attribute.names)
        if not text:
            text = list(_places(held_out, words, attribute))[:1]
        if not text:
            sought = words if attribute is None else attribute.names
            raise DataError(
                f"figure '{self.name}' replaces a word of a held-out caption, and no caption of row '{run.label}' has "
                f"one of: {', '.join(sought)}. Give a sentence with {PLACE} in the place of the word, as in --text "
                f"'a {PLACE} flower', or other words with --set 'words=[\"...\"]'"
            )
        return text, words


def _replaced(images: ImageSet, words: Sequence[str]) -> Attribute | None:
    """The attribute whose word is replaced: the first that has most of the words, or else the first that has colours.

    Args:
        images: with their attributes.
        words: those that were given, of which none need be a value of an attribute; may be empty.

    Returns:
        None if no attribute has one of the words or several colours.
    """
    common = [len({*each.names} & {*words}) for each in images.attributes]
    if any(common):
        return images.attributes[common.index(max(common))]
    return next((each for each in images.attributes if len({*each.names} & {*COLOURS}) > 1), None)


def _places(images: ImageSet, words: Sequence[str], attribute: Attribute | None) -> Iterator[str]:
    """The held-out captions that have one of the words once, with {} in its place.

    Where the attribute is known, the word is the image's own value, so that 'a red seven on white' loses its red.
    """
    for i, captions in enumerate(images.captions):
        own = words
        if attribute is not None:
            value = int(attribute.values[i])
            own = [attribute.names[value]] if value >= 0 else []
        for caption in captions:
            for word in own:
                replaced, times = re.subn(rf"\b{re.escape(word)}\b", PLACE, caption)
                if times == 1 and replaced.count(PLACE) == 1:
                    yield replaced
