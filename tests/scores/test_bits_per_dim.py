"""Bits for each sub-pixel, of distributions whose entropy is known."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal

from genprior.errors import ScoreError
from genprior.parts import Draws, ImageSet, Inference, LikelihoodModel
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of
from genprior_std.scores.bits_per_dim import BitsPerDimension
from genprior_std.scores.likelihood import BLOCK

N, SHAPE = 250, (2, 5, 4)
D = 40


def coins(p, n=N, seed=0):
    """Black and white images of which exactly the share p is white."""
    total = n * D
    white = torch.zeros(total, dtype=torch.uint8)
    white[: round(p * total)] = 255
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return ImageSet(white[order].view(n, *SHAPE), torch.zeros(n, dtype=torch.int64), ())


class Coins:
    """A model of independent pixels, white with probability p; given a code, with another one."""

    name = "coins"
    embedder = None

    def __init__(self, p=None, given=None):
        self.p, self.given, self.seen = p, given, []

    def _log_p(self, x, p):
        if p is None:
            return None
        return torch.where(x > 0, math.log(p), math.log(1 - p)).flatten(1).sum(1)

    def log_likelihood(self, batch):
        self.seen.append(len(batch.x))
        return self._log_p(batch.x, self.p)

    def log_likelihood_given_code(self, batch):
        return self._log_p(batch.x, self.given)


def entropy(p):
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


def measure(model, data, **settings):
    @contextlib.contextmanager
    def trained():
        yield model

    context = SampleContext(
        lambda n: None, lambda split: {"test": data}[split], device="cpu", seed=0, cache=Path("x"), trained=trained
    )
    return BitsPerDimension.Config(**settings).make().measure(context)


@pytest.mark.parametrize("p", [0.5, 0.1, 0.75])
def test_independent_pixels_cost_their_entropy(p):
    found = measure(Coins(p), coins(p))
    assert set(found) == {"bits_per_dim", "bits_per_dim_standard_error"}
    assert found["bits_per_dim"] == pytest.approx(entropy(p), rel=1e-5)


def test_fair_coins_cost_one_bit_exactly_whatever_is_tossed():
    found = measure(Coins(0.5), coins(0.2))
    assert found["bits_per_dim"] == pytest.approx(1, abs=1e-6)
    assert found["bits_per_dim_standard_error"] == pytest.approx(0, abs=1e-6)


def test_a_wrong_model_costs_its_cross_entropy():
    found = measure(Coins(0.9), coins(0.3))["bits_per_dim"]
    assert found == pytest.approx(-0.3 * math.log2(0.9) - 0.7 * math.log2(0.1), rel=1e-5)


def test_each_is_written_where_it_is_known():
    both = measure(Coins(0.5, 0.25), coins(0.25))
    assert both["bits_per_dim"] == pytest.approx(1, abs=1e-6)
    assert both["bits_per_dim_given_code"] == pytest.approx(entropy(0.25), rel=1e-5)
    alone = measure(Coins(None, 0.25), coins(0.25))
    assert set(alone) == {"bits_per_dim_given_code", "bits_per_dim_given_code_standard_error"}
    assert alone["bits_per_dim_given_code"] == both["bits_per_dim_given_code"]


def test_the_standard_error_is_that_of_the_mean_over_images():
    images = coins(0.3)
    white = (images.images > 0).double().flatten(1).mean(1)
    bits = -white * math.log2(0.3) - (1 - white) * math.log2(0.7)
    found = measure(Coins(0.3), images)["bits_per_dim_standard_error"]
    assert found == pytest.approx(float(bits.std()) / math.sqrt(N), rel=1e-4)


def test_fewer_images_are_a_fixed_choice_that_is_not_the_first():
    """The first half is black and the second white, and black alone is likely."""
    images = ImageSet(torch.zeros(N, *SHAPE, dtype=torch.uint8), torch.zeros(N, dtype=torch.int64), ())
    images.images[N // 2 :] = 255
    model = Coins(0.25)
    found = measure(model, images, images=120)
    assert model.seen == [BLOCK, 20]
    black, white = -math.log2(0.75), -math.log2(0.25)
    share = (found["bits_per_dim"] - black) / (white - black)
    # Of 120 drawn from 250 without replacement, the share of white ones is 1/2 give or take 0.033: 5 of these.
    assert share == pytest.approx(0.5, abs=0.17)
    assert measure(Coins(0.25), images, images=120) == found
    assert measure(Coins(0.25), images, images=1000) == measure(Coins(0.25), images)


class Shifted(Inference):
    """q(z | x) of a model with z independent of x: z ~ N(0, 1) as prior, q = N(1, 1), so KL = 1/2."""

    def __init__(self, model, batch):
        self.model, self.x = model, batch.x

    @property
    def mean(self):
        return torch.ones(len(self.x), 1)

    def draw(self, samples):
        z = Normal(1.0, 1.0).sample((samples, len(self.x)))
        log_p = torch.where(self.x > 0, math.log(0.3), math.log(0.7)).flatten(1).sum(1).expand(samples, -1)
        return Draws(z[..., None], log_p, Normal(0.0, 1.0).log_prob(z), Normal(1.0, 1.0).log_prob(z))

    def log_posterior(self, z):
        return Normal(1.0, 1.0).log_prob(z)


class Bounded(LikelihoodModel):
    name = "bounded"

    def __init__(self, normalised=True):
        super().__init__(self.Config())
        self._normalised = normalised

    @property
    def normalised(self):
        return self._normalised

    def phases(self):
        return ()

    def generate(self, condition):
        return 2 * torch.bernoulli(torch.full((len(condition.known), *SHAPE), 0.3)) - 1

    def infer(self, batch):
        return Shifted(self, batch)


def test_a_model_with_a_bound_costs_its_entropy_and_the_kl():
    found = measure(Bounded(), coins(0.3))
    expected = entropy(0.3) + 0.5 / (D * math.log(2))
    # log p(z) - log q(z) = 1/2 - z, of variance 1: the mean over 250 images is within 5 of its errors.
    assert found["bits_per_dim"] == pytest.approx(expected, abs=5 / math.sqrt(N) / (D * math.log(2)))
    assert found["bits_per_dim"] != pytest.approx(entropy(0.3), rel=1e-5)
    assert measure(Bounded(), coins(0.3)) == found


class Density(Bounded):
    """A density on [-1, 1]: of width 2/255 from one byte to the next."""

    density = True


def test_a_density_is_turned_into_the_probability_of_a_byte():
    as_probability, as_density = measure(Bounded(), coins(0.3)), measure(Density(), coins(0.3))
    assert as_density["bits_per_dim"] == pytest.approx(as_probability["bits_per_dim"] + math.log2(255 / 2))


def test_the_columns():
    assert [column[:3] for column in columns_of([BitsPerDimension.Config().make()]).values()] == [
        ("bits_per_dim", "bits/dim", False),
        ("bits_per_dim_given_code", "bits/dim given the code (no bound)", False),
    ]


@pytest.mark.parametrize("model", [Coins(), Bounded(normalised=False)])
def test_a_model_that_knows_no_probability_is_refused(model):
    with pytest.raises(ScoreError) as caught:
        measure(model, coins(0.5))
    assert str(caught.value) == (
        f"model '{model.name}' gives neither p(x) nor p(x | z) of an image, or only up to a constant. "
        "Models that do: 'pixelcnn', 'pixelgan', and 'vae' with an exact reconstruction such as "
        '{ name = "pixel", metric = "gaussian", sigma = 0.1, reduction = "sum" }. The images of any model can be '
        "scored with 'parzen' or 'classifier_score'"
    )
