"""Captions of coloured digits: wordings with the words of an image's attributes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["DIGIT_WORDS", "SLANT_WORDS", "THICKNESS_WORDS", "WORDINGS", "write_captions"]

DIGIT_WORDS = tuple(
    (word, str(digit))
    for digit, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
)
"""The words of each digit; one of them is drawn for each caption, as it is for the other attributes."""
THICKNESS_WORDS = (("thin", "fine"), ("thick", "bold"))
"""The words of a thin and of a thick line."""
SLANT_WORDS = (("upright", "straight"), ("slanted", "leaning"))
"""The words of an upright and of a slanted digit."""

WORDINGS = (
    "a {thickness} {slant} {ink} {digit} on {background}",
    "the digit {digit} in {ink} ink on a {background} background{traits}",
    "a {slant} {thickness} {ink} {digit} over a {background} ground",
    "{ink} {digit} on {background}{traits}",
    "on a {background} background, a {thickness} {slant} {ink} {digit}",
    "the number {digit}{traits}, written in {ink} on {background}",
    "a {background} picture with a {slant} {ink} {digit}{strokes}",
    "a {ink} handwritten {digit}{strokes} against {background}{lean}",
)
"""Each names digit, ink and background, and thickness and slant where an image has them."""

_SEED = 778
_SYNONYMS = 2


def write_captions(
    values: Sequence[tuple[int, int, int, int, int]], colours: Sequence[str], *, each: int, place: int
) -> tuple[tuple[str, ...], ...]:
    """Write captions with different wordings for each image, drawn under a fixed seed.

    The draw of an image does not depend on how many captions are written: fewer of them are the first ones of more.

    Args:
        values: digit, ink, background, thickness and slant of each image; thickness and slant are -1 where captions
            leave them out.
        colours: the words of the colours.
        each: captions of an image, at most as many as there are wordings.
        place: tells the splits of a set apart.
    """
    draw = np.random.RandomState([_SEED, place])
    order = draw.random_sample((len(values), len(WORDINGS))).argsort(1).tolist()
    synonyms = draw.randint(0, _SYNONYMS, size=(len(values), len(WORDINGS), 3)).tolist()
    captions = []
    for (digit, ink, background, thick, slanted), wordings, choices in zip(values, order, synonyms, strict=True):
        captions.append(
            tuple(
                _caption(
                    WORDINGS[wording],
                    digit=DIGIT_WORDS[digit][choice[0]],
                    ink=colours[ink],
                    background=colours[background],
                    thickness=THICKNESS_WORDS[thick][choice[1]] if thick >= 0 else "",
                    slant=SLANT_WORDS[slanted][choice[2]] if slanted >= 0 else "",
                )
                for wording, choice in zip(wordings[:each], choices, strict=False)
            )
        )
    return tuple(captions)


def _caption(wording: str, *, digit: str, ink: str, background: str, thickness: str, slant: str) -> str:
    traits = " and ".join(word for word in (slant, thickness) if word)
    text = wording.format(
        digit=digit,
        ink=ink,
        background=background,
        thickness=thickness,
        slant=slant,
        traits=f", {traits}" if traits else "",
        strokes=f" in {thickness} strokes" if thickness else "",
        lean=f", {slant}" if slant else "",
    )
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split()))
