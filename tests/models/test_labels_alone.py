"""The baseline of labelled images alone: its loss, that it equals the models it is compared with, old runs."""

from __future__ import annotations

import json
import tomllib

import pytest
import tomlkit
import torch
from torch.nn.functional import cross_entropy

import genprior
from genprior.engine.build import build_model
from genprior.engine.sampling import generate
from genprior.engine.step import run_phase
from genprior.errors import PlanError, RecipeError
from genprior.launch.preflight import preflight
from genprior.parts import Batch, DataInfo
from genprior.recipe.plan import Plan
from genprior.registry import installed
from genprior.runs.folder import RunFolder
from genprior.runs.trainer import Trainer
from genprior.storage import checkpoint
from genprior.testing import check_model
from genprior_std.models.aae_dimension_reduction import DimensionReductionAutoencoder
from genprior_std.models.aae_semi_supervised import SemiSupervisedAutoencoder
from genprior_std.models.labels_alone import LabelledClassifier
from genprior_std.networks.mlp_encoder import MlpEncoder

from .small_categorical_aae import INFO, STYLE, batch_of, gradients, hidden, model_of, moved, phase_of, sgd, snapshot

K = 3
LOGITS = {"style_size": STYLE}
SOFTMAX = {"posterior": "softmax"}
RECIPE = """
title = "few labels"
scores = [{ name = "error_rate" }]
[run]
steps = 6
batch = 16
labels = 40
ema = 0.9
checkpoint_every = 3
log_every = 3
sample_every = 3
[data]
name = "digits"
size = 8
validation = 300
[optimiser]
default.lr = 1e-2
category_critic.lr = 1e-3
[model]
name = "aae_semi_supervised"
code_size = 4
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [16], batch_norm = true, input_noise = 0.3 }
decoder = { name = "mlp", hidden = [16], batch_norm = true }
category_critic = { name = "code_mlp", hidden = [16] }
style_critic = { name = "code_mlp", hidden = [16] }
image_critic = { name = "image_mlp", hidden = [16] }
reconstruction = { name = "pixel" }
category_game = { name = "nonsaturating" }
style_game = { name = "nonsaturating" }
image_game = { name = "nonsaturating" }
labels_alone = true
"""
"""A recipe of version 0.1."""


def config(posterior="point", **changes):
    return LabelledClassifier.Config(
        **{"encoder": MlpEncoder.Config(hidden=(8,), activation="tanh", posterior=posterior), **changes}
    )


def alone(info=INFO, **changes):
    return build_model(config(**changes), info, 0).double().train()


@pytest.fixture
def old_recipe(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text(RECIPE)
    return path


# ---------------------------------------------------------------------------------------------------------------------
# What it learns
# ---------------------------------------------------------------------------------------------------------------------


def test_it_keeps_the_contract_of_a_model():
    check_model(config())
    check_model(config(**LOGITS))
    check_model(config(**SOFTMAX))


@pytest.mark.parametrize("changes", [{}, LOGITS, SOFTMAX], ids=["logits", "style", "softmax"])
def test_its_one_phase_moves_the_encoder_and_it_has_nothing_else(changes):
    model = alone(**changes)
    assert list(dict(model.named_children())) == ["encoder"]
    (phase,) = model.phases()
    before = snapshot(model)
    run_phase(phase, batch_of(), dict(model.named_children()), sgd(model))
    assert (phase.name, moved(model, before)) == ("classify", {"encoder"})


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("changes", [{}, LOGITS, SOFTMAX], ids=["logits", "style", "softmax"])
def test_it_descends_torchs_cross_entropy_of_the_labelled_images(changes, few):
    model, labelled = alone(label_weight=0.6, **changes), batch_of(4, seed=5)
    objectives = phase_of(model, "classify").objectives(hidden(batch_of(), labelled) if few else labelled)
    encoder = model.encoder
    logits = encoder.to_code(encoder.layers(labelled.x.flatten(1)))[:, :K]
    expected = cross_entropy(logits, labelled.y)
    torch.testing.assert_close(objectives.note["cross_entropy"], expected)
    torch.testing.assert_close(objectives["encoder"], 0.6 * expected)
    ours, theirs = (gradients(loss, encoder) for loss in (objectives["encoder"], 0.6 * expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(model.classify(labelled), logits.exp() / logits.exp().sum(1, keepdim=True))
    assert torch.equal(model.classify(labelled), model.clusters(labelled))


@pytest.mark.parametrize(
    ("whole", "style"),
    [(SemiSupervisedAutoencoder, {}), (DimensionReductionAutoencoder, {"labels": True})],
    ids=["few labels", "few dimensions"],
)
def test_it_is_the_phase_of_the_labels_of_the_model_that_it_is_compared_with(whole, style):
    """From the same weights, down the same gradient, to the same answers."""
    model, batch = alone(**LOGITS), batch_of()
    other = model_of(whole, **style)
    ours, theirs = model.encoder.state_dict(), other.encoder.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    losses = [phase_of(m, "classify").objectives(batch)["encoder"] for m in (model, other)]
    assert torch.equal(*losses)
    for a, b in zip(gradients(losses[0], model.encoder), gradients(losses[1], other.encoder), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(model.classify(batch), other.classify(batch))


def test_a_class_that_is_ruled_out_costs_a_finite_number():
    model, batch = alone(**SOFTMAX), batch_of()
    with torch.no_grad():
        model.encoder.to_code.weight.zero_()
        model.encoder.to_code.bias.copy_(torch.tensor([0.0, 0.0, -2000.0]))
    loss = phase_of(model, "classify").objectives(batch)["encoder"]
    assert bool((model.classify(batch)[:, 2] == 0).all()) and bool(loss.isfinite())
    assert all(bool(g.isfinite().all()) for g in gradients(loss, model.encoder))


def test_a_category_is_at_least_in_single_precision():
    model, batch = alone().float(), Batch(batch_of().x.float(), batch_of().y)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.classify(batch).dtype == torch.float32
        assert phase_of(model, "classify").objectives(batch)["encoder"].dtype == torch.float32


# ---------------------------------------------------------------------------------------------------------------------
# What it refuses
# ---------------------------------------------------------------------------------------------------------------------


def test_it_makes_no_images_and_says_what_to_do():
    model = alone()
    text = (
        r"^model 'labels_alone' cannot make images: .* Score it by 'error_rate' or "
        r"'cluster_error', or sample from a model that it is compared with, such as 'aae_semi_supervised'$"
    )
    with pytest.raises(PlanError, match=text):
        model.condition(torch.zeros(2))
    with pytest.raises(PlanError, match=text):
        model.generate(None)
    with pytest.raises(PlanError, match=text):
        generate(model, 3, seed=0)
    batch = batch_of()
    assert model.encode(batch) is model.reconstruct(batch) is model.cluster_heads() is None
    assert model.walk(3, batch.x) is model.draw_codes(None) is None


def test_a_softmax_over_the_style_too_is_refused():
    with pytest.raises(PlanError, match=r"'labels_alone' takes the softmax of the first K.*posterior = \"point\""):
        alone(**SOFTMAX, **LOGITS)


def test_data_without_classes_is_refused():
    with pytest.raises(PlanError, match=r"'labels_alone' learns classes from labels; this data set has no classes"):
        alone(info=DataInfo((1, 4, 4), ()))


def test_more_classes_than_images_are_refused():
    def draw(n):
        raise PlanError("2 images")

    with pytest.raises(
        PlanError, match=r"'labels_alone' has 3 categories, one for each class.*Use a data set with more images"
    ):
        alone().begin(draw)


def test_a_score_of_images_is_refused_before_training(old_recipe):
    recipe = genprior.load_recipe(old_recipe, settings=['scores=[{name="kid"}]'])
    with pytest.raises(
        RecipeError, match=r"score 'kid' needs generated images, but model 'labels_alone' makes none\. Leave the"
    ):
        preflight(recipe)


# ---------------------------------------------------------------------------------------------------------------------
# Rows, run folders and checkpoints of version 0.1, in which it was a setting of three models
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "own", "style"),
    [
        ("aae_semi_supervised", {"code_size": 10}, 10),
        ("aae_semi_supervised", {}, 5),
        ("aae_dimension_reduction", {"labels": True, "eta": 1.0}, 2),
        ("pixelgan_semi_supervised", {"code_size": 10}, 0),
    ],
)
def test_a_row_of_version_0_1_is_one_of_this_model(name, own, style):
    encoder = {"name": "mlp", "hidden": [7]}
    adam = {"name": "adam", "lr": 1e-3}
    row = {
        "label": "alone",
        "run": {"steps": 3},
        "data": {"name": "digits"},
        "optimiser": {"default": adam, "encoder": adam, "style_critic": adam},
        "model": {
            "name": name,
            **own,
            "encoder": encoder,
            "label_weight": 0.5,
            "rec_weight": 20.0,
            "labels_alone": True,
        },
    }
    kept = json.loads(json.dumps(row))
    plan = Plan.model_validate(row, context={"registry": installed()})
    assert row == kept
    assert isinstance(plan.model, LabelledClassifier.Config)
    assert (plan.model.style_size, plan.model.label_weight, plan.model.encoder.hidden) == (style, 0.5, (7,))
    assert set(plan.optimiser) == {"default", "encoder"}
    resolved = {**plan.as_table(), "model": {**row["model"], "encoder": plan.as_table()["model"]["encoder"]}}
    resolved["optimiser"]["style_critic"] = adam
    assert plan.differences(resolved) == []
    other = {**resolved, "model": {**resolved["model"], "label_weight": 0.4}}
    assert plan.differences(other) == ["model.label_weight: was 0.4, is 0.5"]


def test_other_rows_are_left_as_they_are(old_recipe):
    old_recipe.write_text(RECIPE.replace("labels_alone = true", "labels_alone = false"))
    (plan,) = genprior.load_recipe(old_recipe).plans
    assert plan.model.name == "aae_semi_supervised" and "category_critic" in plan.optimiser
    assert "labels_alone" not in plan.as_table()["model"]
    assert plan.differences({**plan.as_table(), "model": {**plan.as_table()["model"], "labels_alone": False}}) == []


def as_version_0_1_wrote_it(folder):
    """Rewrite a run folder: the whole model's row, and a checkpoint with the modules that nothing trained."""
    now = tomllib.loads((folder / "recipe.toml").read_text())
    old = tomllib.loads(RECIPE)
    table = {**now, "model": {**old["model"], "label_weight": 1.0, "encoder": now["model"]["encoder"]}}
    table["optimiser"] = {**now["optimiser"], "category_critic": {**now["optimiser"]["default"], "lr": 1e-3}}
    (folder / "recipe.toml").write_text(tomlkit.dumps(table))
    path = checkpoint.latest(folder / "checkpoints")
    saved = checkpoint.read(path)
    spare = {
        f"{kind}/{module}.weight": torch.ones(3) for kind in ("model", "average") for module in ("decoder", "prior")
    }
    facts = {key: value for key, value in saved.facts.items() if key not in ("step", "sha256")}
    checkpoint.write(folder / "checkpoints", saved.step, {**saved.tensors, **spare}, facts)


def test_a_run_folder_of_version_0_1_is_read_and_resumed(old_recipe, tmp_path):
    (plan,) = genprior.load_recipe(old_recipe).plans
    whole, resumed = Trainer(plan, 0, tmp_path / "whole"), Trainer(plan, 0, tmp_path / "resumed")
    scores = whole.run()
    Trainer(plan, 0, resumed.folder).run(until=3)
    as_version_0_1_wrote_it(resumed.folder)
    run = genprior.load_run(resumed.folder)
    assert run.plan == plan and run.model.classify(Batch(torch.zeros(2, 1, 8, 8), torch.zeros(2))).shape == (2, 10)
    with pytest.raises(PlanError, match="model 'labels_alone' cannot make images"):
        run.sample(3)
    assert resumed.run() == scores
    ours, theirs = (
        checkpoint.read(checkpoint.latest(trainer.folder / "checkpoints")).tensors for trainer in (resumed, whole)
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    as_version_0_1_wrote_it(resumed.folder)
    assert RunFolder(resumed.folder).finished(plan)
    assert Trainer(plan, 0, resumed.folder).run() == scores


def test_other_tensors_that_it_lacks_are_no_checkpoint_of_it():
    model = alone()
    state = model.state_dict()
    model.load_state_dict({**state, "decoder.weight": torch.ones(2), "heads.weight": torch.ones(2)})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*encoder\.spare"):
        model.load_state_dict({**state, "encoder.spare": torch.ones(2)})
    assert "decoder.weight" not in model.state_dict()


def test_a_run_draws_no_samples_and_its_table_no_picture(old_recipe, tmp_path):
    recipe = genprior.load_recipe(old_recipe)
    genprior.train(recipe, out=tmp_path / "out", jobs=1)
    names = {path.name for path in (tmp_path / "out" / "base" / "seed-0" / "samples").iterdir()}
    assert names == {"real.png", "curves.png", "clusters.png"}
    assert not (tmp_path / "out" / "rows.png").exists() and "rows.png" not in (tmp_path / "out/table.html").read_text()
    assert genprior.load_run(tmp_path / "out/base/seed-0").plan.model.name == "labels_alone"
