"""Style consistency: its formula against the definition, and models whose noise decides all, half or nothing."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from genprior import Asks, Condition, Model, PartConfig, ScoreError
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import measure_all
from genprior_std.scores.style_consistency import StyleConsistency, consistencies, style_of


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(phi):
    """1 - E |phi_ij - phi_ik|^2 / E |phi_ij - phi_lj|^2 in loops; phi [N, K, p], standardised within labels here."""
    n, k, _ = phi.shape
    phi = (phi - phi.mean(0)) / phi.std(0)
    labels = [(phi[:, a] - phi[:, b]).square().sum() / (n - 1) for a, b in itertools.permutations(range(k), 2)]
    noises = [(phi[a] - phi[b]).square().sum(1).mean() for a, b in itertools.permutations(range(n), 2)]
    return 1 - float(torch.stack(labels).mean() / torch.stack(noises).mean())


def test_the_score_is_the_definition_and_the_mean_correlation():
    phi = normal(12, 4, 3) + normal(12, 1, 3, seed=1)
    found = consistencies(phi, "abc")
    assert np.mean(list(found.values())) == pytest.approx(by_definition(phi))
    for place, value in enumerate(found.values()):
        matrix = np.corrcoef(phi[:, :, place].numpy(), rowvar=False)
        assert value == pytest.approx(matrix[np.triu_indices(4, 1)].mean())


def test_it_is_unbiased_where_labels_are_independent():
    """Over all orders of one label's noises, which are equally probable under independence, the mean is exactly 0."""
    phi = normal(5, 2, 1)
    orders = [torch.stack([phi[:, 0], phi[list(order), 1]], 1) for order in itertools.permutations(range(5))]
    values = [consistencies(each, "a")["a"] for each in orders]
    assert np.mean(values) == pytest.approx(0, abs=1e-12) and np.std(values) > 0.4


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_it_is_the_share_of_the_variance_that_noise_alone_has(share):
    """Each label also has a mean and a scale of its own, which do not count."""
    noises, labels, properties = 2_000, 6, 4
    of_noise, of_both = normal(noises, 1, properties), normal(noises, labels, properties, seed=1)
    phi = share**0.5 * of_noise + (1 - share) ** 0.5 * of_both
    phi = phi * (1 + torch.arange(labels))[:, None] + 10 * normal(labels, properties, seed=2)
    # A correlation has the standard deviation (1 - share^2) / sqrt(N); the mean of p independent ones less, by sqrt(p);
    # five of them, at most 0.056, are exceeded once in two million seeds. The bias is below 1e-4.
    tolerance = 5 * (1 - share**2) / (noises * properties) ** 0.5 + 1e-9
    assert np.mean(list(consistencies(phi, "abcd").values())) == pytest.approx(share, abs=tolerance)


def test_a_property_that_one_label_has_always_alike_is_left_out():
    phi = normal(9, 3, 2)
    phi[:, 1, 0] = 4.0 + 1e-9 * phi[:, 1, 0]
    assert consistencies(phi, "ab").keys() == {"b"}
    assert consistencies(torch.ones(9, 3, 2).double(), "ab") == {}


class Brush(Model):
    """A bar whose brightness, lean, width and height are random: `own` is how much a label has draws of its own."""

    name = "brush"
    Config = PartConfig

    def __init__(self, own, labels=3, kind="label", vary=1.0):
        super().__init__(PartConfig())
        self.vary = torch.nn.Parameter(torch.tensor(vary))
        self.own, self.labels, self.kind = own, labels, kind

    @property
    def asks(self):
        return Asks(self.kind, self.labels)

    def phases(self):
        return ()

    def condition(self, like, y=None):
        return Condition(like.new_zeros(len(like), 0), y[:, None])

    def generate(self, condition):
        y = condition.asked[:, 0]
        shared, all_own = torch.rand(len(y), 4), torch.rand(len(y), self.labels, 4)
        own = all_own[torch.arange(len(y)), y]
        u = (own if self.own else shared) * self.vary
        bright, lean, wide, high = u.T[:, :, None, None]
        down, across = torch.meshgrid(torch.arange(16.0) - 7.5, torch.arange(16.0) - 7.5, indexing="ij")
        inside = torch.sigmoid(2 * (1 + wide - (across + (lean - 0.5) * down).abs()))
        inside = inside * torch.sigmoid(2 * (3 + 2 * high - down.abs()))
        # The label dims the image, which changes the mean of a property and its scale, but no more.
        return ((0.5 + 0.5 * bright) * inside * (1 - 0.2 * y[:, None, None]) * 2 - 1)[:, None]


def score(model, noises=400, seed=0):
    @contextlib.contextmanager
    def trained():
        yield model

    context = SampleContext(None, None, device="cpu", seed=seed, cache=Path("unused"), trained=trained)
    return measure_all([StyleConsistency.Config(noises=noises).make()], context, "row")


@pytest.mark.parametrize("kind", ["label", "category"])
def test_noise_that_decides_the_style_of_a_model(kind):
    found = score(Brush(own=False, kind=kind))
    assert found["style_consistency"] == pytest.approx(1, abs=0.01)
    keys = ["channel_0", "contrast", "slant", "thickness", "height_to_width"]
    assert list(found) == ["style_consistency", *(f"style_consistency_{key}" for key in keys)]
    assert found["style_consistency"] == pytest.approx(np.mean([found[f"style_consistency_{key}"] for key in keys]))


def test_noise_that_decides_nothing_of_the_style_of_a_model():
    found = score(Brush(own=True))
    # The mean of three uncorrelated correlations of 400 pairs: 5 / sqrt(3 * 399) = 0.145, as above; for each property.
    assert all(abs(value) < 0.145 for value in found.values())


def test_it_depends_on_the_seed_alone():
    assert score(Brush(own=True), 20) == score(Brush(own=True), 20) != score(Brush(own=True), 20, seed=1)
    assert StyleConsistency.Config().make().samples is None


def test_colours_are_properties():
    _, names = style_of(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert names == ("channel_0", "channel_1", "channel_2", "contrast", "slant", "thickness", "height_to_width")


def test_models_without_two_labels_and_with_one_image_are_refused():
    with pytest.raises(ScoreError) as caught:
        StyleConsistency.Config().make().check_row(Brush(True, labels=1), None)
    assert str(caught.value) == (
        "model 'brush' can be asked for 1 labels; 'style_consistency' needs at least 2. Leave the score out of this row"
    )
    with pytest.raises(ScoreError, match="model 'brush' cannot be asked for images of a kind; 'style_consistency' nee"):
        StyleConsistency.Config().make().check_row(Brush(True, kind="nothing"), None)
    with pytest.raises(ScoreError, match="'style_consistency': for some label every property .* make the same one"):
        score(Brush(own=False, vary=0.0), 5)
