"""VAE/GAN as a whole: the contract of a model, resuming, learning, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from genprior.engine.build import build_model
from genprior.errors import PlanError
from genprior.parts import Batch, Critic
from genprior.recipe.plan import Plan, RunConfig
from genprior.registry import installed
from genprior.runs.trainer import Trainer
from genprior.testing import check_model
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.label import Label
from genprior_std.datasets.digits import Digits
from genprior_std.games.hinge import Hinge
from genprior_std.games.least_squares import LeastSquares
from genprior_std.games.minimax import Minimax
from genprior_std.networks.image_convolutional import ConvolutionalImageCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.pixel import Pixel

from .small_vae_gan import (
    INFO,
    config,
    model_of,
    similarity,
)

# ---------------------------------------------------------------------------------------------------------------------
# The contract, and how a run goes on
# ---------------------------------------------------------------------------------------------------------------------

VARIANTS = {
    "plain": {},
    "gate": {"gate": True, "game": Minimax.Config()},
    "vampprior": {"prior": VampPrior.Config(components=3, std=0.5)},
    "label": {"conditioner": Label.Config(), "decoder": MlpDecoder.Config(hidden=(6,), conditional=True)},
    "hinge": {"game": Hinge.Config(), "reconstruction_as_fake": False},
    "pixels": {"reconstruction": Pixel.Config(reduction="sum"), "game": LeastSquares.Config()},
    "batch norm": {
        "encoder": MlpEncoder.Config(hidden=(6,), posterior="gaussian", batch_norm=True),
        "decoder": MlpDecoder.Config(hidden=(6,), batch_norm=True),
        "image_critic": ConvolutionalImageCritic.Config(width=4, hidden=8),
        "reconstruction": similarity(layer="conv2"),
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_contract_of_a_model(variant):
    check_model(config(**VARIANTS[variant]), INFO._replace(image=(1, 8, 8)))


def plan(prior, steps=6, optimiser=None, **changes):
    parts = {
        "code_size": 4,
        "prior": prior,
        "encoder": MlpEncoder.Config(hidden=(32,), posterior="gaussian", batch_norm=True),
        "decoder": MlpDecoder.Config(hidden=(32,), batch_norm=True),
        "image_critic": MlpImageCritic.Config(hidden=(32, 16)),
    }
    model = config(**{**parts, **changes})
    run = RunConfig(steps=steps, batch=16, checkpoint_every=3, log_every=3, sample_every=3, ema=0.9)
    given = {"default": optimiser or {"name": "rmsprop", "lr": 1e-3}}
    row = {"label": "VAE/GAN", "run": run, "data": Digits.Config(size=8), "optimiser": given, "model": model}
    return Plan.model_validate(row, context={"registry": installed()})


@pytest.mark.parametrize("prior", [Gaussian.Config(), VampPrior.Config(components=3, std=0.5)], ids=lambda p: p.name)
def test_six_steps_equal_three_and_three_bit_for_bit(prior, tmp_path):
    row = plan(prior, gate=True)
    Trainer(row, 3, tmp_path / "once").run()
    Trainer(row, 3, tmp_path / "twice").run(until=3)
    Trainer(row, 3, tmp_path / "twice").run()
    once, twice = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006.safetensors") for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []
    first = load_file(tmp_path / "once" / "checkpoints" / "step-00000003.safetensors")
    assert not torch.equal(first["model/decoder.to_image.0.weight"], once["model/decoder.to_image.0.weight"])


def test_a_few_hundred_steps_reconstruct_better_than_the_mean_image_does(tmp_path):
    """The encoder and the decoder see no error of a pixel: what is alike in features comes to be alike in pixels."""
    nets = {
        "code_size": 16,
        "encoder": MlpEncoder.Config(hidden=(64,), posterior="gaussian"),
        "decoder": MlpDecoder.Config(hidden=(64,)),
        "image_critic": MlpImageCritic.Config(hidden=(64, 16)),
    }
    row = plan(Gaussian.Config(), 400, {"lr": 2e-3}, gamma=1.0, beta=0.01, gate=True, **nets)
    trainer = Trainer(row, 0, tmp_path)
    trainer.prepare()
    for _ in range(400):
        trainer.one_step()
    trainer.recorder.check("VAE/GAN")
    x = trainer.images("train").images.float() / 127.5 - 1
    with torch.no_grad():
        rec = trainer.model.eval().reconstruct(Batch(x, trainer.images("train").labels))
    error, of_the_mean = (rec - x).square().mean(), (x - x.mean(0)).square().mean()
    assert float(error) < 0.6 * float(of_the_mean)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------


class Blind(Critic):
    """A critic without features."""

    name = "blind"

    def forward(self, x, known):
        return x.flatten(1).sum(1)


REFUSED = {
    "a prior without a density": (
        {"prior": CodeGenerator.Config()},
        "model 'vae_gan' needs a prior with log_prob; 'code_generator' can only be sampled (use model 'aae')",
    ),
    "a critic without features": (
        {"image_critic": Blind.Config()},
        "reconstruction 'learned_similarity' compares features of the image critic; critic 'blind' has none. "
        "Use an image critic with features, or reconstruction 'pixel'",
    ),
    "the logit as a feature": (
        {"reconstruction": similarity(layer="head")},
        "reconstruction 'learned_similarity' compares layer 'head', which critic 'image_mlp' does not have. "
        "Possible: hidden1, hidden2",
    ),
    "a mean over features": (
        {"reconstruction": similarity(reduction="mean")},
        "model 'vae_gan' needs an error summed over a whole image beside a KL of a whole code; reconstruction "
        '\'learned_similarity\' has reduction = "mean", an average. Set reduction = "sum" in the reconstruction\'s '
        "table; to give it less weight, raise beta and lower gamma",
    ),
    "a gate on logits of another kind": (
        {"gate": True, "game": Hinge.Config()},
        "model 'vae_gan' with gate = true compares cross-entropies of the critic's logits with gate_equilibrium; game "
        "'hinge' trains the critic by another loss. Use game 'nonsaturating' or 'minimax', or leave gate out",
    ),
    "a conditioner that would have to learn": (
        {"conditioner": InfoGAN.Config()},
        "model 'vae_gan' has no loss that trains a conditioner, and conditioner 'infogan' has parameters. "
        "Use conditioner 'none' or 'label', or model 'aae'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_do_not_fit_are_refused_when_the_model_is_built(name):
    changes, text = REFUSED[name]
    with pytest.raises(PlanError) as caught:
        build_model(config(**changes), INFO, 0)
    assert str(caught.value) == text


def test_an_encoder_without_a_density_is_refused():
    with pytest.raises(PlanError) as caught:
        model_of(encoder=MlpEncoder.Config(hidden=(6,)))
    assert str(caught.value) == (
        "model 'vae_gan' needs an encoder whose posterior has a density; encoder 'mlp' gives each image a single code. "
        "Set posterior = \"gaussian\" in the encoder's table, or use model 'aae'"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 0.0},
        {"beta": math.inf},
        {"gamma": -1.0},
        {"gate_equilibrium": 0.0},
        {"gate_margin": -0.1},
        {"code_size": 0},
        {"gate_margn": 0.1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        config(**wrong)
