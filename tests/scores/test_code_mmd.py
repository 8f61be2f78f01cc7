"""The MMD of codes: against loops, against Gaussians in closed form, and what chance makes of it."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior.engine.sampling import evaluating
from genprior.errors import ScoreError
from genprior.parts import Codes, Draws, ImageSet, Inference, LikelihoodModel, Model
from genprior.scoring.context import SampleContext
from genprior_std.scores import code_mmd
from genprior_std.scores.code_mmd import CodeMMD, median_distance, permuted_mmd


def normal(n, width, seed, shift=0.0, scale=1.0):
    return shift + scale * torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(x, y, bandwidth):
    """The unbiased estimate, pair by pair."""

    def k(a, b):
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * bandwidth**2))

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 12), st.sampled_from([0.5, 2.0]))
@settings(max_examples=20, deadline=None)
def test_equal_to_the_definition_and_of_every_division(seed, n, m, bandwidth):
    x, y = normal(n, 2, seed), normal(m, 2, seed + 1, shift=0.5)
    torch.manual_seed(seed)
    found, null = permuted_mmd(x, y, bandwidth, 3)
    assert found == pytest.approx(by_definition(x, y, bandwidth), abs=1e-12)
    torch.manual_seed(seed)
    pooled, ranks = torch.cat([x, y]), torch.rand(3, n + m).argsort(1)
    expected = [by_definition(pooled[each < n], pooled[each >= n], bandwidth) for each in ranks]
    np.testing.assert_allclose(null, expected, atol=1e-12)


def expected_mmd(width, shift, scale, bandwidth):
    """The squared MMD of N(0, I) and N(shift, scale^2 I) under the Gaussian kernel, in closed form."""

    def mean_kernel(variance, distance):
        total = bandwidth**2 + variance
        return (bandwidth**2 / total) ** (width / 2) * math.exp(-width * distance**2 / (2 * total))

    return mean_kernel(2, 0) + mean_kernel(2 * scale**2, 0) - 2 * mean_kernel(1 + scale**2, shift)


@pytest.mark.parametrize(("width", "shift", "scale"), [(2, 0.0, 1.0), (2, 0.5, 1.0), (8, 0.0, 1.3), (8, 0.3, 0.7)])
def test_of_gaussians_it_is_the_closed_form(width, shift, scale):
    bandwidth, repeats = math.sqrt(width), 60
    found = [
        permuted_mmd(normal(150, width, seed), normal(200, width, 500 + seed, shift, scale), bandwidth, 2).mmd
        for seed in range(repeats)
    ]
    assert abs(np.mean(found) - expected_mmd(width, shift, scale, bandwidth)) < 4 * np.std(found) / math.sqrt(repeats)


def test_chance_gives_what_it_gives_two_halves_of_one_distribution():
    """The null's spread is the spread of the MMD of sets that really are of one distribution, and its mean is 0."""
    real = [permuted_mmd(normal(100, 3, s), normal(100, 3, 900 + s), 1.7, 2).mmd for s in range(200)]
    null = permuted_mmd(normal(100, 3, 1), normal(100, 3, 901), 1.7, 500).null
    assert float(null.std()) == pytest.approx(np.std(real), rel=0.3)
    assert abs(float(null.mean())) < 4 * float(null.std()) / math.sqrt(100)


def test_blocks_do_not_change_the_numbers(monkeypatch):
    x, y = normal(50, 3, 0), normal(40, 3, 1)
    torch.manual_seed(0)
    whole = permuted_mmd(x, y, 1.0, 5)
    monkeypatch.setattr(code_mmd, "ROWS", 7)
    torch.manual_seed(0)
    pieces = permuted_mmd(x, y, 1.0, 5)
    assert pieces.mmd == pytest.approx(whole.mmd, abs=1e-13)
    np.testing.assert_allclose(pieces.null, whole.null, atol=1e-13)


def test_the_bandwidth_is_the_median_distance():
    codes = normal(101, 3, 0)
    pairs = sorted(float((codes[i] - codes[j]).norm()) for i in range(101) for j in range(i))
    assert median_distance(codes) == pytest.approx(pairs[len(pairs) // 2], rel=1e-2)


class Drawn(Inference):
    """q(z | x) = N(x, 0.3^2) of the first two pixels; only the codes are of use."""

    mean = None

    def __init__(self, batch):
        self.mean = batch.x.flatten(1)[:, :2]

    def draw(self, samples):
        z = self.mean + 0.3 * torch.randn(samples, *self.mean.shape)
        return Draws(z, *z.new_zeros(3, samples, len(self.mean)))

    def log_posterior(self, z):
        raise NotImplementedError


class Encoded(Model):
    """Codes are the first two pixels; those of the prior are of N(shift, scale^2)."""

    name = "encoded"
    shift, scale, codes, prior_width = 0.0, 0.5, True, 2

    def __init__(self):
        super().__init__(self.Config())

    def phases(self):
        return ()

    def generate(self, condition):
        raise NotImplementedError

    def encode(self, batch):
        return batch.x.flatten(1)[:, :2] if self.codes else None

    def draw_codes(self, condition):
        if not self.prior_width:
            return None
        return self.shift + self.scale * torch.randn(len(condition.known), self.prior_width)


class Inferred(Encoded, LikelihoodModel):
    """The same, with codes drawn about the pixels."""

    name = "inferred"

    def infer(self, batch):
        return Drawn(batch)


class Posterior(Encoded):
    """The same, without densities."""

    name = "posterior"

    def draw_posterior(self, batch):
        return Codes(Drawn(batch).draw(1).z[0], batch.x.new_zeros(len(batch.x), 0))


@pytest.fixture
def measure(tmp_path):
    def measured(model, spread=1.0, n=400, **given):
        pixels = (normal(n, 4, 5) * spread * 127.5 / 4 + 127.5).round().clamp(0, 255).byte().view(n, 1, 2, 2)

        def load(split):
            return ImageSet(pixels, torch.zeros(n, dtype=torch.int64), ())

        @contextlib.contextmanager
        def trained():
            with evaluating(model):
                yield model

        context = SampleContext(lambda n: pixels[:n], load, device="cpu", seed=3, cache=tmp_path, trained=trained)
        return CodeMMD.Config(**given).make().measure(context)

    return measured


def of(model, **given):
    for name, value in given.items():
        setattr(model, name, value)
    return model


def test_a_prior_that_fits_is_within_chance_and_another_is_not(measure):
    """Codes of N(0, 1/16) under a prior of that spread, up to a shift; the kernel's bandwidth follows the spread."""
    fits, shifted = measure(of(Encoded(), scale=0.25)), measure(of(Encoded(), scale=0.25, shift=0.1))
    assert abs(fits["code_mmd_deviations"]) < 3 and shifted["code_mmd_deviations"] > 4
    assert shifted["code_mmd_images"] == 400 and fits["code_mmd_of_means"] == 1
    for found in (fits, shifted):
        expected = (found["code_mmd"] - found["code_mmd_null_mean"]) / found["code_mmd_null_std"]
        assert found["code_mmd_deviations"] == expected


def test_codes_are_drawn_where_the_model_draws_them(measure):
    """N(0, 0.4^2) in pixels and N(0, 0.3^2) about them are N(0, 0.5^2), as the prior; the means alone are not."""
    drawn, means = measure(Inferred(), spread=1.6), measure(Encoded(), spread=1.6)
    assert measure(Posterior(), spread=1.6) == drawn
    assert (drawn["code_mmd_of_means"], means["code_mmd_of_means"]) == (0, 1)
    assert drawn["code_mmd_deviations"] < 3 < means["code_mmd_deviations"]


def test_a_measurement_is_a_function_of_the_seed_alone(measure):
    first = measure(Inferred())
    torch.manual_seed(9)
    torch.rand(7)
    before = torch.get_rng_state()
    assert measure(Inferred()) == first and torch.equal(torch.get_rng_state(), before)


def test_at_most_so_many_images(measure):
    found = measure(Encoded(), images=50, permutations=20)
    assert found["code_mmd_images"] == 50 and found["code_mmd"] != measure(Encoded(), permutations=20)["code_mmd"]


ADVICE = "codes are compared of models that implement `encode` and `draw_codes`, such as 'vae' and 'aae'. Score its"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codes": False}, "has no encoder, so images have no codes"),
        ({"prior_width": 0}, "has no prior, so there are no new codes"),
        ({"prior_width": 3}, "encodes images as [2] numbers and draws codes of [3], which cannot be compared"),
    ],
)
def test_models_without_both_kinds_of_codes_are_refused(measure, changes, reason):
    with pytest.raises(ScoreError) as caught:
        measure(of(Encoded(), **changes))
    assert str(caught.value) == f"model 'encoded' {reason}; {ADVICE} images by 'fid'"


def test_one_image_and_equal_codes_are_refused(measure):
    with pytest.raises(ScoreError, match="compares the codes of at least 2 test images, and there is 1; use a larger"):
        measure(Encoded(), n=1)
    one = ImageSet(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ())
    with pytest.raises(ScoreError, match="at least 2 test images, and there is 1"):  # before training
        CodeMMD.Config().make().check_row(Encoded(), lambda split: one)

    class Constant(Encoded):
        def draw_codes(self, condition):
            return torch.zeros(len(condition.known), 2)

    with pytest.raises(ScoreError, match="more than half of all pairs of codes are equal, so the kernel has no"):
        measure(of(Constant(), encode=lambda batch: torch.zeros(len(batch.x), 2)))


class Equidistant(Encoded):
    """Codes of images are the first two unit vectors of R^4, those of the prior the other two: of equal distances."""

    def encode(self, batch):
        return torch.eye(4)[:2][torch.arange(len(batch.x)) % 2]

    def draw_codes(self, condition):
        return torch.eye(4)[2:][torch.arange(len(condition.known)) % 2]


def test_divisions_that_are_all_equal_leave_the_ratio_out(measure):
    column = CodeMMD.Config().make().columns[1]
    found = measure(Equidistant(), n=2, permutations=20)
    assert found["code_mmd_null_std"] == 0 and column.key not in found
    # One kernel value k for all pairs: k + k - 2 k.
    assert found["code_mmd"] == pytest.approx(0, abs=1e-15)
    assert column.absent == "all random divisions gave the same number"


def test_divisions_that_differ_have_a_ratio(measure):
    found = measure(Encoded(), n=2, permutations=20)  # four codes of different distances, in three divisions
    assert found["code_mmd_null_std"] > 0 and "code_mmd_deviations" in found


def test_deviations_have_no_direction_as_chance_is_no_better_than_chance():
    score = CodeMMD.Config().make()
    columns = {column.key: (column.title, column.higher_is_better) for column in score.columns}
    assert columns == {
        "code_mmd": ("MMD^2 of codes", False),
        "code_mmd_deviations": ("MMD^2 of codes: deviations from chance", None),
    }
    words = score.protocol(score.config.model_dump(mode="json"), "")
    assert words == ["at most 2,000 images", "200 permutations"]


def test_few_permutations_are_refused():
    """The deviation of 19 values is less certain than stated: 1 / sqrt(2 (n - 1)) of itself."""
    words = CodeMMD.Config.model_fields["permutations"].description
    assert f"of 20 its deviation is known to {100 / math.sqrt(2 * 19):.0f} %" in words
    with pytest.raises(ValueError, match="greater than or equal to 20"):
        CodeMMD.Config(permutations=19)
