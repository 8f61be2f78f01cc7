"""Fewer images than a split has are drawn over all of it, and the line of real images counts them."""

from __future__ import annotations

import pytest
import torch

from genprior.parts import ImageSet
from genprior.scoring.measure import columns_of, measure_all
from genprior.tables.columns import Entry, Measured, tabulate
from genprior_std.datasets.digits import Digits
from genprior_std.scores.bits_per_dim import BitsPerDimension
from genprior_std.scores.fid import FID, frechet_distance
from genprior_std.scores.memorisation import Memorisation
from genprior_std.scores.parzen import Parzen
from genprior_std.scores.precision_recall import PrecisionRecall


def sorted_by_class(split):
    """200 images of two classes, first all black ones, then all white ones, with little noise."""
    seed = {"train": 0, "validation": 1, "test": 2}[split]
    noise = torch.randint(20, (200, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(200) // 100
    return ImageSet(noise + (labels * 200).to(torch.uint8)[:, None, None, None], labels, ("black", "white"))


def dark(n):
    return sorted_by_class("train").images[:100].repeat(2, 1, 1, 1)[:n]


def chosen(rows, n):
    """n rows of a random order under the fixed seed."""
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(2020))[:n]]


def test_the_width_of_a_parzen_window_is_chosen_by_images_of_all_classes(make_context):
    """Samples of one class are far from half of the validation set, so the window is wide; its first 50 hide that."""
    found = measure_all(
        [Parzen(Parzen.Config(samples=50, validation=50))], make_context(load=sorted_by_class, sample=dark), ""
    )
    assert found["parzen_sigma"] > 0.4 and found["real_parzen_images"] == 50


@pytest.mark.parametrize(("samples", "expected"), [(40, 40), (200, 200), (300, 200)])
def test_real_images_are_as_many_as_samples(make_context, samples, expected):
    score = FID(FID.Config(samples=samples, extractor="random"))
    context = make_context(load=sorted_by_class, sample=lambda n: dark(200).repeat(2, 1, 1, 1)[:n])
    found = measure_all([score], context, "")
    extractor = score.extractor(context)
    test, train = (context.features(extractor, split).features for split in ("test", "train"))
    assert found["real_random_features_fid_images"] == expected
    assert found["real_random_features_fid"] == pytest.approx(frechet_distance(chosen(test, samples), train))


@pytest.mark.parametrize("part", [PrecisionRecall, Memorisation])
def test_each_column_with_a_line_of_real_images_says_how_many(make_context, part):
    score = part(part.Config(samples=60, extractor="random"))
    found = measure_all([score], make_context(load=sorted_by_class, sample=dark), "")
    for key in columns_of([score]):
        assert found[f"real_{key}_images"] == 60 and f"real_{key}" in found


def test_the_table_says_how_many_images_the_real_line_is_of():
    config = FID.Config(samples=60)
    values = {"fid": 3.0, "real_fid": 1.0, "real_fid_images": 50.0}
    made = tabulate("", [Entry("a", "a", 0, [Measured(config, {"name": "x"}, values)])])
    assert "Line 'real, held out': 50 images: FID." in made.footnote()
    old = tabulate("", [Entry("a", "a", 0, [Measured(config, {"name": "x"}, {"fid": 3.0, "real_fid": 1.0})])])
    assert "Line" not in old.footnote()


def test_bits_of_black_and_white_images_and_of_grey_ones_have_separate_columns():
    config, entries = BitsPerDimension.Config(), []
    for label, binarise in (("a", "none"), ("b", "static"), ("c", "dynamic")):
        data = Digits.Config(binarise=binarise, size=None).model_dump(mode="json")
        entries.append(Entry(label, label, 0, [Measured(config, data, {"bits_per_dim": 1.0})]))
    made = tabulate("", entries)
    keys = [[key for key in row.scores if key.startswith("bits_per_dim")] for row in made.rows]
    assert keys == [["bits_per_dim"], ["bits_per_dim@2"], ["bits_per_dim@3"]] and made.differences == {}
