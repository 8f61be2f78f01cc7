"""Models with the priors gaussian_mixture, student_t and sphere: steps, and spaces of densities that do not fit."""

from __future__ import annotations

import pytest
import torch

import genprior
from genprior.engine.step import run_phase
from genprior.errors import GenpriorWarning, PlanError, RecipeError
from genprior.launch.preflight import preflight
from genprior.parts import Encoder
from genprior.runs.trainer import Trainer
from genprior.testing import check_model
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.sphere import Sphere
from genprior_std.reconstruction.pixel import Pixel

RECIPE = """
[run]
steps = 4
batch = 8
checkpoint_every = 2
log_every = 2
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-3
[model]
"""
LIKELIHOOD = """
code_size = 4
prior = {{ name = "gaussian" }}
encoder = {{ name = "mlp", hidden = [16], batch_norm = true, posterior = "gaussian" }}
decoder = {{ name = "mlp", hidden = [16] }}
reconstruction = {{ name = "pixel", metric = "gaussian", sigma = 0.5, reduction = "sum" }}
name = "{}"
"""
MODELS = {
    "vae": LIKELIHOOD.format("vae"),
    "iwae": LIKELIHOOD.format("iwae"),
    "aae": """
name = "aae"
code_size = 4
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [16], batch_norm = true }
decoder = { name = "mlp", hidden = [16] }
code_critic = { name = "code_mlp", hidden = [16] }
code_game = { name = "nonsaturating" }
image_critic = { name = "image_mlp", hidden = [16] }
image_game = { name = "nonsaturating" }
reconstruction = { name = "pixel" }
""",
    "gan": """
name = "gan"
code_size = 4
prior = { name = "gaussian" }
decoder = { name = "mlp", hidden = [16] }
image_critic = { name = "image_mlp", hidden = [16] }
game = { name = "nonsaturating" }
""",
}
MIXTURE = 'model.prior={name="gaussian_mixture",components=5}'
CODES = 'model.prior={name="gaussian_mixture",components=5,start="codes",covariance="full"}'
STUDENT = 'model.prior={name="student_t",learned=true}'
SPHERE = 'model.prior={name="sphere"}'
FISHER = 'model.encoder.posterior="von_mises_fisher"'


@pytest.fixture
def recipe(tmp_path):
    def of(model, *settings):
        path = tmp_path / "joint.toml"
        path.write_text(RECIPE + MODELS[model] + '[[row]]\nlabel = "row"\n')
        return genprior.load_recipe(path, settings=settings)

    return of


@pytest.fixture
def trainer_of(recipe, tmp_path):
    def prepared(model, *settings):
        trainer = Trainer(recipe(model, *settings).row("row"), 0, tmp_path)
        trainer.prepare()
        return trainer

    return prepared


def take_steps(trainer):
    """Three steps; the weights of prior and encoder before them."""
    before = {name: [p.detach().clone() for p in trainer.modules[name].parameters()] for name in ("prior", "encoder")}
    for step in range(3):
        for phase in trainer.phases:
            run_phase(phase, trainer.data.batch(step), trainer.modules, trainer.optimisers)
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    assert genprior.generate(trainer.model, 3, seed=0).shape == (3, 1, 8, 8)
    return before


@pytest.mark.parametrize("model", ["vae", "iwae"])
@pytest.mark.parametrize(
    ("settings", "learns"),
    [
        ([MIXTURE], True),
        ([CODES], True),
        ([STUDENT], True),
        ([SPHERE, FISHER], False),
        (['model.prior={name="vampprior",components=5,std=0.3}', FISHER], True),
    ],
)
def test_a_model_trained_by_likelihood_takes_steps_with_it(model, settings, learns, trainer_of):
    trainer = trainer_of(model, *settings)
    before = take_steps(trainer)["prior"]
    assert bool(before) == learns
    assert all(not torch.equal(old, now) for old, now in zip(before, trainer.model.prior.parameters(), strict=True))


@pytest.mark.parametrize("settings", [[MIXTURE], [CODES], [STUDENT], [SPHERE], [SPHERE, FISHER]])
def test_an_adversarial_autoencoder_takes_steps_with_it(settings, trainer_of):
    trainer = trainer_of("aae", *settings)
    before = take_steps(trainer)["encoder"]
    assert any(not torch.equal(old, now) for old, now in zip(before, trainer.model.encoder.parameters(), strict=True))


@pytest.mark.parametrize("settings", [MIXTURE, STUDENT])
def test_an_adversarial_autoencoder_improves_it_through_its_samples(settings, trainer_of):
    trainer = trainer_of("aae", settings, "model.improves.prior=true")
    before = dict(zip(dict(trainer.model.prior.named_parameters()), take_steps(trainer)["prior"], strict=True))
    moved = {name for name, p in trainer.model.prior.named_parameters() if not torch.equal(p, before[name])}
    assert moved == before.keys() - {"logits"}  # a sample passes no gradient to the weights of a mixture


@pytest.mark.parametrize("model", ["vae", "iwae"])
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            [SPHERE],
            "all of space, with a density per volume, and prior 'sphere' on the unit sphere, with a density per "
            "surface. Set posterior = \"von_mises_fisher\" in the encoder's table, or use prior 'gaussian'",
        ),
        (
            [FISHER],
            "the unit sphere, with a density per surface, and prior 'gaussian' on all of space, with a density per "
            "volume. Use prior 'sphere', or set posterior = \"gaussian\" in the encoder's table",
        ),
    ],
)
def test_a_prior_and_a_posterior_on_different_spaces_are_refused(model, settings, text, recipe):
    with pytest.raises((PlanError, RecipeError)) as caught:
        preflight(recipe(model, *settings))
    assert f"model '{model}' compares the densities of a code under prior and posterior, which must lie on one " in str(
        caught.value
    )
    assert f"space: the posterior of encoder 'mlp' lies on {text}" in str(caught.value)


@pytest.mark.parametrize("model", ["vae", "iwae"])
def test_a_prior_with_a_bounded_support_is_refused_before_training(model, recipe):
    with pytest.raises((PlanError, RecipeError)) as caught:
        preflight(recipe(model, 'model.prior={name="uniform"}'))
    assert (
        f"model '{model}' needs the density of the prior at codes of the posterior: that of encoder 'mlp' reaches all "
        "of space, and prior 'uniform' has a density of 0 outside of a bounded part, so the KL is infinite. Use a "
        "prior with a density everywhere, such as 'gaussian', or model 'aae', which only draws from its prior"
    ) in str(caught.value)


class Undeclared(Encoder):
    """An encoder that does not state the class of its posterior, a Gaussian."""

    name = "undeclared"

    def forward(self, x, known):
        zeros = x.new_zeros(len(x), self.sizes.code)
        return GaussianPosterior(zeros, zeros)


def test_a_posterior_that_was_not_stated_is_refused_at_the_first_batch():
    config = VariationalAutoencoder.Config(
        code_size=3,
        prior=Sphere.Config(),
        encoder=Undeclared.Config(),
        decoder=MlpDecoder.Config(hidden=(8,)),
        reconstruction=Pixel.Config(metric="gaussian", sigma=0.5, reduction="sum"),
    )
    with pytest.raises(
        Exception, match="encoder 'undeclared' lies on all of space, with a density per volume, and prior"
    ):
        check_model(config)


def test_a_model_on_the_sphere_keeps_the_contract_of_models():
    check_model(
        VariationalAutoencoder.Config(
            code_size=3,
            prior=Sphere.Config(),
            encoder=MlpEncoder.Config(hidden=(8,), posterior="von_mises_fisher"),
            decoder=MlpDecoder.Config(hidden=(8,)),
            reconstruction=Pixel.Config(metric="gaussian", sigma=0.5, reduction="sum"),
        )
    )


def test_a_start_from_more_codes_than_images_is_refused(trainer_of):
    with pytest.raises(PlanError, match=r"has components = 5000 and start = \"codes\", so it needs codes of as many"):
        trainer_of("vae", CODES.replace("components=5", "components=5000"))


def test_only_the_start_from_codes_needs_an_encoder(recipe):
    with pytest.warns(GenpriorWarning, match=r"no phase of model 'gan' \('judge', 'generate'\) trains prior\.logits"):
        preflight(recipe("gan", MIXTURE))
    with pytest.raises(
        RecipeError, match=r"'gaussian_mixture' borrows 'encoder', which model 'gan' does not lend here"
    ):
        preflight(recipe("gan", CODES))
