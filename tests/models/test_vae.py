"""The variational autoencoder: its bound against closed forms, updated modules, resuming, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import genprior
from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.errors import PlanError, RecipeError
from genprior.launch.preflight import preflight
from genprior.parts import Batch, DataInfo, Decoder, Encoder
from genprior.runs.trainer import Trainer
from genprior.testing import check_model
from genprior_std.conditioners.none import NoCondition
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 2, 3), ())
CODE = 2
SIGMA = 0.4

PLAN = """
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
[model]
name = "vae"
code_size = 4
prior = { name = "gaussian" }
encoder = { name = "mlp", hidden = [16], batch_norm = true, posterior = "gaussian" }
decoder = { name = "mlp", hidden = [16], batch_norm = true }
reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.5, reduction = "sum" }
conditioner = { name = "none" }
warmup = 4
[change.VampPrior.model]
prior = { name = "vampprior", components = 5, std = 0.3 }
[[row]]
label = "VAE"
[[row]]
label = "VampPrior"
changes = ["VampPrior"]
"""
ROWS = {"VAE": {"encoder", "decoder"}, "VampPrior": {"encoder", "decoder", "prior"}}


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "vae.toml"
    path.write_text(PLAN)
    return lambda label, *settings: genprior.load_recipe(path, settings=settings).row(label)


class LinearGaussian(Encoder):
    """q(z | x) = N(A x + c, diag(exp(v)))."""

    name = "linear_gaussian"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(math.prod(sizes.image), sizes.code)
        self.log_variance = nn.Parameter(torch.randn(sizes.code))

    def forward(self, x, known):
        m = self.layer(x.flatten(1))
        return GaussianPosterior(m, self.log_variance.expand_as(m))


class Linear(Decoder):
    """dec(z) = W z + b, not kept in the range of images, so that the bound has a closed form."""

    name = "linear"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.code, math.prod(sizes.image))

    def forward(self, z, known):
        return self.layer(z).view(len(z), *self.sizes.image)


def likelihood(**settings):
    return Pixel.Config(**{"metric": "gaussian", "sigma": SIGMA, "reduction": "sum", **settings})


def config(**changes):
    parts = {
        "prior": Gaussian.Config(),
        "encoder": LinearGaussian.Config(),
        "decoder": Linear.Config(),
        "reconstruction": likelihood(),
        "conditioner": NoCondition.Config(),
    }
    return VariationalAutoencoder.Config(code_size=CODE, **{**parts, **changes})


def model_of(info=INFO, **changes):
    model = build_model(config(**changes), info, 0)
    return model.double().train()


def batch_of(x):
    return Batch(x, torch.zeros(len(x), dtype=torch.int64))


def images(n, seed=1):
    torch.manual_seed(seed)
    return torch.rand(n, *INFO.image, dtype=torch.float64) * 2 - 1


# ---------------------------------------------------------------------------------------------------------------------
# The bound
# ---------------------------------------------------------------------------------------------------------------------


def closed_form(model, x, s=1.0):
    """Both terms of the negative bound of the linear Gaussian model with p(z) = N(0, s^2 I), averaged over x.

    E_q |x - W z - b|^2 = |x - W m - b|^2 + sum_j exp(v_j) |W_j|^2.
    """
    q = model.encoder(x, x.new_zeros(len(x), 0))
    m, v, w, b = q.mean, q.log_variance, model.decoder.layer.weight, model.decoder.layer.bias
    square = (x.flatten(1) - m @ w.T - b).square().sum(1) + v.exp() @ w.square().sum(0)
    rec = square / (2 * SIGMA**2) + math.prod(INFO.image) * math.log(SIGMA * math.sqrt(2 * math.pi))
    kl = 0.5 * ((v.exp() + m.square()) / s**2 - 1 - v + 2 * math.log(s)).sum(1)
    return rec.mean(), kl.mean()


@pytest.mark.parametrize(("beta", "s"), [(1.0, 1.0), (0.3, 1.7)])
def test_bound_and_gradient_are_those_of_the_closed_form(beta, s, monkeypatch):
    """Both terms are polynomials of degree two in the noise, and so is their gradient.

    The points +-sqrt(d) e_j integrate those exactly under N(0, I), so the estimate over them is the expectation itself.
    """
    model = model_of(beta=beta, prior=Gaussian.Config(sigma=s))
    x = images(5)
    points = math.sqrt(CODE) * torch.cat([torch.eye(CODE), -torch.eye(CODE)]).double()
    noise = points.repeat_interleave(len(x), 0)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise)
    result = model.elbo(batch_of(x.repeat(len(points), 1, 1, 1)))
    rec, kl = closed_form(model, x, s)
    torch.testing.assert_close(result.note["reconstruction"], rec, rtol=1e-10, atol=0)
    torch.testing.assert_close(result.note["kl"], kl, rtol=1e-10, atol=0)
    torch.testing.assert_close(result["encoder"], rec + beta * kl, rtol=1e-10, atol=0)
    assert result["decoder"] is result["encoder"]  # one backward pass serves both
    parameters = list(model.parameters())
    got = torch.autograd.grad(result["encoder"], parameters)
    expected = torch.autograd.grad(rec + beta * kl, parameters)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_estimate_is_right_in_expectation():
    """200 estimates of the KL from one image repeated 100 times, against its closed form.

    Refused at random with probability below 1e-5 (4.5 standard errors); the seed is fixed.
    """
    model = model_of()
    x = images(1)
    with torch.no_grad():
        _, kl = closed_form(model, x)
        torch.manual_seed(2)
        each = torch.stack([model.elbo(batch_of(x.expand(100, -1, -1, -1))).note["kl"] for _ in range(200)])
    assert abs(float(each.mean() - kl)) < 4.5 * float(each.std()) / math.sqrt(200)


def test_with_the_exact_posterior_every_draw_gives_log_p_of_x():
    """q = p(z | x) makes the bound tight, and the one-sample estimate free of variance: it is -log p(x) each time."""
    model = model_of()
    w, b = model.decoder.layer.weight, model.decoder.layer.bias
    with torch.no_grad():
        w.copy_(torch.linalg.qr(torch.randn(6, CODE, dtype=torch.float64))[0] * torch.tensor([1.5, 0.7]))
        variance = 1 / (1 + w.square().sum(0) / SIGMA**2)  # columns of W are orthogonal, so the posterior is diagonal
        model.encoder.log_variance.copy_(variance.log())
        model.encoder.layer.weight.copy_(variance[:, None] * w.T / SIGMA**2)
        model.encoder.layer.bias.copy_(-(variance[:, None] * w.T / SIGMA**2) @ b)
        x = images(4)
        marginal = torch.distributions.MultivariateNormal(b, w @ w.T + SIGMA**2 * torch.eye(6).double())
        expected = -marginal.log_prob(x.flatten(1)).mean()
        for _ in range(3):
            torch.testing.assert_close(model.elbo(batch_of(x))["encoder"], expected, rtol=1e-10, atol=0)


def test_a_vampprior_of_one_image_leaves_no_kl_for_that_image():
    """The only image is the only pseudo-input: q(z | x) = p(z), and the KL of a draw is 0 whatever the encoder is."""
    model = model_of(prior=VampPrior.Config(components=1))
    x = images(1)
    with torch.no_grad():
        model.prior.pseudo_inputs.copy_(x)
    objectives = model.elbo(batch_of(x.expand(20, -1, -1, -1)))
    assert objectives.note["kl"].abs() < 1e-12
    assert set(objectives) == {"encoder", "decoder", "prior"}
    for gradient in torch.autograd.grad(objectives.note["kl"], list(model.encoder.parameters())):
        assert gradient.abs().max() < 1e-12


def test_the_bernoulli_likelihood_is_that_of_torch():
    parts = {"reconstruction": Pixel.Config(metric="bernoulli", reduction="sum"), "decoder": MlpDecoder.Config()}
    model = model_of(INFO._replace(binary=True), **parts)
    x = images(6).sign()
    torch.manual_seed(3)
    rec = model.elbo(batch_of(x)).note["reconstruction"]
    torch.manual_seed(3)
    none = x.new_zeros(6, 0)
    p = (model.decoder(model.encoder(x, none).rsample(), none) + 1) / 2
    expected = -torch.distributions.Bernoulli(p).log_prob((x + 1) / 2).flatten(1).sum(1).mean()
    torch.testing.assert_close(rec, expected)


# ---------------------------------------------------------------------------------------------------------------------
# The warm-up
# ---------------------------------------------------------------------------------------------------------------------


def test_beta_rises_linearly_and_stays():
    model = model_of(beta=2.0, warmup=4)
    x = batch_of(images(3))
    first = [model.elbo(x) for _ in range(6)]
    assert [float(o.note["beta"]) for o in first] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    for o in first:
        expected = o.note["reconstruction"] + o.note["beta"] * o.note["kl"]
        torch.testing.assert_close(o["encoder"], expected)


def test_only_training_counts_as_warm_up():
    model = model_of(warmup=4)
    model.elbo(batch_of(images(3)))
    model.eval()
    for _ in range(3):
        assert float(model.elbo(batch_of(images(3))).note["beta"]) == 0.25


def test_the_warm_up_is_in_the_state_of_the_model():
    model, other = model_of(warmup=4), model_of(warmup=4)
    for _ in range(2):
        model.elbo(batch_of(images(3)))
    other.load_state_dict(model.state_dict())
    assert float(other.elbo(batch_of(images(3))).note["beta"]) == 0.75


# ---------------------------------------------------------------------------------------------------------------------
# Who moves, and how a run goes on
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [Gaussian.Config(), VampPrior.Config(components=3, std=0.5)], ids=lambda p: p.name)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_contract_of_a_model(prior, batch_norm):
    encoder = MlpEncoder.Config(hidden=(8,), posterior="gaussian", batch_norm=batch_norm)
    decoder = MlpDecoder.Config(hidden=(8,), batch_norm=batch_norm)
    check_model(config(prior=prior, encoder=encoder, decoder=decoder, warmup=3), DataInfo((1, 8, 8), ()))


@pytest.mark.parametrize("label", ROWS)
def test_the_phase_moves_exactly_encoder_decoder_and_a_prior_that_learns(label, plan, tmp_path):
    trainer = Trainer(plan(label), 0, tmp_path)
    trainer.prepare()
    optimisers = {
        name: torch.optim.SGD(module.parameters(), lr=0.01)
        for name, module in trainer.modules.items()
        if list(module.parameters())
    }
    before = {name: {k: t.clone() for k, t in m.state_dict().items()} for name, m in trainer.modules.items()}
    (phase,) = trainer.phases
    assert phase.name == "elbo"
    result = run_phase(phase, trainer.data.batch(0), trainer.modules, optimisers)
    after = {name: m.state_dict() for name, m in trainer.modules.items()}
    moved = {name for name, state in before.items() if any(not torch.equal(state[k], after[name][k]) for k in state)}
    assert moved == ROWS[label]
    assert {"elbo/reconstruction", "elbo/kl", "elbo/beta"} <= set(result.keys)


@pytest.mark.parametrize("label", ROWS)
def test_six_steps_equal_three_and_three_bit_for_bit(label, plan, tmp_path):
    row = plan(label)
    Trainer(row, 3, tmp_path / "once").run()
    Trainer(row, 3, tmp_path / "twice").run(until=3)
    Trainer(row, 3, tmp_path / "twice").run()
    once, twice = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006.safetensors") for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []
    assert int(once["model/steps_seen"]) == 6


def test_a_run_on_dynamically_binarised_images_can_be_loaded(plan, tmp_path):
    bernoulli = 'model.reconstruction={name="pixel",metric="bernoulli",reduction="sum"}'
    Trainer(plan("VAE", bernoulli, 'data.binarise="dynamic"'), 0, tmp_path / "run").run()
    assert genprior.load_run(tmp_path / "run").sample(3).shape == (3, 1, 8, 8)


def test_a_prior_that_borrows_the_encoder_samples_through_its_average(plan, tmp_path):
    trainer = Trainer(plan("VampPrior", "optimiser.default.lr=0.05"), 0, tmp_path)
    trainer.prepare()
    for _ in range(4):
        trainer.one_step()
    sampled = trainer.sample(4, seed=1)
    live = trainer.model.encoder.to_code.weight.detach().clone()
    assert not torch.equal(trainer.average.tensors["encoder.to_code.weight"], live)
    with torch.no_grad():
        trainer.model.encoder.to_code.weight.add_(100.0)  # samples do not depend on the live encoder
    assert torch.equal(trainer.sample(4, seed=1), sampled)


def test_a_few_hundred_steps_raise_the_bound_above_that_of_independent_pixels(plan, tmp_path):
    """The bound must beat the best model without codes: a Gaussian of the same sigma at each pixel's mean.

    It does so in evaluation mode too, where the encoder's batch normalisation works with running averages.
    """
    row = plan("VampPrior", "optimiser.default.lr=1e-2", "run.batch=64", "model.warmup=50")
    trainer = Trainer(row, 0, tmp_path)
    trainer.prepare()
    for _ in range(200):
        trainer.one_step()
    trainer.recorder.check("VampPrior")
    x = trainer.images("train").images.float() / 127.5 - 1
    sigma, d = 0.5, x[0].numel()
    centred = (x - x.mean(0)).square().flatten(1).sum(1).mean()
    without_codes = float(centred) / (2 * sigma**2) + d * math.log(sigma * math.sqrt(2 * math.pi))
    for training in (True, False):
        with torch.no_grad():
            bound = trainer.model.train(training).elbo(Batch(x, trainer.images("train").labels))
        assert float(bound.note["beta"]) == 1.0
        assert float(bound["encoder"]) < without_codes - 1


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------

USE = 'Use reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.1, reduction = "sum" }'
REFUSED = {
    "a prior without a density": (
        {"prior": CodeGenerator.Config()},
        "model 'vae' needs a prior with log_prob; 'code_generator' can only be sampled (use model 'aae')",
    ),
    "a mean over pixels": (
        {"reconstruction": likelihood(reduction="mean")},
        "model 'vae' needs -log p(x | z) of a whole image beside a KL of a whole code; reconstruction 'pixel' has "
        f'reduction = "mean", an average over pixels. {USE}',
    ),
    "a Bernoulli likelihood of grey pixels": (
        {"reconstruction": Pixel.Config(metric="bernoulli", reduction="sum")},
        "model 'vae' has a Bernoulli likelihood, which is for black and white pixels, and these training "
        'images have grey ones. Set binarise = "dynamic" or "static" in [data] (mnist, fashion_mnist and digits have '
        f"it). Or {USE[0].lower()}{USE[1:]}",
    ),
    "an error that is no likelihood": (
        {"reconstruction": LearnedSimilarity.Config()},
        "model 'vae' needs a reconstruction that is -log p(x | z); 'learned_similarity' compares features of an image "
        f"critic, which is no likelihood of images. {USE}, or use model 'aae'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_do_not_fit_are_refused_when_the_model_is_built(name):
    changes, text = REFUSED[name]
    with pytest.raises(PlanError) as caught:
        build_model(config(**changes), INFO, 0)
    assert str(caught.value) == text


def test_an_encoder_without_a_density_is_refused_before_anything_trains(tmp_path):
    path = tmp_path / "vae.toml"
    path.write_text(PLAN)
    with pytest.raises(RecipeError) as caught:
        preflight(genprior.load_recipe(path, rows=["VAE"], settings=['model.encoder.posterior="point"']))
    assert (
        "model 'vae' needs an encoder whose posterior has a density; encoder 'mlp' gives each image a single code. "
        "Set posterior = \"gaussian\" in the encoder's table, or use model 'aae' [row VAE]"
    ) in str(caught.value)


@pytest.mark.parametrize("setting", ["beta=0.0", "warmup=-1", "code_size=0", "beta=inf"])
def test_settings_out_of_range_are_refused(setting, tmp_path):
    path = tmp_path / "vae.toml"
    path.write_text(PLAN)
    with pytest.raises(RecipeError, match=f"model.{setting.split('=')[0]}"):
        genprior.load_recipe(path, settings=[f"model.{setting}"])
