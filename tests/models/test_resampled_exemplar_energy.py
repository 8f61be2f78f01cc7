"""Priors that are trained jointly with a model: exemplar, resampled and latent_ebm in the models that take them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import genprior
from genprior.engine.step import run_phase
from genprior.errors import PlanError, ScoreError
from genprior.runs.trainer import Trainer

from ..small import moved, sgd, snapshot

BASE = """
[run]
steps = 6
batch = 8
checkpoint_every = 3
log_every = 3
ema = 0.9
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
"""
LATENT = """
code_size = 4
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [16], batch_norm = true, posterior = "gaussian" }
reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.5, reduction = "sum" }
"""
PRIORS = {
    "exemplar": '{name="exemplar",exemplars=300,subset=40,variance=0.5}',
    "resampled": '{name="resampled",hidden=[8],draws=20,normaliser_samples=64}',
    "latent_ebm": '{name="latent_ebm",hidden=[8],langevin_steps=4,step_size=0.3}',
}
DECODER = 'decoder = { name = "mlp", hidden = [16], batch_norm = true }\nconditioner = { name = "none" }\n'
MODELS = {
    "vae": LATENT + DECODER + "warmup = 4\n",
    "iwae": LATENT + DECODER + "importance_samples = 2\n",
    "hvae": LATENT
    + """inner_code_size = 3
inner_encoder = { name = "mlp", hidden = [16], posterior = "gaussian", conditional = true }
decoder = { name = "mlp", hidden = [16], conditional = true }
""",
}
PAIRS = [("vae", prior) for prior in PRIORS] + [("iwae", "exemplar"), ("hvae", "exemplar"), ("iwae", "resampled")]


@pytest.fixture
def plan(tmp_path):
    def row(model, prior, *settings):
        path = tmp_path / "joint.toml"
        path.write_text(f'{BASE}[model]\nname = "{model}"\n{MODELS[model]}[[row]]\nlabel = "one"\n')
        return genprior.load_recipe(path, settings=[f"model.prior={PRIORS[prior]}", *settings]).row("one")

    return row


@pytest.mark.parametrize(("model", "prior"), PAIRS)
def test_a_step_moves_networks_and_prior(model, prior, plan, tmp_path):
    trainer = Trainer(plan(model, prior), 0, tmp_path / "run")
    trainer.prepare()
    before = snapshot(trainer.modules)
    (phase,) = trainer.phases
    result = run_phase(phase, trainer.data.batch(0), trainer.modules, sgd(trainer.modules, lr=0.01))
    assert (f"{phase.name}/kl" in result.keys) == (prior != "latent_ebm")
    assert (f"{phase.name}/kl_without_entropy" in result.keys) == (prior == "latent_ebm")
    inner = {"inner_encoder", "inner_prior"} if model == "hvae" else set()
    assert moved(trainer.modules, before) == {"encoder", "decoder", "prior"} | inner


@pytest.mark.parametrize(("model", "prior"), PAIRS)
def test_six_steps_equal_three_and_three_bit_for_bit(model, prior, plan, tmp_path):
    row = plan(model, prior)
    Trainer(row, 3, tmp_path / "once").run()
    Trainer(row, 3, tmp_path / "twice").run(until=3)
    Trainer(row, 3, tmp_path / "twice").run()
    once, twice = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006.safetensors") for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []


@pytest.mark.parametrize("prior", PRIORS)
def test_a_loaded_run_samples_what_the_trainer_sampled(prior, plan, tmp_path):
    trainer = Trainer(plan("vae", prior), 3, tmp_path / "run")
    trainer.run()
    assert torch.equal(genprior.load_run(tmp_path / "run").sample(5, seed=2), trainer.sample(5, seed=2))


def test_averages_hold_no_copy_of_the_exemplars(plan, tmp_path):
    trainer = Trainer(plan("vae", "exemplar"), 3, tmp_path / "run")
    trainer.run()
    saved = load_file(tmp_path / "run" / "checkpoints" / "step-00000006.safetensors")
    exemplars = [key for key, value in saved.items() if value.dtype == torch.uint8 and value.numel() == 300 * 64]
    assert exemplars == ["model/prior.images._extra_state"]


def test_the_vae_leaves_each_image_out_of_its_own_mixture(plan, tmp_path):
    """The density at the codes that the bound draws, against all other training images, one variance around each."""
    trainer = Trainer(plan("vae", "exemplar", "model.prior.exemplars=1437", "model.prior.subset=1437"), 0, tmp_path)
    trainer.prepare()
    batch = trainer.data.batch(0)
    model = trainer.model.eval()
    with torch.no_grad():
        draws = model.infer(batch).draw(3)
        means = model.encode(batch._replace(x=trainer.images("train").images / 127.5 - 1)).double()
    squares = (draws.z.double()[:, :, None] - means).square().sum(-1)
    density = torch.exp(-0.5 * squares / 0.5) / (2 * torch.pi * 0.5) ** 2
    for i, own in enumerate(batch.index.tolist()):
        others = [k for k in range(1437) if k != own]
        assert torch.allclose(draws.log_prior[:, i].double(), density[:, i, others].mean(-1).log(), atol=1e-4)


@pytest.mark.parametrize("score", ["elbo", "nll"])
def test_scores_of_likelihood_refuse_an_energy(score, plan, tmp_path):
    row = plan("vae", "latent_ebm")
    Trainer(row, 0, tmp_path / "run").run()
    with pytest.raises(ScoreError) as caught:
        genprior.load_run(tmp_path / "run").score(score)
    assert (
        "it needs log p(z), and prior 'latent_ebm' of this model 'vae' has no log_prob: it can only be sampled, or its "
        "density is known only up to a constant. Use a prior with a density ('gaussian', 'resampled', 'vampprior'), or "
        "score the images with 'parzen' or 'classifier_score'"
    ) in str(caught.value)


def test_active_units_need_no_density_of_the_prior(plan, tmp_path):
    Trainer(plan("vae", "latent_ebm"), 0, tmp_path / "run").run()
    assert 0 <= genprior.load_run(tmp_path / "run").score("active_units")["active_units"] <= 4


@pytest.mark.parametrize("model", ["iwae", "hvae"])
def test_models_that_need_numbers_of_a_density_refuse_an_energy(model, plan, tmp_path):
    with pytest.raises(PlanError) as caught:
        Trainer(plan(model, "latent_ebm"), 0, tmp_path / "run").prepare()
    assert (
        f"model '{model}' needs a prior with log_prob; 'latent_ebm' has an energy, which is -log p(z) only up to a "
        "constant. Use model 'vae', which needs no more than its gradients, or a prior with a density ('gaussian', "
        "'resampled', 'vampprior')"
    ) in str(caught.value)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("model", ["aae", "vae"])
def test_they_train_in_half_precision(model, prior, plan, tiny_plan, tmp_path):
    settings = (f"model.prior={PRIORS[prior]}", 'run.precision="bf16"')
    row = tiny_plan("AAE", *settings) if model == "aae" else plan("vae", prior, 'run.precision="bf16"')
    trainer = Trainer(row, 0, tmp_path / "run")
    trainer.prepare()
    trainer.one_step()
    trainer.check()
    assert trainer.sample(3).shape == (3, 1, 8, 8)


@pytest.mark.parametrize("prior", ["resampled", "latent_ebm"])
def test_an_adversarial_autoencoder_samples_them_and_does_not_train_them_by_images(prior, tiny_plan, tmp_path):
    own = f"model.prior={PRIORS[prior]}"
    trainer = Trainer(tiny_plan("AAE", own), 0, tmp_path / "run")
    trainer.run()
    assert trainer.sample(3).shape == (3, 1, 8, 8)
    with pytest.raises(PlanError) as caught:
        Trainer(tiny_plan("A+B+C", own), 0, tmp_path / "other").prepare()
    assert (
        f"model 'aae' with improves.prior = true trains the prior by images of its samples, and samples of prior "
        f"'{prior}' have no gradient in its parameters. Leave improves.prior out, or use a prior that learns through "
        "its samples ('code_generator', 'flow')"
    ) in str(caught.value)
