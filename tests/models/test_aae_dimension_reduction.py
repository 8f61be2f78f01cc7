"""The adversarial autoencoder for pictures of data: its heads, their cost, and the point that an image becomes."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import brentq
from scipy.stats import norm
from torch.nn.functional import cross_entropy

from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import DataInfo
from genprior.testing import check_model
from genprior_std.models.aae_clustering import ClusteringAutoencoder
from genprior_std.models.aae_dimension_reduction import DimensionReductionAutoencoder

from .small_categorical_aae import (
    LEARNED,
    batch_of,
    config,
    gradients,
    hidden,
    model_of,
    moved,
    phase_of,
    seen,
    sgd,
    snapshot,
)

K = 5


def reducing(**changes):
    changes = changes if changes.get("labels") else {"categories": K, **changes}
    return model_of(DimensionReductionAutoencoder, **changes)


def with_heads(rows, **changes):
    model = reducing(categories=len(rows), code_size=len(rows[0]), **changes)
    with torch.no_grad():
        model.heads.weight.copy_(torch.tensor(rows, dtype=torch.float64))
    return model


# ---------------------------------------------------------------------------------------------------------------------
# Who moves
# ---------------------------------------------------------------------------------------------------------------------

CASES = {
    "clusters": {"categories": K},
    "labels": {"labels": True},
    "circle": {"labels": True, "code_size": 4, "on_circle": True},
    "learned prior": {"categories": K, **LEARNED},
    "labels and learned prior": {"labels": True, **LEARNED},
    "reconstructions not judged": {"categories": K, **LEARNED, "reconstruction_as_fake": False},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_it_keeps_the_contract_of_a_model(changes):
    check_model(config(DimensionReductionAutoencoder, **changes))


@pytest.mark.parametrize("changes", [{}, {"labels": True}, LEARNED, {**LEARNED, "labels": True}])
def test_each_phase_moves_what_the_paper_moves(changes):
    model = reducing(**changes)
    expected = {"regularise": {"encoder", "decoder", "heads", "category_critic", "style_critic"}}
    if "labels" in changes:
        expected["classify"] = {"encoder"}
    if "improves" in changes:
        expected["improve_prior"] = {"image_critic", "prior"}
    assert [phase.name for phase in model.phases()] == list(expected)
    for phase in model.phases():
        before = snapshot(model)
        run_phase(phase, batch_of(), dict(model.named_children()), sgd(model))
        assert moved(model, before) == expected[phase.name]


def test_labels_are_learnt_by_cross_entropy():
    model, labelled = reducing(labels=True, label_weight=0.4), batch_of(4, seed=5)
    (loss,) = phase_of(model, "classify").objectives(hidden(batch_of(), labelled)).values()
    logits = model.encoder(labelled.x, labelled.x.new_zeros(4, 0)).mean[:, :3]
    torch.testing.assert_close(loss, 0.4 * cross_entropy(logits, labelled.y))
    torch.testing.assert_close(model.classify(labelled), logits.softmax(1))


@pytest.mark.parametrize("changes", [{}, {"labels": True}])
def test_images_are_sorted_by_their_categories_and_no_head_or_style_is_touched(changes):
    """A category is that of the image perturbed towards another one; the loss reads nothing else of a point."""
    still = {"shift": 0.0, "rotate": 0.0, "zoom": 0.0}
    model, batch = reducing(sorts={"consistency": 2.0, "adversarial": 0.5, **still}, **changes), batch_of()
    k, last = model.categories, model.encoder.to_code
    (loss,) = phase_of(model, "sort").objectives(batch).values()

    def logits_of(x):
        return model.encoder(x, x.new_zeros(len(x), 0)).mean[:, :k]

    at = batch.x.clone().requires_grad_()
    likeliest = logits_of(at).log_softmax(1).max(1).values
    (uphill,) = torch.autograd.grad(likeliest.sum(), at)
    other = batch.x - 0.5 * uphill / uphill.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    expected = -2 * (logits_of(batch.x).softmax(1).detach() * logits_of(other).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, last.weight, retain_graph=True)
    assert gradient[:k].abs().sum() > 0 and not gradient[k:].any()
    assert torch.autograd.grad(loss, model.heads.weight, allow_unused=True) == (None,)


# ---------------------------------------------------------------------------------------------------------------------
# The heads
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("eta", [0.5, 2.0])
def test_the_cost_of_heads_is_that_of_every_pair(n, eta):
    heads = numpy.random.default_rng(n).normal(size=(7, n))
    expected = 0.0
    for i in range(7):
        for j in range(i + 1, 7):
            expected += max(0.0, eta - math.sqrt(sum((heads[i] - heads[j]) ** 2)))
    model = with_heads(heads.tolist(), eta=eta)
    assert float(model.heads.repulsion(eta).detach()) == pytest.approx(expected, rel=1e-12)
    if n < 10:
        assert expected > 0


def test_heads_further_apart_than_eta_cost_nothing_and_are_not_pushed():
    model = with_heads([[0.0, 0.0], [2.01, 0.0], [0.0, -2.01], [-3.0, 4.0]])
    cost = model.heads.repulsion(2.0)
    assert float(cost.detach()) == 0.0
    (gradient,) = torch.autograd.grad(cost, model.heads.weight)
    assert not gradient.any()


def test_two_heads_that_are_too_near_are_pushed_apart_along_their_line():
    model = with_heads([[0.0, 0.0], [0.6, 0.8], [9.0, 9.0]])
    (gradient,) = torch.autograd.grad(model.heads.repulsion(2.0), model.heads.weight)
    torch.testing.assert_close(-gradient, torch.tensor([[-0.6, -0.8], [0.6, 0.8], [0.0, 0.0]]).double())


def test_heads_in_one_place_have_a_finite_gradient():
    model = with_heads([[1.0, 1.0], [1.0, 1.0], [5.0, 5.0]])
    (gradient,) = torch.autograd.grad(model.heads.repulsion(2.0), model.heads.weight)
    assert torch.isfinite(gradient).all()


def test_heads_learn_by_the_reconstruction_and_their_cost_alone():
    changes = {"rec_weight": 0.7, "repulsion_weight": 1.3, "category_weight": 2.0, "style_weight": 3.0}
    model, batch = reducing(**changes), batch_of()
    objectives = model.regularise(batch)
    out = model.encoder(batch.x, batch.x.new_zeros(6, 0)).mean
    r = out[:, :K].softmax(1) @ model.heads.weight + out[:, K:]
    rec = (model.decoder(r, batch.x.new_zeros(6, 0)) - batch.x).square().mean()
    pairs = itertools.combinations(model.heads.weight, 2)
    cost = sum((2.0 - (a - b).norm()).clamp(min=0) for a, b in pairs)
    assert float(cost.detach()) > 0
    ((ours,), (theirs,)) = (gradients(loss, model.heads) for loss in (objectives["heads"], 0.7 * rec + 1.3 * cost))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(objectives.note["repulsion"], cost)
    assert objectives["encoder"] is objectives["decoder"] is objectives["heads"]


def test_the_cost_of_heads_is_no_concern_of_the_other_modules():
    batch, losses = batch_of(), []
    for weight in (0.0, 5.0):
        model = reducing(repulsion_weight=weight)
        torch.manual_seed(3)
        objectives = model.regularise(batch)
        losses.append([gradients(objectives[name], getattr(model, name)) for name in objectives if name != "heads"])
    for a, b in zip(*losses, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_heads_start_spread():
    """60 heads of 50 numbers, N(0, 3^2): the standard error of their deviation is 3 / sqrt(6000); 5 of them."""
    model = reducing(categories=60, code_size=50, eta=3.0)
    assert float(model.heads.weight.detach().std()) == pytest.approx(3.0, abs=5 * 3 / 6000**0.5)


# ---------------------------------------------------------------------------------------------------------------------
# The representation
# ---------------------------------------------------------------------------------------------------------------------


def test_the_point_of_an_image_is_the_head_of_its_category_and_its_style():
    model = with_heads([[1.0, 2.0], [3.0, -4.0], [0.5, 6.0]])
    y = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]).double()
    z = torch.tensor([[0.1, 0.2], [-1.0, 0.0]]).double()
    torch.testing.assert_close(model.representation(y, z), torch.tensor([[2.1, -0.8], [-0.5, 6.0]]).double())


def test_the_decoder_sees_the_point_alone():
    model, batch = reducing().eval(), batch_of()
    out = model.encoder(batch.x, batch.x.new_zeros(6, 0)).mean
    r = out[:, :K].softmax(1) @ model.heads.weight + out[:, K:]
    torch.testing.assert_close(model.encode(batch), r)
    codes, _, hook = seen(model.decoder)
    rec = model.reconstruct(batch)
    heads = model.cluster_heads()
    condition = model.condition(batch.x)
    model.generate(condition)
    hook.remove()
    torch.testing.assert_close(codes[0], r)
    torch.testing.assert_close(codes[1], model.heads.weight)
    assert heads.shape == (K, 1, 4, 4)
    torch.testing.assert_close(model.decode(model.encode(batch), condition), rec)
    torch.manual_seed(3)
    z = model.prior.sample(condition.asked)
    torch.manual_seed(3)
    expected = model.decoder(model.heads.weight[condition.asked.argmax(1)] + z, condition.known)
    torch.testing.assert_close(model.generate(condition), expected)


@pytest.mark.parametrize(("k", "n"), [(4, 4), (3, 6), (8, 5)])
def test_the_plane_is_numpys_least_squares_map_of_the_heads_to_a_circle(k, n):
    heads = numpy.random.default_rng(0).normal(size=(k, n))
    turn = 2 * numpy.pi * numpy.arange(k) / k
    circle = numpy.stack([numpy.cos(turn), numpy.sin(turn)], axis=1)
    expected, *_ = numpy.linalg.lstsq(heads, circle, rcond=None)
    model = with_heads(heads.tolist(), on_circle=True)
    plane = model.to_plane().detach()
    assert plane.shape == (n, 2)
    numpy.testing.assert_allclose(plane.numpy(), expected, rtol=1e-9, atol=1e-10)
    if k <= n:
        numpy.testing.assert_allclose(heads @ plane.numpy(), circle, atol=1e-9)


def test_on_a_circle_codes_are_two_numbers_and_cannot_be_decoded():
    flat, model = reducing(code_size=6), reducing(code_size=6, on_circle=True)
    batch = batch_of()
    shown = model.encode(batch)
    assert shown.shape == (6, 2)
    torch.testing.assert_close(shown, flat.encode(batch) @ model.to_plane())
    assert model.decode(shown, model.condition(batch.x)) is None
    assert torch.equal(model.reconstruct(batch), flat.reconstruct(batch))


# ---------------------------------------------------------------------------------------------------------------------
# Where its codes lie
# ---------------------------------------------------------------------------------------------------------------------

SPREAD = [[-9.0, 1.0], [2.0, 6.0], [7.0, -4.0], [3.0, 3.0]]


@pytest.mark.parametrize("on_circle", [False, True])
def test_codes_are_drawn_about_the_heads_that_are_asked_for(on_circle):
    """8,000 codes of one category: their mean is its head but for 5 standard errors in each of n or 2 numbers."""
    rows = numpy.random.default_rng(1).normal(size=(4, 5)) * 6
    model = with_heads(rows.tolist(), on_circle=on_circle)
    like, plane = torch.zeros(8_000).double(), numpy.eye(5)
    if on_circle:
        turn = numpy.pi / 2 * numpy.arange(4)
        plane = numpy.linalg.lstsq(rows, numpy.stack([numpy.cos(turn), numpy.sin(turn)], axis=1), rcond=None)[0]
    for k in range(4):
        asked = torch.zeros(8_000, 4).double()
        asked[:, k] = 1
        torch.manual_seed(k)
        drawn = model.draw_codes(model.condition(like)._replace(asked=asked)).detach().numpy()
        assert drawn.shape == (8_000, plane.shape[1])
        # A style is N(0, I), so that codes are N(w P, P^T P).
        error = numpy.sqrt((plane**2).sum(0) / 8_000)
        assert (abs(drawn.mean(0) - rows[k] @ plane) < 5 * error).all()
        assert drawn.std(0) == pytest.approx(error * 8_000**0.5, rel=5 / (2 * 8_000) ** 0.5)


def test_codes_are_drawn_about_all_heads():
    model = with_heads(SPREAD)
    torch.manual_seed(0)
    drawn = model.draw_codes(model.condition(torch.zeros(2_000).double())).detach()
    nearest = torch.cdist(drawn, model.heads.weight.detach()).argmin(1)
    # Binomial of 2,000 and 1/4 but for the few styles that lead to another head: 5 standard deviations and 40.
    assert (nearest.bincount(minlength=4) - 500).abs().max() < 5 * (2_000 * 3 / 16) ** 0.5 + 40


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_walk_leads_over_all_heads(dtype):
    """Of a mixture of four unit Gaussians: the numbers of a code have the quantiles that scipy finds of it."""
    model, ask = with_heads(SPREAD).to(dtype), numpy.array([0.01, 0.99])
    torch.manual_seed(0)
    grid = model.walk(9, torch.zeros(1, dtype=dtype))
    assert grid.shape == (9, 9, 2) and grid.dtype == dtype
    walk = grid.detach().double().numpy()
    assert (walk == walk[:1]).all(axis=0)[:, 0].all() and (walk == walk[:, :1]).all(axis=1)[:, 1].all()
    across, up = walk[0, :, 0], walk[:, 0, 1]
    rough = 0.1 if dtype is torch.bfloat16 else 1e-5
    assert numpy.diff(across) == pytest.approx((across[-1] - across[0]) / 8, abs=rough)
    assert numpy.diff(up) == pytest.approx((up[-1] - up[0]) / 8, abs=rough)
    for low, high, heads in ((across[0], across[-1], 0), (up[-1], up[0], 1)):
        centres = numpy.array(SPREAD)[:, heads]
        for found, share in zip((low, high), ask, strict=True):
            exact = brentq(lambda t, c=centres, p=share: norm.cdf(t - c).mean() - p, -20, 20)
            density = norm.pdf(exact - centres).mean()
            # The standard error of a quantile of 1,000 draws, of which 5, and the steps of half precision.
            assert abs(found - exact) < 5 * (0.01 * 0.99 / 1_000) ** 0.5 / density + rough
        assert low < centres.min() and high > centres.max()


def test_there_is_a_walk_in_the_plane_alone():
    like = torch.zeros(1).double()
    assert reducing(code_size=3).walk(4, like) is None
    assert reducing(code_size=3, on_circle=True).walk(4, like) is None
    assert reducing(code_size=1).walk(4, like) is None


# ---------------------------------------------------------------------------------------------------------------------
# How many categories, and what is refused
# ---------------------------------------------------------------------------------------------------------------------


def test_there_are_twenty_clusters_or_as_many_as_classes():
    assert len(model_of(DimensionReductionAutoencoder).heads.weight) == 20
    assert len(model_of(DimensionReductionAutoencoder, labels=True).heads.weight) == 3
    assert len(model_of(DimensionReductionAutoencoder, labels=True, categories=3).heads.weight) == 3
    assert DimensionReductionAutoencoder.Config.model_fields["code_size"].default == 2


def test_with_labels_categories_are_the_classes():
    with pytest.raises(PlanError, match=r"the data has 3 classes, and categories = 20\. Leave categories out"):
        model_of(DimensionReductionAutoencoder, labels=True, categories=20)


def test_labels_of_data_without_classes_are_refused():
    with pytest.raises(PlanError, match=r"'aae_dimension_reduction' learns classes.*has no classes"):
        reducing(labels=True, info=DataInfo((1, 4, 4), ()))


def test_a_class_can_be_asked_for_where_labels_are_learnt():
    y = torch.tensor([0, 2])
    assert torch.equal(reducing(labels=True).condition(torch.zeros(2), y).asked.argmax(1), y)
    with pytest.raises(PlanError, match=r"'aae_dimension_reduction' finds its 5 categories without labels"):
        reducing().condition(torch.zeros(2), y)
    assert reducing().classify(batch_of()) is None


def test_a_circle_in_the_plane_is_refused():
    with pytest.raises(ValidationError, match=r"on_circle = true maps codes.*code_size = 2\. Set code_size to 3"):
        config(DimensionReductionAutoencoder, on_circle=True)


def test_the_style_and_the_categories_are_those_of_the_clustering_model():
    """Models of one seed have the same encoder, so what they infer differs in nothing."""
    batch = batch_of()
    ours, theirs = reducing(), model_of(ClusteringAutoencoder, categories=K)
    assert torch.equal(ours.clusters(batch), theirs.clusters(batch))
