"""The captioned digits: colours, words and left-out pairs are true, and the set has only one form."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from genprior import check_images
from genprior.errors import DataError
from genprior_std.datasets.captioned_digits import COLOURS, LEFT_OUT, PALETTE, CaptionedDigits
from genprior_std.datasets.digit_captions import WORDINGS
from genprior_std.datasets.digits import Digits
from genprior_std.strokes import slant, thickness

NUMBERS = "zero one two three four five six seven eight nine".split()
"""The words of captions, written again: the test reads them as a person would."""
DIGITS = {word: digit for digit, number in enumerate(NUMBERS) for word in (number, str(digit))}
THICKNESSES = {"thin": 0, "fine": 0, "thick": 1, "bold": 1}
SLANTS = {"upright": 0, "straight": 0, "slanted": 1, "leaning": 1}
FILLING = set("a an the on over against in with and ink background ground picture digit number strokes".split())
FILLING |= {"handwritten", "written"}


def captioned(split, **settings):
    return CaptionedDigits(CaptionedDigits.Config(**settings)).load(split)


@pytest.fixture(scope="module")
def train():
    return captioned("train")


@pytest.fixture(scope="module")
def test():
    return captioned("test")


@pytest.fixture(scope="module")
def scans():
    return Digits(Digits.Config()).load("train")


def values(images):
    return {attribute.name: attribute.values for attribute in images.attributes}


def pairs(images):
    """The pairs of digit and ink that occur."""
    known = values(images)
    return set(zip(known["digit"].tolist(), known["ink"].tolist(), strict=True))


def same(one, other):
    equal = torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
    attributes = zip(one.attributes, other.attributes, strict=True)
    return equal and one.captions == other.captions and all(torch.equal(a.values, b.values) for a, b in attributes)


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------


def test_form(train, test):
    for images, n in ((train, 1437), (test, 360)):
        assert images.images.shape == (4 * n, 3, 32, 32)
        assert check_images(images, "captioned_digits") is images
        assert images.classes == tuple("0123456789")
        assert torch.equal(images.labels, values(images)["digit"])
        assert {len(some) for some in images.captions} == {4}
        assert [each.name for each in images.attributes] == ["digit", "ink", "background", "thickness", "slant"]
    assert train.info.captioned


def test_settings():
    images = captioned("test", size=16, colourings=2, captions=3)
    assert images.images.shape == (720, 3, 16, 16)
    assert {len(some) for some in images.captions} == {3}
    for wrong in ({"colourings": 0}, {"colourings": 26}, {"captions": len(WORDINGS) + 1}, {"size": 0}):
        with pytest.raises(ValidationError):
            CaptionedDigits.Config(**wrong)


@pytest.mark.parametrize("split", ["train", "test"])
def test_scans_are_those_of_the_grey_digits(split):
    grey = Digits(Digits.Config()).load(split)
    coloured = captioned(split, colourings=2)
    known = values(coloured)
    assert torch.equal(coloured.labels, grey.labels.repeat(2))
    palette = torch.tensor([PALETTE[name] for name in COLOURS], dtype=torch.float64)
    ink, ground = (palette[known[name]][:, :, None, None] for name in ("ink", "background"))
    # The grey of a pixel is where its colour lies between the two: a projection onto the line that joins them.
    line = ink - ground
    found = 255 * ((coloured.images - ground) * line).sum(1) / line.square().sum(1)
    assert (found - grey.images[:, 0].repeat(2, 1, 1)).abs().max() < 1
    assert ((coloured.images - ground) - found[:, None] / 255 * line).abs().max() < 1


def test_extreme_colours_of_an_image_are_the_named_ones(train):
    """The colour of the emptiest and of the fullest place of a scan, by its nearest colour in the palette."""
    grey = Digits(Digits.Config()).load("train").images.flatten(1).repeat(4, 1)
    flat = train.images.flatten(2).double()
    palette = torch.tensor(list(PALETTE.values()), dtype=torch.float64)
    for name, place in (("background", grey.argmin(1)), ("ink", grey.argmax(1))):
        colour = flat.take_along_dim(place[:, None, None], 2)[:, :, 0]
        assert torch.equal(torch.cdist(colour, palette).argmin(1), values(train)[name])


def test_colours_are_far_apart():
    palette = torch.tensor(list(PALETTE.values()), dtype=torch.float64)
    assert torch.pdist(palette).min() > 150


# ---------------------------------------------------------------------------------------------------------------------
# Colours
# ---------------------------------------------------------------------------------------------------------------------


def test_training_lacks_one_ink_of_each_digit(train, test):
    left_out = set(enumerate(LEFT_OUT))
    every = {(digit, ink) for digit in range(10) for ink in range(len(COLOURS))}
    assert len(left_out) == 10
    assert set(LEFT_OUT) == set(range(len(COLOURS)))
    assert pairs(train) == every - left_out
    assert pairs(test) == every
    assert pairs(captioned("train", leave_out=False)) == every
    assert same(captioned("test", leave_out=False), test)


def test_every_pair_of_colourings_is_left_in_training():
    known = values(captioned("train", size=8, colourings=25, captions=1))
    one = torch.stack([known["ink"], known["background"]], 1)[::1437]
    assert len(set(map(tuple, one.tolist()))) == 25
    assert not (known["ink"] == torch.tensor(LEFT_OUT)[known["digit"]]).any()


def test_copies_of_a_scan_differ_in_colour(train):
    known = values(train)
    assert not (known["ink"] == known["background"]).any()
    both = (known["ink"] * len(COLOURS) + known["background"]).unflatten(0, (4, 1437)).sort(0).values
    assert (both.diff(dim=0) > 0).all()


def test_colours_are_uniform_and_independent_of_the_digit(test):
    """The seed is fixed; of such draws one in a thousand fails each of the three."""
    for images in (test, captioned("train", leave_out=False)):
        known = values(images.take(slice(len(images.images) // 4)))
        for name in ("ink", "background"):
            counts = np.zeros((10, len(COLOURS)))
            np.add.at(counts, (known["digit"].numpy(), known[name].numpy()), 1)
            assert stats.chisquare(counts.sum(0)).pvalue > 1e-3
            assert stats.chi2_contingency(counts).pvalue > 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# Captions
# ---------------------------------------------------------------------------------------------------------------------


def read(caption):
    """Digit, ink, background, thickness and slant of a caption, as a person reads it; -1 where it does not say."""
    words = re.findall(r"\w+", caption)
    (background,) = {
        colour
        for pattern in (r"\b(?:on|over|against) (?:an? )?(\w+)", r"(\w+) (?:background|ground|picture)\b")
        for colour in re.findall(pattern, caption)
    }
    colours = [word for word in words if word in COLOURS]
    (ink,) = [colour for colour in colours if colour != background]
    assert len(colours) == 2
    (digit,) = [DIGITS[word] for word in words if word in DIGITS]
    found = []
    for meanings in (THICKNESSES, SLANTS):
        said = [meanings[word] for word in words if word in meanings]
        assert len(said) <= 1
        found.append(said[0] if said else -1)
    assert set(words) <= FILLING | set(DIGITS) | set(THICKNESSES) | set(SLANTS) | set(COLOURS)
    return digit, COLOURS.index(ink), COLOURS.index(background), *found


@pytest.mark.parametrize("split", ["train", "test"])
def test_captions_say_the_attributes_and_nothing_else(split):
    images = captioned(split, size=8, captions=len(WORDINGS))
    truth = zip(*(attribute.values.tolist() for attribute in images.attributes), strict=True)
    for said, captions in zip(truth, images.captions, strict=True):
        assert {read(caption) for caption in captions} == {said}


def test_captions_are_well_formed(train):
    for caption in {caption for some in train.captions for caption in some}:
        assert not re.search(r"  |^ | $| ,|,$|\ba [aeiou]|\ban [^aeiou]|[{}]", caption), caption


def test_wordings_vary(train):
    assert len(WORDINGS) >= 6
    assert all(len(set(some)) == 4 for some in train.captions)
    words = {word for some in train.captions for caption in some for word in caption.split()}
    assert {*DIGITS, *THICKNESSES, *SLANTS} <= {word.strip(",") for word in words}


def test_fewer_captions_are_the_first_ones(test):
    fewer = captioned("test", captions=2)
    assert fewer.captions == tuple(some[:2] for some in test.captions)


# ---------------------------------------------------------------------------------------------------------------------
# Strokes
# ---------------------------------------------------------------------------------------------------------------------


def test_a_third_of_the_training_scans_is_thin_and_a_third_thick(train, scans):
    known = values(train)["thickness"][:1437]
    assert [(known == value).sum().item() for value in (0, -1, 1)] == [479, 479, 479]
    width = thickness(scans.images[:, 0].double() / 255)
    assert width[known == 0].max() < width[known == -1].min()
    assert width[known == -1].max() < width[known == 1].min()


def test_upright_is_the_third_that_leans_least_and_slanted_leans_to_the_right(train, scans):
    known = values(train)["slant"][:1437]
    angle = slant(scans.images[:, 0].double() / 255)
    lean = angle.clone()
    for digit in range(10):
        lean[scans.labels == digit] -= np.sort(angle[scans.labels == digit].numpy())[
            ((scans.labels == digit).sum().item() - 1) // 2
        ]
    assert (known == 0).sum() == 479
    assert lean[known == 0].abs().max() < lean[known != 0].abs().min()
    # The third that leans most, to whichever side, is slanted where that side is the right one.
    most = lean.abs().argsort()[-479:]
    assert set(most[lean[most] > 0].tolist()) == set((known == 1).nonzero()[:, 0].tolist())


def test_bounds_are_those_of_training(test, train, scans):
    """A test scan is thin exactly if it is thinner than the training scans that are not."""
    width = thickness(scans.images[:, 0].double() / 255)
    training = values(train)["thickness"][:1437]
    mine = thickness(Digits(Digits.Config()).load("test").images[:, 0].double() / 255)
    known = values(test)["thickness"][:360]
    assert mine[known == 0].max() < width[training == -1].min()
    assert mine[known == 1].min() > width[training == -1].max()
    assert mine[known == -1].min() > width[training == 0].max()


def test_strokes_do_not_depend_on_the_size(train):
    small = captioned("train", size=16)
    assert small.captions == train.captions


# ---------------------------------------------------------------------------------------------------------------------
# One form
# ---------------------------------------------------------------------------------------------------------------------


def test_the_set_has_one_form_whatever_the_generators_are(test):
    torch.manual_seed(123)
    np.random.seed(123)
    before = torch.get_rng_state()
    state = np.random.get_state()[1].tolist()
    assert same(captioned("test"), test)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == state


def test_the_draws_are_those_of_every_platform(train, test):
    """`RandomState` promises that its numbers stay the same."""
    assert train.captions[0][:2] == (
        "the digit 0 in white ink on a black background, thin",
        "on a black background, a fine white zero",
    )
    assert test.captions[0][:2] == (
        "an upright bold white one over a black ground",
        "the number one, straight and bold, written in white on black",
    )
    assert values(train)["ink"][:12].tolist() == [0, 1, 0, 4, 5, 2, 5, 1, 3, 3, 0, 2]
    assert values(test)["ink"][:12].tolist() == [0, 0, 1, 0, 4, 5, 1, 3, 0, 2, 0, 5]


def test_fewer_colourings_are_the_first_ones(test):
    assert torch.equal(captioned("test", colourings=1).images, test.images[:360])


def test_another_split_is_refused():
    with pytest.raises(
        DataError, match=r"data set 'captioned_digits' has no split 'validation'\. Possible: test, train"
    ):
        captioned("validation")
