"""Memorisation: against its definition in loops, and on samples of which some are copies of training images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior.errors import ScoreError
from genprior.parts import ImageSet
from genprior.scoring.context import SampleContext
from genprior_std.datasets.digits import Digits
from genprior_std.scores import memorisation
from genprior_std.scores.memorisation import Memorisation, authentic, nearest_rows
from genprior_std.scores.nearest_distance import NearestDistance


def normal(n, width, seed):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def digits():
    """Training and test images of the digits, uint8 [n, 1, 16, 16], in a random order."""
    splits = [Digits.Config(size=16).make().load(split).images for split in ("train", "test")]
    order = [torch.randperm(len(each), generator=torch.Generator().manual_seed(0)) for each in splits]
    return [images[places] for images, places in zip(splits, order, strict=True)]


@pytest.fixture
def measure(tmp_path):
    def measured(generated, train, test, **given):
        def load(split):
            images = train if split == "train" else test
            return ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ())

        context = SampleContext(lambda n: generated[:n], load, device="cpu", seed=0, cache=tmp_path)
        return Memorisation.Config(samples=len(generated), **given).make().measure(context)

    return measured


def by_definition(samples, train):
    """Distance to the nearest training point, and whether it exceeds that point's own to its nearest other one."""
    x, t = samples.double().numpy(), train.double().numpy()
    distances, shares = [], []
    for point in x:
        to_train = [np.linalg.norm(point - other) for other in t]
        i = int(np.argmin(to_train))
        own = min(np.linalg.norm(t[i] - t[j]) for j in range(len(t)) if j != i)
        distances.append(to_train[i])
        shares.append(to_train[i] > own)
    return distances, float(np.mean(shares))


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(2, 20), st.sampled_from([0, 0.1, 1.0]))
@settings(max_examples=30, deadline=None)
def test_equal_to_the_definition(seed, n, m, noise):
    train = normal(m, 3, seed)
    samples = train[torch.arange(n) % m] + noise * normal(n, 3, seed + 1)
    index, distance = nearest_rows(samples, train)
    distances, share = by_definition(samples, train)
    np.testing.assert_allclose(distance, distances, rtol=1e-12, atol=0)
    assert authentic(train, index, distance) == share


def test_a_copy_is_at_distance_0_and_a_row_is_not_its_own_neighbour():
    far = normal(40, 300, 0) + 1e4  # where |x|^2 - 2 x.y + |y|^2 alone would lose all digits
    index, distance = nearest_rows(far, far)
    assert torch.equal(index, torch.arange(40)) and (distance == 0).all()
    other, distance = nearest_rows(far, far, own=torch.arange(40))
    assert (other != torch.arange(40)).all() and (distance > 0).all()


def test_blocks_do_not_change_the_numbers(monkeypatch):
    x, y = normal(50, 3, 0), normal(40, 3, 1)
    whole = [nearest_rows(x, y), nearest_rows(y[5:], y, own=torch.arange(5, 40))]
    monkeypatch.setattr(memorisation, "ROWS", 7)
    monkeypatch.setattr(memorisation, "COLUMNS", 9)
    pieces = [nearest_rows(x, y), nearest_rows(y[5:], y, own=torch.arange(5, 40))]
    for one, other in zip(whole, pieces, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


@pytest.mark.parametrize(("extractor", "prefix"), [("pixels", "pixel_"), ("random", "random_features_")])
def test_copies_show_in_both_numbers(digits, measure, extractor, prefix):
    train, test = digits
    held_out, new = test[:150], test[150:330]
    ratio, share = f"{prefix}memorisation_ratio", f"{prefix}authenticity"
    found = measure(new, train, held_out, extractor=extractor)
    columns = [ratio, f"real_{ratio}", share, f"real_{share}"]
    assert set(found) == {*columns, f"real_{ratio}_images", f"real_{share}_images"}
    assert found[ratio] == pytest.approx(1, abs=0.15)
    assert found[share] == pytest.approx(found[f"real_{share}"], abs=0.12)
    copies = measure(train[:180], train, held_out, extractor=extractor)
    assert copies[ratio] == copies[share] == 0
    some = measure(torch.cat([train[:60], new[:120]]), train, held_out, extractor=extractor)
    assert some[share] == pytest.approx(found[share] * 2 / 3, abs=0.07) and 0 < some[ratio] < found[ratio]
    nearly = (train[:180].float() + 4 * torch.randn(180, 1, 16, 16, generator=torch.Generator().manual_seed(1))).clamp(
        0, 255
    )
    assert measure(nearly.byte(), train, held_out, extractor=extractor)[ratio] < 0.5


def test_held_out_images_as_samples_have_the_ratio_1(digits, measure):
    train, test = digits
    found = measure(test, train, test, extractor="pixels")
    assert found["pixel_memorisation_ratio"] == found["real_pixel_memorisation_ratio"] == 1
    assert found["pixel_authenticity"] == found["real_pixel_authenticity"] > 0.2


def test_without_held_out_images_there_is_no_ratio(digits, measure):
    train, test = digits
    undivided = Memorisation.Config(extractor="pixels").make().on_undivided()
    assert undivided.reference == "test"
    found = measure(train[:50], test, train[:300], extractor="pixels", reference="test")
    assert found == {"pixel_authenticity": 0}
    ratio, share = undivided.make().columns
    assert (
        ratio.absent == "it compares with held-out images, and there are none beside the reference" and not share.absent
    )


def test_the_columns_name_what_is_compared():
    titles = {e: [c.title for c in Memorisation.Config(extractor=e).make().columns] for e in ("pixels", "inception")}
    assert titles == {
        "pixels": ["distance to training images / held out (pixels)", "authenticity (pixels)"],
        "inception": ["distance to training images / held out", "authenticity"],
    }
    score = Memorisation.Config(extractor="pixels", samples=1000).make()
    assert score.protocol(score.config.model_dump(mode="json"), "pixels") == [
        "network pixels",
        "extractor pixels",
        "1,000 samples",
        "reference train",
    ]
    own = "Far from training images are new images and also noise, so read memorisation beside a score of quality."
    assert score.caveat == own
    assert Memorisation.Config().make().caveat == f"{NearestDistance.Config().make().caveat} {own}"


def test_what_cannot_be_compared_is_refused(digits, measure):
    train, test = digits
    with pytest.raises(ScoreError) as caught:
        measure(test[:20], train, train[:30], extractor="pixels")
    assert str(caught.value) == (
        "at least half of the held-out images are also training images, so their distance is 0 and nothing can be "
        'compared with it; remove duplicates, or set reference = "test" to have the authenticity alone'
    )
    with pytest.raises(ScoreError, match="the distance between training images, so it needs at least 2; there are 1"):
        measure(test[:20], train[:1], test[:9], extractor="pixels")
    with pytest.raises(ValueError, match="extractor is 'pixels', which has none; leave 'weights' out"):
        Memorisation.Config(extractor="pixels", weights="inception.pth")
