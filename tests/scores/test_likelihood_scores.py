"""NLL, ELBO and active units, on a linear Gaussian model whose densities are all known in closed form.

    z ~ N(0, I_2),   x | z ~ N(W z + b, s^2 I_6),   W^T W = a I:   x ~ N(b, W W^T + s^2 I),
    z | x ~ N(m(x), t^2 I),   t^2 = s^2 / (a + s^2),   m(x) = W^T (x - b) / (a + s^2)

The encoder is wrong on purpose: q(z | x) = N(m(x) + DELTA t, V t^2 I).
"""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import multivariate_normal, norm
from torch.distributions import Normal

from genprior.data.images import images_to_float
from genprior.engine.build import build_model
from genprior.engine.sampling import evaluating
from genprior.errors import ScoreError
from genprior.parts import DataInfo, Draws, ImageSet, Inference, LikelihoodModel, Model
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of, measure_all
from genprior_std.conditioners.none import NoCondition
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.pixel import Pixel
from genprior_std.scores.active_units import ActiveUnits
from genprior_std.scores.elbo import EvidenceLowerBound
from genprior_std.scores.likelihood import BLOCK, PIECE, log_sum_exp
from genprior_std.scores.nll import NegativeLogLikelihood

N, D, CODE = 120, 6, 2
S, A = 0.3, 0.5
T2 = S**2 / (A + S**2)
V, DELTA = 2.25, 0.5
W = math.sqrt(A) * np.linalg.qr(np.random.default_rng(0).normal(size=(D, CODE)))[0]
B = np.linspace(-0.2, 0.2, D)


class LinearInference(Inference):
    def __init__(self, model, batch):
        self.model = model
        self.x = batch.x.double().flatten(1)
        centre = (self.x - torch.tensor(B)) @ torch.tensor(W) / (A + S**2)
        self.q = Normal(centre + DELTA * math.sqrt(T2), math.sqrt(V * T2))

    @property
    def mean(self):
        return self.q.mean

    def draw(self, samples):
        self.model.drawn.append((samples, len(self.x)))
        z = self.q.sample((samples,))
        likelihood = Normal(z @ torch.tensor(W).T + torch.tensor(B), S).log_prob(self.x).sum(-1)
        return Draws(z, likelihood, Normal(0.0, 1.0).log_prob(z).sum(-1), self.q.log_prob(z).sum(-1))

    def log_posterior(self, z):
        return self.q.log_prob(z[:, None]).sum(-1)


class Linear(LikelihoodModel):
    name = "linear"

    def __init__(self, inference=LinearInference, normalised=True):
        super().__init__(self.Config())
        self.inference, self._normalised, self.drawn = inference, normalised, []

    @property
    def normalised(self):
        return self._normalised

    def phases(self):
        return ()

    def generate(self, condition):
        return torch.zeros(len(condition.known), 1, 2, 3)

    def infer(self, batch):
        return self.inference(self, batch)


class Dense(Linear):
    """The same, as a density of pixels in [-1, 1]."""

    density = True


class OnlyImages(Model):
    name = "only_images"
    phases = Linear.phases
    generate = Linear.generate


def held_out(n=N):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, CODE)) @ W.T + B + S * rng.normal(size=(n, D))
    images = torch.tensor(np.rint(127.5 * (x + 1)).clip(0, 255).astype(np.uint8)).view(n, 1, 2, 3)
    return ImageSet(images, torch.zeros(n, dtype=torch.int64), ())


@pytest.fixture
def context_of(tmp_path):
    def make(model, images=None, seed=0):
        images = images or held_out()

        @contextlib.contextmanager
        def trained():
            with evaluating(model):
                yield model

        return SampleContext(
            lambda n: pytest.fail("no image need be made"), lambda split: images,
            device="cpu", seed=seed, cache=tmp_path, trained=trained,
        )  # fmt: skip

    return make


def measured(score, context, **config):
    return score.Config(**config).make().measure(context)


def pixels(images=None):
    return images_to_float((images or held_out()).images).double().flatten(1).numpy()


def true_log_p():
    return multivariate_normal(B, W @ W.T + S**2 * np.eye(D)).logpdf(pixels())


def posterior_means():
    return (pixels() - B) @ W / (A + S**2)


# KL(q(z | x) || p(z | x)), of two coordinates: by how much the ELBO lies below log p(x).
GAP = CODE * 0.5 * (V + DELTA**2 - 1 - math.log(V))


# ---------------------------------------------------------------------------------------------------------------------
# NLL
# ---------------------------------------------------------------------------------------------------------------------


def test_nll_of_a_wrong_encoder_is_the_closed_form(context_of):
    # For u ~ N(0, 1) and q = N(DELTA, V), E_q[(p / q)^2] = V / sqrt(2 V - 1) exp(DELTA^2 / (2 V - 1)) = 1.29 for each
    # coordinate, so Var(w) / p(x)^2 = 0.67. Over 120 images of 5,000 draws the estimate has a bias of 7e-5 and a
    # standard error of sqrt(0.67 / 600,000) = 0.0011: 0.01 is nine of them.
    found = measured(NegativeLogLikelihood, context_of(Linear()))
    log_p = true_log_p()
    assert found["nll"] == pytest.approx(-log_p.mean(), abs=0.01)
    # Each image's own error of 0.012 nats disappears beside the spread over images.
    assert found["nll_standard_error"] == pytest.approx(log_p.std(ddof=1) / math.sqrt(N), rel=0.01)
    assert found["bits_per_dim"] == pytest.approx(found["nll"] / math.log(2) / D, rel=1e-12)


def test_nll_falls_towards_the_truth_as_draws_grow(context_of):
    # Eight seeds x 120 images. log w has the variance 2 (0.5 (V - 1)^2 + DELTA^2 V) = 2.7 at k = 1, so a mean's
    # standard error is at most 0.053 there, and by the delta method 0.013 at k = 5 and 0.004 at k = 50. The expected
    # excess is 0.69 at k = 1, about 0.1 at k = 5 and 0.007 at k = 50: every step is five standard errors or more, so
    # less than one set of seeds in a million would fail.
    excess = []
    for k in (1, 5, 50):
        found = [measured(NegativeLogLikelihood, context_of(Linear(), seed=s), importance_samples=k) for s in range(8)]
        excess.append(np.mean([f["nll"] for f in found]) + true_log_p().mean())
    assert excess[0] > excess[1] > excess[2] > -0.02
    assert excess[0] == pytest.approx(GAP, abs=5 * 0.053)


def test_one_draw_is_the_elbo(context_of):
    nll = measured(NegativeLogLikelihood, context_of(Linear()), importance_samples=1)
    elbo = measured(EvidenceLowerBound, context_of(Linear()), importance_samples=1)
    assert nll["nll"] == pytest.approx(-elbo["elbo"], rel=1e-12)
    assert nll["nll_standard_error"] == pytest.approx(elbo["elbo_standard_error"], rel=1e-9)


def test_an_exact_encoder_needs_one_draw(context_of):
    class Exact(LinearInference):
        def __init__(self, model, batch):
            super().__init__(model, batch)
            self.q = Normal(self.q.mean - DELTA * math.sqrt(T2), math.sqrt(T2))

    found = measured(NegativeLogLikelihood, context_of(Linear(Exact)), importance_samples=1)
    assert found["nll"] == pytest.approx(-true_log_p().mean(), rel=1e-10)


def test_memory_is_bounded_whatever_is_asked_for(context_of):
    model = Linear()
    measured(NegativeLogLikelihood, context_of(model), importance_samples=2 * PIECE + 3)
    assert model.drawn == [(PIECE, BLOCK), (PIECE, BLOCK), (3, BLOCK), (PIECE, 20), (PIECE, 20), (3, 20)]


@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(1, 59), max_size=6, unique=True), scale=st.floats(1, 3000))
@settings(max_examples=50, deadline=None)
def test_pieces_do_not_change_the_sum(seed, cuts, scale):
    rows = torch.tensor(np.random.default_rng(seed).normal(size=(60, 4)) * scale - 500)
    pieces = torch.tensor_split(rows, sorted(cuts))
    torch.testing.assert_close(log_sum_exp(pieces), rows.logsumexp(0), rtol=1e-12, atol=1e-9)


def test_weights_that_underflow_are_summed():
    pieces = [torch.full((2, 1), -5e4), torch.full((2, 1), -math.inf), torch.full((2, 1), -5e4)]
    assert log_sum_exp(pieces).item() == pytest.approx(-5e4 + math.log(4), rel=1e-12)


@pytest.mark.parametrize("score", [NegativeLogLikelihood, EvidenceLowerBound])
def test_scores_are_a_function_of_the_seed_alone(context_of, score):
    torch.manual_seed(1)
    first = measured(score, context_of(Linear()), importance_samples=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert measured(score, context_of(Linear()), importance_samples=3) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert measured(score, context_of(Linear(), seed=1), importance_samples=3) != first


def test_the_second_block_has_noise_of_its_own(context_of):
    """Twice the same hundred images in another order: the same noise would give the same estimate."""
    one = held_out(BLOCK)
    twice = one._replace(images=one.images.repeat(2, 1, 1, 1), labels=one.labels.repeat(2))
    single = measured(NegativeLogLikelihood, context_of(Linear(), one), importance_samples=1)
    double = measured(NegativeLogLikelihood, context_of(Linear(), twice), importance_samples=1)
    assert single["nll"] != pytest.approx(double["nll"], rel=1e-6)


def test_some_images_are_enough(context_of):
    found = measured(NegativeLogLikelihood, context_of(Linear()), importance_samples=2_000, images=40)
    # Forty of the 120, distinct: their mean lies within five of its standard errors, as for one seed in a million.
    assert abs(found["nll"] + true_log_p().mean()) < 5 * found["nll_standard_error"]
    assert found["nll_standard_error"] == pytest.approx(true_log_p().std() / math.sqrt(40), rel=0.5)
    one = measured(NegativeLogLikelihood, context_of(Linear()), importance_samples=2, images=1)
    assert set(one) == {"nll", "bits_per_dim"}


@pytest.mark.parametrize(("score", "field"), [(NegativeLogLikelihood, "importance_samples"), (ActiveUnits, "images")])
def test_nothing_to_draw_or_to_see_is_refused(score, field):
    with pytest.raises(ValidationError, match=rf"(?s){field}.*greater than or equal to 1.*input_value=0"):
        score.Config(**{field: 0})


SCORES = [NegativeLogLikelihood, EvidenceLowerBound, ActiveUnits]


@pytest.mark.parametrize("score", SCORES)
def test_a_model_without_densities_is_refused(context_of, score):
    context = context_of(OnlyImages(OnlyImages.Config()))
    with pytest.raises(ScoreError) as caught:
        measure_all([score.Config().make()], context, "AAE")
    assert str(caught.value) == (
        f"AAE: score '{score.name}': it needs p(x, z) and q(z | x), and model 'only_images' does not know these "
        "densities; models vae, iwae, hvae and ncrp_vae do. The images of any model can be scored with 'parzen' or "
        "'classifier_score'"
    )


def test_a_likelihood_up_to_a_constant_is_refused(context_of):
    with pytest.raises(ScoreError, match=r"model 'linear' is -log p\(x \| z\) only up to a constant .* Use reconst"):
        measured(NegativeLogLikelihood, context_of(Linear(normalised=False)))


# ---------------------------------------------------------------------------------------------------------------------
# Bits
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_bits_of_a_density_are_those_of_its_bytes(context_of, sigma):
    """A model of one Gaussian for each pixel: the 256 levels' probabilities are differences of its distribution."""
    flat = Normal(torch.tensor(0.1, dtype=torch.float64), sigma)

    class Flat(LinearInference):
        def draw(self, samples):
            zero = torch.zeros(samples, len(self.x), dtype=torch.float64)
            return Draws(zero[..., None], zero + flat.log_prob(self.x).sum(1), zero, zero)

    found = measured(NegativeLogLikelihood, context_of(Dense(Flat)), importance_samples=1)
    x = pixels()
    levels = norm.cdf(x + 1 / 255, 0.1, sigma) - norm.cdf(x - 1 / 255, 0.1, sigma)
    assert found["bits_per_dim"] == pytest.approx(-np.log2(levels).mean(), abs=1e-4)
    assert found["nll"] == pytest.approx(-norm.logpdf(x, 0.1, sigma).sum(1).mean(), rel=1e-9)


def test_bits_of_fair_coins_are_one(context_of):
    class Coins(LinearInference):
        def draw(self, samples):
            zero = torch.zeros(samples, len(self.x), dtype=torch.float64)
            return Draws(zero[..., None], zero - D * math.log(2), zero, zero)

    found = measured(NegativeLogLikelihood, context_of(Linear(Coins)), importance_samples=30)
    assert found["bits_per_dim"] == pytest.approx(1.0, rel=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# ELBO
# ---------------------------------------------------------------------------------------------------------------------

DRAWS = 100


@pytest.fixture(scope="module")
def grid():
    """q(z) of the 120 images on a grid that holds all of its mass: cell area, density, and its entropy."""
    means = posterior_means() + DELTA * math.sqrt(T2)
    sd = math.sqrt(V * T2)
    low, high = means.min() - 8 * sd, means.max() + 8 * sd
    axis = np.linspace(low, high, 601)
    one = norm.pdf(axis[:, None, None], means[None], sd)  # [601, N, 2]
    density = one[..., 0] @ one[..., 1].T / len(means)
    cell = (axis[1] - axis[0]) ** 2
    assert density.sum() * cell == pytest.approx(1, abs=1e-9)
    log = np.log(np.maximum(density, 1e-300))
    entropy = -(density * log).sum() * cell
    variance = (density * log**2).sum() * cell - entropy**2
    return entropy, variance


def test_elbo_terms_are_the_closed_forms(context_of):
    found = measured(EvidenceLowerBound, context_of(Linear()), importance_samples=DRAWS)
    draws = N * DRAWS
    q2 = V * T2
    means = posterior_means() + DELTA * math.sqrt(T2)
    residual = pixels() - B - means @ W.T
    # For z ~ N(m, q2 I) a quadratic form c |z - y|^2 has the mean c (2 q2 + |m - y|^2) and the variance
    # c^2 (4 q2^2 + 4 q2 |m - y|^2) in two dimensions; each tolerance is six standard errors of all draws.
    entropy = CODE * 0.5 * math.log(2 * math.pi * math.e * q2)
    assert found["entropy_q"] == pytest.approx(entropy, abs=6 * math.sqrt(CODE / 2 / draws))
    cross = CODE * 0.5 * math.log(2 * math.pi) + 0.5 * (CODE * q2 + (means**2).sum(1)).mean()
    spread = math.sqrt((0.25 * (4 * q2**2 + 4 * q2 * (means**2).sum(1))).mean() / draws)
    assert found["cross_entropy_p"] == pytest.approx(cross, abs=6 * spread)
    rec = -D * math.log(S * math.sqrt(2 * math.pi)) - ((residual**2).sum(1) + CODE * A * q2).mean() / (2 * S**2)
    across = ((residual @ W) ** 2).sum(1)
    spread = math.sqrt(((2 * CODE * (A * q2) ** 2 + 4 * q2 * across) / (4 * S**4)).mean() / draws)
    assert found["reconstruction"] == pytest.approx(rec, abs=6 * spread)
    kl = 0.5 * (CODE * (q2 - 1 - math.log(q2)) + (means**2).sum(1)).mean()
    assert found["kl"] == pytest.approx(kl, abs=6 * (math.sqrt(CODE / 2 / draws) + math.sqrt(CODE / draws)))
    # The variance of log w is 2.7 (see above).
    assert found["elbo"] == pytest.approx(true_log_p().mean() - GAP, abs=6 * math.sqrt(2.7 / draws))


def test_mutual_information_is_the_integral(context_of, grid):
    found = measured(EvidenceLowerBound, context_of(Linear()), importance_samples=DRAWS)
    entropy_of_mean, variance = grid
    entropy = CODE * 0.5 * math.log(2 * math.pi * math.e * V * T2)
    # The standard deviation of a difference is at most the sum of the two; six standard errors.
    tolerance = 6 * (math.sqrt(variance) + math.sqrt(CODE / 2)) / math.sqrt(N * DRAWS)
    assert tolerance < 0.15
    assert found["mutual_information"] == pytest.approx(entropy_of_mean - entropy, abs=tolerance)
    assert 0.3 < found["mutual_information"] < math.log(N)


@pytest.mark.parametrize("draws", [1, PIECE + 2])
def test_identities_hold_exactly(context_of, draws):
    found = measured(EvidenceLowerBound, context_of(Linear()), importance_samples=draws)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"], abs=1e-12)
    assert found["kl"] == pytest.approx(found["cross_entropy_p"] - found["entropy_q"], abs=1e-12)
    assert found["kl"] == pytest.approx(found["mutual_information"] + found["aggregated_kl"], abs=1e-12)


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 0.0), (1e4, math.log(N))])
def test_mutual_information_at_its_ends(context_of, spread, expected):
    """Posteriors that are all the same say nothing; those that never meet tell each of N images."""

    class Placed(LinearInference):
        def __init__(self, model, batch):
            super().__init__(model, batch)
            place = torch.arange(len(self.x), dtype=torch.float64) + (BLOCK if len(self.x) < BLOCK else 0)
            self.q = Normal(spread * place[:, None].expand(-1, CODE), 1.0)

    found = measured(EvidenceLowerBound, context_of(Linear(Placed)), importance_samples=3)
    assert found["mutual_information"] == pytest.approx(expected, abs=1e-9)


def test_elbo_up_to_a_constant_keeps_its_kl(context_of):
    found = measured(EvidenceLowerBound, context_of(Linear(normalised=False)))
    assert set(found) == {"kl", "entropy_q", "cross_entropy_p", "mutual_information", "aggregated_kl"}


# ---------------------------------------------------------------------------------------------------------------------
# Active units, and all of them on a model of real parts
# ---------------------------------------------------------------------------------------------------------------------


def black_and_white(n=150):
    """Images of six pixels, each black in exactly half of them: as codes they have mean 0 and variance 1."""
    rng = np.random.default_rng(3)
    half = np.repeat([0, 255], n // 2)
    columns = np.stack([rng.permutation(half) for _ in range(D)], 1).astype(np.uint8)
    return ImageSet(torch.tensor(columns).view(n, 1, 2, 3), torch.zeros(n, dtype=torch.int64), ())


@pytest.mark.parametrize(("threshold", "active"), [(0.01, 3), (0.0, 5), (0.5, 2), (1.003, 1), (4.01, 0)])
def test_active_units_are_counted(context_of, threshold, active):
    class Scaled(LinearInference):
        def __init__(self, model, batch):
            variances = torch.tensor([0.0, 0.0099, 0.0101, 1.0, 4.0, 0.005], dtype=torch.float64)
            # A shift of a coordinate is no activity.
            self._mean = batch.x.double().flatten(1) * variances.sqrt() + 7.0

        @property
        def mean(self):
            return self._mean

    found = measured(ActiveUnits, context_of(Linear(Scaled), black_and_white()), threshold=threshold)
    assert found == {"active_units": float(active)}


def test_active_units_are_those_of_so_many_images(context_of):
    asked = []

    class Shown(LinearInference):
        def __init__(self, model, batch):
            asked.append(len(batch.x))
            self._mean = batch.x.double().flatten(1)

        @property
        def mean(self):
            return self._mean

    found = [measured(ActiveUnits, context_of(Linear(Shown)), images=n) for n in (1, 40, None)]
    assert sum(asked) == 1 + 40 + N
    # One image has no variance, and every pixel of many images has some.
    assert [each["active_units"] for each in found] == [0, D, D]


def test_columns():
    columns = columns_of([score.Config().make() for score in SCORES])
    assert {key: column.higher_is_better for key, column in columns.items()} == {
        "nll": False, "bits_per_dim": False, "elbo": True, "mutual_information": True, "aggregated_kl": False,
        "active_units": True,
    }  # fmt: skip


def test_a_vae_of_standard_parts(context_of):
    config = VariationalAutoencoder.Config(
        code_size=3,
        prior=VampPrior.Config(components=4),
        encoder=MlpEncoder.Config(hidden=(16,), posterior="gaussian"),
        decoder=MlpDecoder.Config(hidden=(16,)),
        reconstruction=Pixel.Config(metric="bernoulli", reduction="sum"),
        conditioner=NoCondition.Config(),
    )
    images = black_and_white()
    model = build_model(config, DataInfo((1, 2, 3), (), True), 0)
    scores = [
        NegativeLogLikelihood.Config(importance_samples=200).make(),
        EvidenceLowerBound.Config(importance_samples=4).make(),
        ActiveUnits.Config().make(),
    ]
    model.train()
    found = measure_all(scores, context_of(model, images), "VAE")
    assert model.training
    # No distribution gives these images, of nearly independent fair pixels, much more than D log 2 below zero; and no
    # bound lies above what it bounds, but for the sampling error of the ELBO (five standard errors).
    assert found["nll"] > D * math.log(2) - 1
    assert -found["elbo"] > found["nll"] - 5 * found["elbo_standard_error"]
    assert 0 <= found["mutual_information"] <= math.log(150)
    assert 0 <= found["active_units"] <= 3
