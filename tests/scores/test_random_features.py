"""Scores of an untrained network: its features against NumPy, and what they show of images without labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from genprior.parts import ImageSet
from genprior.scoring.context import SampleContext
from genprior_std.datasets.digits import Digits
from genprior_std.scores.fid import FID
from genprior_std.scores.kid import KID
from genprior_std.scores.nearest_distance import NearestDistance
from genprior_std.scores.precision_recall import PrecisionRecall
from genprior_std.scores.random_features import RandomExtractor

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits uint8 [1797, 1, 16, 16] in a random order, and their labels."""
    splits = [Digits.Config(size=16).make().load(split) for split in ("train", "test")]
    images, labels = torch.cat([s.images for s in splits]), torch.cat([s.labels for s in splits])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], labels[order]


def without_labels(train, test):
    """A loader of unlabelled images."""

    def load(split):
        images = train if split == "train" else test
        return ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ())

    return load


@pytest.fixture
def measure(tmp_path):
    def measured(part, generated, train, test=None, **settings):
        context = SampleContext(
            lambda n: generated[:n],
            without_labels(train, train if test is None else test),
            device="cpu",
            seed=0,
            cache=tmp_path,
        )
        return part.Config(extractor="random", samples=len(generated), **settings).make().measure(context)

    return measured


def features(images):
    extractor = RandomExtractor(CPU)
    return torch.cat([extractor(part).features for part in torch.split(images, extractor.batch)]).double().numpy()


def by_hand(image):
    """The features of one RGB image of 8 x 8, float64 [c, h, w] in [-1, 1]: two layers, in loops of NumPy."""
    found = []
    for level in range(2):
        if level:
            c, h, w = image.shape
            image = image.reshape(c, h // 2, 2, w // 2, 2).mean((2, 4))
        channels = len(image)
        drawn = np.random.RandomState([2020, level, channels]).standard_normal(32 * (9 * channels + 1))
        drawn = (drawn * np.sqrt(2 / (9 * channels))).astype(np.float32).astype(float)
        bias, weights = drawn[:32], drawn[32:].reshape(32, channels, 3, 3)
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        image = np.einsum("ocij,chwij->ohw", weights, windows) + bias[:, None, None]
        image = np.where(image > 0, image, 0.2 * image)
        found.append(image.mean((1, 2)) if not level else image.reshape(32, 2, 2, 2, 2).mean((2, 4)).ravel())
    return np.concatenate(found)


def test_features_are_those_computed_by_hand():
    images = torch.randint(256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    expected = [by_hand(image.double().numpy() / 127.5 - 1) for image in images]
    np.testing.assert_allclose(features(images), expected, rtol=1e-4, atol=1e-5)


def test_weights_are_the_same_in_every_process():
    # Not of torch's generator, which another seed or version may change.
    torch.manual_seed(5)
    first = RandomExtractor(CPU)
    torch.rand(3)
    assert first.key == RandomExtractor(CPU).key and first.key.startswith("random-features-1-seed-2020-")


@pytest.mark.parametrize(
    ("shape", "width"),
    [((1, 28, 28), 224), ((3, 32, 32), 224), ((3, 64, 48), 256), ((1, 1, 1), 160), ((2, 9, 5), 160), ((4, 8, 8), 160)],
)
def test_any_size_and_number_of_channels(shape, width):
    images = torch.randint(256, (2, *shape), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    found = features(images)
    assert found.shape == (2, width) and np.isfinite(found).all()


def test_a_grey_image_has_the_features_of_its_copy_in_rgb(digits):
    grey = digits[0][:20]
    np.testing.assert_array_equal(features(grey), features(grey.expand(-1, 3, -1, -1).contiguous()))


def test_scores_equal_those_of_other_libraries(digits, measure):
    """Against scipy's matrix square root, sklearn's kernel and sklearn's neighbours on the same features."""
    real, generated = digits[0][:500], 255 - digits[0][500:900]
    x, y = features(generated), features(real)
    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(s_x @ s_y).real
    frechet = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s_x + s_y - 2 * root)
    assert measure(FID, generated, real)["random_features_fid"] == pytest.approx(frechet, rel=1e-4)
    k = 400
    draw = np.random.RandomState(2020)
    xs, ys = x[draw.choice(len(x), k, replace=False)], y[draw.choice(len(y), k, replace=False)]
    of = [polynomial_kernel(a, b, degree=3, gamma=None, coef0=1) for a, b in ((xs, xs), (ys, ys), (xs, ys))]
    mmd = sum((each.sum() - np.trace(each)) / (k * (k - 1)) for each in of[:2]) - 2 * of[2].mean()
    found = measure(KID, generated, real, subsets=1, subset_size=k)
    assert found["random_features_kid"] == pytest.approx(mmd, rel=1e-6)
    distances, _ = NearestNeighbors(n_neighbors=1).fit(y).kneighbors(x)
    nearest = distances.mean() / np.sqrt(x.shape[1])
    found = measure(NearestDistance, generated, real)
    assert found["random_features_nearest_distance"] == pytest.approx(nearest, rel=1e-6)


def test_the_same_images_are_at_distance_0(digits, measure):
    real = digits[0][:600]
    assert measure(FID, real, real)["random_features_fid"] == pytest.approx(0, abs=1e-6)
    assert measure(NearestDistance, real, real)["random_features_nearest_distance"] == 0


def test_two_halves_differ_as_little_as_other_halves_do(digits, measure):
    """KID is unbiased: between halves of one set it is 0 within 4 standard deviations over 20 other divisions."""
    y = torch.from_numpy(features(digits[0][:1200]))
    from genprior_std.scores.kid import kernel_distance

    null = []
    for seed in range(21):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        null.append(kernel_distance(y[order[:600]], y[order[600:]], 1, 600)[0])
    assert abs(null[0]) < 4 * np.std(null[1:]) and abs(np.mean(null)) < 4 * np.std(null) / np.sqrt(21)


def spoilt(images, labels, how, amount):
    """Images with noise, blurred, or only of the first classes."""
    if how == "noise":
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(3)) * 25 * amount
        return (images + noise).round().clamp(0, 255).to(torch.uint8)
    if how == "blur":
        size = 2 * amount + 1
        mean = torch.nn.functional.avg_pool2d(images.float(), size, 1, amount, count_include_pad=False)
        return mean.round().to(torch.uint8) if amount else images
    return images[labels < 10 - 3 * amount]


@pytest.mark.parametrize("how", ["noise", "blur", "dropped classes"])
@pytest.mark.parametrize(("part", "settings"), [(FID, {}), (KID, {"subsets": 10, "subset_size": 80})])
def test_distances_grow_with_what_is_wrong(digits, measure, part, settings, how):
    images, labels = digits
    real, generated = images[:900], [spoilt(images[900:], labels[900:], how, amount) for amount in range(4)]
    few = [each[:80] for each in generated]  # as many of each, as FID depends on it
    key = f"random_features_{part.name}"
    found = [measure(part, each, real, **settings)[key] for each in few]
    assert found == sorted(found) and found[3] > 1.5 * abs(found[0])


def test_nearest_distance_shows_copies_and_noise(digits, measure):
    train, test, noisy = digits[0][:900], digits[0][900:1300], spoilt(*digits, "noise", 2)[1300:]
    key = "random_features_nearest_distance"
    copies = torch.cat([train[:250], digits[0][1300:1550]])
    found = measure(NearestDistance, copies, train, test)
    assert found[key] == pytest.approx(found[f"real_{key}"] / 2, rel=0.1)  # half of them are copies
    found = measure(NearestDistance, noisy, train, test)
    assert found[key] > 1.2 * found[f"real_{key}"]


def test_nearest_distance_to_all_images_and_under_the_classifier(make_context):
    context = make_context()
    found = {
        reference: NearestDistance.Config(samples=30, reference=reference).make().measure(context)
        for reference in ("train", "test")
    }
    found["all"] = NearestDistance.Config(samples=30, reference="all").make().measure(context)
    key = "random_features_nearest_distance"
    assert found["all"].keys() == found["test"].keys() == {key}
    assert found["all"][key] < min(found["train"][key], found["test"][key])
    under_classifier = NearestDistance.Config(samples=30, extractor="classifier").make().measure(context)
    names = ("classifier_nearest_distance", "real_classifier_nearest_distance")
    assert under_classifier.keys() == {*names, f"{names[1]}_images"}


@pytest.mark.parametrize("part", [FID, KID, PrecisionRecall, NearestDistance])
def test_columns_and_protocol_name_the_features(part):
    score = part.Config(extractor="random", samples=1000).make()
    for column in score.columns:
        assert column.key.startswith("random_features_") and column.title.endswith(" (random features)")
    words = score.protocol(score.config.model_dump(mode="json"), "random-features-1-seed-2020-0")
    assert "untrained network of 3x3 convolutions, 32 channels, weights of seed 2020" in words[0]
    assert "network random-features-1-seed-2020-0" in words and "extractor random" in words
    assert score.caveat.startswith("Scores of random features are of a network that was never trained")


def test_features_of_real_images_are_cached(digits, measure, tmp_path, monkeypatch):
    first = measure(FID, digits[0][:100], digits[0][100:300])
    kept = list((tmp_path / "features").glob("random-features-1-*.safetensors"))
    assert len(kept) == 1  # train and test are the same images here
    called = []
    monkeypatch.setattr(RandomExtractor, "batch", 300)
    forward = RandomExtractor.__call__
    monkeypatch.setattr(RandomExtractor, "__call__", lambda self, x: called.append(len(x)) or forward(self, x))
    again = measure(FID, digits[0][:100], digits[0][100:300])
    assert called == [100] and again == pytest.approx(first, rel=1e-4)


def test_weights_of_inception_are_refused():
    with pytest.raises(ValueError, match="extractor is 'random', which has its own; leave 'weights' out"):
        FID.Config(extractor="random", weights="inception.pth")
