"""What sorts images into categories: consistency under small moves and mutual information, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score, mutual_info_score

import genprior
from genprior.engine.step import run_phase
from genprior.runs.trainer import Trainer
from genprior.testing import check_model
from genprior_std.layers.moved import moved
from genprior_std.model_pieces.sorting import Sorting, consistency, information
from genprior_std.models.aae_clustering import ClusteringAutoencoder

from .small_categorical_aae import INFO, batch_of, config, gradients, model_of, phase_of, sgd, snapshot
from .small_categorical_aae import moved as moved_modules

K = 4
BOTH = {"consistency": 2.0, "information": 3.0}


def clustering(**sorts):
    return model_of(ClusteringAutoencoder, categories=K, sorts=sorts)


def log_q(n, seed=0, k=K):
    logits = torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return logits.log_softmax(1)


# ---------------------------------------------------------------------------------------------------------------------
# Images that are moved
# ---------------------------------------------------------------------------------------------------------------------


def picture(h=9, w=9):
    return torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1


def test_nothing_moves_without_amounts():
    x = picture(7, 11)
    torch.testing.assert_close(moved(x, 0, 0, 0), x)


@pytest.mark.parametrize(
    ("settings", "uniform"), [((2, 0, 0), (0.5, 0.5, 1.0, 0.25)), ((3, 0, 0), (0.5, 0.5, 0.0, 0.9))]
)
def test_a_shift_is_that_of_scipy(settings, uniform, monkeypatch):
    x = picture(7, 11)
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.tensor(uniform, dtype=x.dtype).view(4, 1))
    across, down = ((2 * u - 1) * settings[0] for u in uniform[2:])
    found = ndimage.shift(x[0, 0].numpy() + 1, (-down, -across), order=1, mode="grid-constant") - 1
    torch.testing.assert_close(moved(x, *settings)[0, 0], torch.from_numpy(found))


@pytest.mark.parametrize("size", [(9, 9), (7, 11)])
def test_a_turn_and_a_scale_are_those_of_scipy(size, monkeypatch):
    x, uniform = picture(*size), (0.9, 0.2, 0.5, 0.5)
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.tensor(uniform, dtype=x.dtype).view(4, 1))
    angle, scale = math.radians(0.8 * 20), 1 / (1 - 0.6 * 0.3)
    # scipy counts rows first, so the matrix is transposed along both axes.
    matrix = scale * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = (np.array(size) - 1) / 2
    found = ndimage.affine_transform(
        x[0, 0].numpy() + 1, matrix, centre - matrix @ centre, order=1, mode="grid-constant"
    )
    torch.testing.assert_close(moved(x, 0, 20, 0.3)[0, 0], torch.from_numpy(found - 1))


def test_each_image_moves_by_itself_and_what_comes_in_is_black():
    x = torch.ones(50, 1, 8, 8)
    out = moved(x, 2, 0, 0)
    assert len({tuple(each.flatten().tolist()) for each in out}) == 50
    assert -1 <= out.min() <= -0.9 and out.max() <= 1


def test_pixels_are_not_placed_in_half_precision():
    x = picture().float().expand(20, 1, 9, 9)
    torch.manual_seed(1)
    plain = moved(x, 2, 10, 0.1)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(moved(x, 2, 10, 0.1), plain)


# ---------------------------------------------------------------------------------------------------------------------
# The losses
# ---------------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 40), st.integers(2, 6), st.integers(0, 1000))
def test_information_is_the_difference_of_two_entropies(n, k, seed):
    log = log_q(n, seed, k)
    q = log.exp()
    mean = q.mean(0)
    expected = -(mean * mean.log()).sum() + (q * log).sum(1).mean()
    torch.testing.assert_close(information(log), expected)
    assert -1e-12 <= information(log) <= math.log(min(k, n)) + 1e-12


def test_information_of_certain_categories_is_that_of_scikit_learn():
    member = torch.tensor([0, 0, 1, 2, 2, 2])
    log = torch.full((6, 3), -1e4, dtype=torch.float64).scatter(1, member[:, None], 0.0)
    assert float(information(log)) == pytest.approx(mutual_info_score(range(6), member))
    even = torch.full((3, 3), -1e4, dtype=torch.float64).fill_diagonal_(0)
    assert float(information(even)) == pytest.approx(math.log(3))


def test_consistency_is_the_cross_entropy_with_a_target_without_gradient():
    image, other = log_q(5, 1).requires_grad_(), log_q(5, 2).requires_grad_()
    loss = consistency(image, other)
    expected = -torch.stack([image[i].exp() @ other[i] for i in range(5)]).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert image.grad is None
    torch.testing.assert_close(other.grad, -image.detach().exp() / 5)


def test_an_equal_category_costs_its_entropy_alone():
    log = log_q(7)
    torch.testing.assert_close(consistency(log, log), -(log.exp() * log).sum(1).mean())


# ---------------------------------------------------------------------------------------------------------------------
# The phase
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sorts", [{"consistency": 2.0}, {"information": 3.0}, BOTH])
def test_the_phase_moves_the_encoder_alone(sorts):
    model, batch = clustering(**sorts), batch_of()
    assert [phase.name for phase in model.phases()] == ["regularise", "sort"]
    before = snapshot(model)
    run_phase(phase_of(model, "sort"), batch, dict(model.named_children()), sgd(model))
    assert moved_modules(model, before) == {"encoder"}


@pytest.mark.parametrize("sorts", [{"consistency": 2.0}, {"information": 3.0}, BOTH])
def test_it_keeps_the_contract_of_a_model(sorts):
    check_model(config(ClusteringAutoencoder, categories=K, sorts=sorts), INFO)


def test_without_a_weight_there_is_no_phase():
    assert [phase.name for phase in clustering(shift=3.0).phases()] == ["regularise"]


def test_the_gradient_is_that_of_the_formula():
    model, batch = clustering(**BOTH), batch_of(8)
    torch.manual_seed(5)
    found = model.sort(batch)
    torch.manual_seed(5)
    x_moved = moved(batch.x, 2.0, 10.0, 0.1)
    q, of_moved = (model.encoder(x, x.new_zeros(8, 0)).mean[:, :K].softmax(1) for x in (batch.x, x_moved))
    apart = -(q.detach() * of_moved.log()).sum(1).mean()
    mean = q.mean(0)
    told = -(mean * mean.log()).sum() + (q * q.log()).sum(1).mean()
    torch.testing.assert_close(found.note["consistency"], apart)
    torch.testing.assert_close(found.note["information"], told)
    mine = gradients(found["encoder"], model.encoder)
    for one, other in zip(mine, gradients(2 * apart - 3 * told, model.encoder), strict=True):
        torch.testing.assert_close(one, other)


def test_images_and_moved_images_are_one_batch():
    """Batch normalisation takes its statistics from both."""
    seen = []
    Sorting(consistency=1.0).losses(batch_of(6).x, lambda x: seen.append(len(x)) or x.flatten(1))
    assert seen == [12]


@pytest.mark.parametrize(
    "setting",
    [
        {"consistency": -1.0},
        {"information": math.inf},
        {"zoom": 1.0},
        {"rotate": 181.0},
        {"turn": 1.0},
        {"shift": 1e9},
        {"adversarial": 1e9},
        {"warmup": 10**9},
    ],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValidationError, match="greater than or equal|less than|finite|Extra"):
        Sorting(**setting)


# ---------------------------------------------------------------------------------------------------------------------
# Reconstruction as a phase of its own
# ---------------------------------------------------------------------------------------------------------------------


def test_reconstruction_apart_moves_the_autoencoder_and_the_games_no_decoder():
    model = model_of(ClusteringAutoencoder, categories=K, alternate=True)
    assert [phase.name for phase in model.phases()] == ["reconstruct", "regularise"]
    for name, expected in (
        ("reconstruct", {"encoder", "decoder"}),
        ("regularise", {"encoder", "category_critic", "style_critic"}),
    ):
        before = snapshot(model)
        run_phase(phase_of(model, name), batch_of(), dict(model.named_children()), sgd(model))
        assert moved_modules(model, before) == expected
    check_model(config(ClusteringAutoencoder, categories=K, alternate=True), INFO)


def test_both_phases_together_are_the_loss_of_one():
    together, apart = (
        model_of(ClusteringAutoencoder, categories=K, alternate=a, rec_weight=5.0) for a in (False, True)
    )
    batch = batch_of()
    torch.manual_seed(1)
    whole = together.regularise(batch)
    torch.manual_seed(1)
    games = apart.regularise(batch)
    rec = apart.reconstruct_images(batch)
    assert set(games.note) == {"fool_category", "fool_style"} and set(rec.note) == {"reconstruction"}
    torch.testing.assert_close(whole["encoder"], games["encoder"] + rec["encoder"])
    torch.testing.assert_close(rec["decoder"], 5 * whole.note["reconstruction"])
    assert set(whole) == {*games, "decoder"} and rec["encoder"] is rec["decoder"]


# ---------------------------------------------------------------------------------------------------------------------
# A start from k-means of codes
# ---------------------------------------------------------------------------------------------------------------------


def blobs(n):
    """Images of four patterns with a little noise, and which pattern each has."""
    generator = torch.Generator().manual_seed(4)
    patterns = torch.rand(K, *INFO.image, generator=generator, dtype=torch.float64).round() * 1.6 - 0.8
    which = torch.arange(n) % K
    noise = torch.randn(n, *INFO.image, generator=generator, dtype=torch.float64)
    return patterns[which] + 0.05 * noise, which


def drawing(x, asked):
    def draw(n):
        asked.append(n)
        if n is not None and n > len(x):
            raise genprior.PlanError("too many")
        return genprior.Batch(x[: len(x) if n is None else n], torch.zeros(len(x)))

    return draw


def test_categories_start_as_clusters_of_codes():
    x, which = blobs(200)
    asked = []
    for steps in (0, 600):
        model = clustering(start_steps=steps)
        before = snapshot(model)
        model.begin(drawing(x, asked))
        found = model.clusters(genprior.Batch(x, which)).argmax(1)
        assert moved_modules(model, before) == ({"encoder", "decoder"} if steps else set())
        assert model.encoder.training and all(p.grad is None for p in model.parameters())
        if steps:
            assert adjusted_rand_score(which, found) == 1
    assert asked.count(None) == 1, "fewer images than are clustered of a large set: all of them"


def test_fewer_images_than_categories_are_refused_before_the_start():
    x, _ = blobs(K - 1)
    with pytest.raises(genprior.PlanError, match="categories = 4"):
        clustering(start_steps=5).begin(drawing(x, []))


def test_the_check_of_a_recipe_takes_one_step_of_the_start():
    config = genprior.load_recipe("aae_clustering", settings=["model.sorts.start_steps=1_000_000"]).plans[0].model
    small = config.for_one_step()
    assert (small.sorts.start_steps, config.sorts.start_steps) == (1, 1_000_000)
    assert small.model_copy(update={"sorts": config.sorts}) == config
    assert small.for_one_step() == small
    without = config.model_copy(update={"sorts": type(config.sorts)()})
    assert without.for_one_step() == without


# ---------------------------------------------------------------------------------------------------------------------
# Runs of the recipes
# ---------------------------------------------------------------------------------------------------------------------

SMALL = (
    "run.steps=6", "run.checkpoint_every=3", "run.log_every=2", "run.batch=16", "data.size=8", "run.sample_every=100",
    "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.category_critic.hidden=[8]",
    "model.style_critic.hidden=[8]",
)  # fmt: skip


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize(
    ("recipe", "row"),
    [
        ("aae_clustering", "K = 30 + consistency + information"),
        ("aae_clustering", "K = 30 from k-means of codes"),
        ("aae_clustering_literal", "K = 30"),
    ],
)
def test_a_run_resumes_bit_for_bit(recipe, row, tmp_path):
    plan = genprior.load_recipe(recipe, changes=["quick"], settings=[*SMALL, "scores=[]"]).row(row)
    Trainer(plan, 3, tmp_path / "once").run()
    Trainer(plan, 3, tmp_path / "twice").run(until=3)
    Trainer(plan, 3, tmp_path / "twice").run()
    once, twice = (
        load_file(sorted((tmp_path / name / "checkpoints").glob("*.safetensors"))[-1]) for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []
