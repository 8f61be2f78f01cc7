"""The numbers themselves, against NumPy, SciPy, closed forms, and torch-fidelity's own whole pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from genprior.errors import ScoreError
from genprior_std.scores.entropy import entropy_score, random_rows, score_samples_and_real
from genprior_std.scores.fid import FID, frechet_distance
from genprior_std.scores.inception_score import InceptionScore
from genprior_std.scores.kid import KID, kernel_distance
from genprior_std.scores.precision_recall import PrecisionRecall, neighbourhood_coverage


def rng(seed):
    return np.random.default_rng(seed)


def numpy_entropy_score(logits, splits, order):
    logits = logits[order]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        marginal = part.mean(0)
        scores.append(np.exp((part * np.log(part / marginal)).sum(1).mean()))
    return np.mean(scores), np.std(scores)


@pytest.mark.parametrize(("n", "splits"), [(500, 10), (503, 7), (40, 1)])
def test_entropy_score_is_the_formula(n, splits):
    logits = rng(0).normal(size=(n, 6)) * 2
    order = np.random.RandomState(2020).permutation(n)
    expected = numpy_entropy_score(logits, splits, order)
    assert entropy_score(torch.tensor(logits), splits) == pytest.approx(expected, abs=1e-6)


def test_uniform_predictions_score_one():
    assert entropy_score(torch.zeros(100, 7), 5) == pytest.approx((1.0, 0.0), abs=1e-12)


@given(classes=st.integers(2, 12), each=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_balanced_certain_predictions_score_the_number_of_classes(classes, each):
    logits = 60.0 * torch.eye(classes).repeat(each, 1)
    assert entropy_score(logits, 1)[0] == pytest.approx(classes, rel=1e-6)


@given(seed=st.integers(0, 1000), splits=st.integers(1, 5), scale=st.floats(0.1, 30))
@settings(max_examples=30, deadline=None)
def test_entropy_score_lies_between_one_and_the_number_of_classes(seed, splits, scale):
    mean, _ = entropy_score(torch.tensor(rng(seed).normal(size=(50, 4)) * scale), splits)
    assert 1 - 1e-9 <= mean <= 4 + 1e-9


def test_fewer_images_than_splits_are_refused():
    with pytest.raises(ScoreError, match="10 splits need at least 10 images, and there are 9; raise 'samples'"):
        entropy_score(torch.zeros(9, 3), 10)


def test_real_images_are_split_as_generated_ones_are(make_context, counting):
    # 120 samples in 6 splits of 20: the 60 real ones make 3 splits of 20.
    context = make_context()
    found = score_samples_and_real("s", context, counting, samples=120, splits=6)
    logits = context.features(counting, "test").logits.double().numpy()
    order = np.random.RandomState(2020).permutation(60)
    assert found["real_s"] == pytest.approx(numpy_entropy_score(logits, 3, order)[0], abs=1e-6)
    assert set(found) == {"s", "s_std", "real_s", "real_s_images"} and found["real_s_images"] == 60


def test_random_rows_are_distinct():
    rows = torch.arange(100)
    chosen = random_rows(rows, 30)
    assert len(chosen) == len(set(chosen.tolist())) == 30 and chosen.tolist() != list(range(30))
    assert torch.equal(random_rows(rows, 100), rows)
    assert torch.equal(random_rows(rows, 30), chosen)


def test_frechet_distance_equals_the_matrix_square_root():
    a = rng(1).normal(size=(300, 5)) @ rng(2).normal(size=(5, 5))
    b = rng(3).normal(size=(200, 5)) @ rng(4).normal(size=(5, 5)) + 0.5
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert frechet_distance(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_known_gaussians():
    # N(0, diag(1, 4)) and N((1, 2), diag(4, 1)): 5 + (1 - 2)^2 + (2 - 1)^2 = 7.
    # With n = 40,000 the distance's standard error is below 0.05 (delta method: the mean's part has 2 |mu| s / sqrt(n)
    # = 0.043, the variances' 0.02), so 0.25 is five of them: less than one seed in a million would fail.
    n = 40_000
    a = rng(5).normal(size=(n, 2)) * [1, 2]
    b = rng(6).normal(size=(n, 2)) * [2, 1] + [1, 2]
    assert frechet_distance(torch.tensor(a), torch.tensor(b)) == pytest.approx(7.0, abs=0.25)


def test_frechet_distance_to_itself_is_zero_and_a_shift_is_its_square():
    a = torch.tensor(rng(7).normal(size=(50, 3)))
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(a + torch.tensor([3.0, 0.0, 4.0]), a) == pytest.approx(25.0, rel=1e-6)


def test_frechet_distance_of_one_image_is_refused():
    with pytest.raises(ScoreError, match="at least 2 real images; there are 1"):
        frechet_distance(torch.zeros(5, 2), torch.zeros(1, 2))


def test_kernel_distance_is_the_unbiased_estimate():
    # Subsets as large as the sets: every subset is the whole set in some order, so the mean is exact and the spread 0.
    a, b = rng(8).normal(size=(40, 6)), rng(9).normal(size=(40, 6)) + 0.3

    def kernel(x, y):
        return (x @ y.T / 6 + 1) ** 3

    off = ~np.eye(40, dtype=bool)
    expected = kernel(a, a)[off].mean() + kernel(b, b)[off].mean() - 2 * kernel(a, b).mean()
    mean, spread = kernel_distance(torch.tensor(a), torch.tensor(b), subsets=3, subset_size=40)
    assert mean == pytest.approx(expected, rel=1e-9)
    assert spread == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("n", "m", "what"), [(9, 20, "generated"), (20, 9, "real")])
def test_fewer_images_than_a_subset_are_refused(n, m, what):
    with pytest.raises(ScoreError, match=f"subsets of 10 images, and there are 9 {what} ones; set 'subset_size' to 9"):
        kernel_distance(torch.zeros(n, 2), torch.zeros(m, 2), subsets=2, subset_size=10)


def numpy_coverage(points, centres, k):
    """The share of points within a centre's distance to its k-th neighbour."""
    between = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    radius = np.sort(between, axis=1)[:, k]
    return (np.linalg.norm(points[:, None] - centres[None], axis=2) <= radius).any(axis=1).mean()


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_coverages(k):
    # More rows than a block of the distance matrix holds, so blocks are put together too.
    generated, real = rng(10).normal(size=(1100, 3)) * 0.6, rng(11).normal(size=(400, 3))
    precision, recall = neighbourhood_coverage(torch.tensor(generated), torch.tensor(real), k)
    assert precision == pytest.approx(numpy_coverage(generated, real, k), abs=1e-6)
    assert recall == pytest.approx(numpy_coverage(real, generated, k), abs=1e-6)
    assert 0 < recall < precision < 1


def test_a_neighbourhood_needs_neighbours():
    with pytest.raises(ScoreError, match="neighbourhood of 3 need at least 4 images, and there are 3 real ones"):
        neighbourhood_coverage(torch.zeros(9, 2), torch.zeros(3, 2), 3)


def test_parts_equal_torch_fidelity_from_end_to_end(make_context, counting, seen_through):
    """calculate_metrics over the same images with the same extractor, registered as its users would."""

    class Registered(torch_fidelity.FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("logits", "features")

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, x):
            found = type(counting)()(x[:, :1].cpu())._asdict()
            return tuple(found[name].float() for name in self.features_list)

    class Images(torch.utils.data.Dataset):
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index].expand(3, -1, -1)

    torch_fidelity.register_feature_extractor("genprior-test-counting", Registered)
    context = seen_through(make_context())
    expected = torch_fidelity.calculate_metrics(
        input1=Images(context.generated(90)), input2=Images(context.real("train").images), cuda=False, batch_size=30,
        feature_extractor="genprior-test-counting", isc=True, fid=True, kid=True, prc=True, isc_splits=3,
        kid_subset_size=50, kid_subsets=4, cache=False, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    inception = InceptionScore(InceptionScore.Config(samples=90, splits=3)).measure(context)
    assert inception["inception_score"] == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert inception["inception_score_std"] == pytest.approx(expected["inception_score_std"], rel=1e-5)
    fid = FID(FID.Config(samples=90)).measure(context)
    assert fid["fid"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    kid = KID(KID.Config(samples=90, subset_size=50, subsets=4)).measure(context)
    assert kid["kid"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3, abs=1e-6)
    # 90 generated against 240 real: the part would take 90 of them, torch-fidelity takes all.
    coverage = neighbourhood_coverage(
        context.features(counting, "generated", 90).features, context.features(counting, "train").features, 3
    )
    assert coverage == pytest.approx((expected["precision"], expected["recall"]), abs=1e-6)


def test_classifier_numbers_bear_other_names(make_context, seen_through):
    context = seen_through(make_context())
    settings_ = {"extractor": "classifier", "samples": 60}
    found = {
        **FID(FID.Config(**settings_)).measure(context),
        **KID(KID.Config(**settings_, subset_size=60, subsets=2)).measure(context),
        **PrecisionRecall(PrecisionRecall.Config(**settings_)).measure(context),
    }
    assert set(found) == {
        "classifier_fid", "real_classifier_fid", "classifier_kid", "classifier_kid_std", "real_classifier_kid",
        "classifier_precision", "classifier_recall", "real_classifier_precision", "real_classifier_recall",
        "real_classifier_fid_images", "real_classifier_kid_images",
        "real_classifier_precision_images", "real_classifier_recall_images",
    }  # fmt: skip


def test_real_values_are_of_the_test_split_against_the_training_split(make_context, counting, seen_through):
    context = seen_through(make_context())
    train, test = (context.features(counting, split).features for split in ("train", "test"))
    generated = context.features(counting, "generated", 100).features
    found = FID(FID.Config(samples=100)).measure(context)
    assert found["real_fid"] == pytest.approx(frechet_distance(test, train))
    assert found["fid"] == pytest.approx(frechet_distance(generated, train))
    for reference, real in (("test", test), ("all", torch.cat([train, test]))):
        found = FID(FID.Config(samples=100, reference=reference)).measure(context)
        assert found == {"fid": pytest.approx(frechet_distance(generated, real))}


def test_a_test_split_smaller_than_a_subset_has_no_real_kid(make_context, seen_through):
    found = KID(KID.Config(samples=100, subset_size=100, subsets=2)).measure(seen_through(make_context()))
    assert set(found) == {"kid", "kid_std"}


def test_as_many_real_images_as_generated_ones_are_covered(make_context, counting, seen_through):
    context = seen_through(make_context())
    found = PrecisionRecall(PrecisionRecall.Config(samples=50, reference="all")).measure(context)
    generated = context.features(counting, "generated", 50).features.double().numpy()
    real = random_rows(context.features(counting, "all").features, 50).double().numpy()
    assert len(real) == 50
    assert found == {
        "precision": pytest.approx(numpy_coverage(generated, real, 3), abs=1e-6),
        "recall": pytest.approx(numpy_coverage(real, generated, 3), abs=1e-6),
    }


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        (FID, {"samples": 1}),
        (FID, {"extractor": "resnet"}),
        (FID, {"reference": "validation"}),
        (KID, {"subset_size": 1}),
        (PrecisionRecall, {"neighborhood": 0}),
        (InceptionScore, {"splits": 0}),
    ],
)
def test_settings_out_of_range_are_refused(part, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        part.Config(**wrong)


def test_weights_belong_to_inception():
    with pytest.raises(ValidationError, match="'weights' are those of the Inception network"):
        FID.Config(extractor="classifier", weights="inception.pth")
