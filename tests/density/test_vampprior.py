"""The VampPrior against scipy, integrals, the posterior that it is made of, and its own samples."""

from __future__ import annotations

import numpy
import pytest
import torch
from scipy import special, stats
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import genprior
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Borrowed, DensityPosterior, Encoder, Sizes
from genprior.runs.trainer import Trainer
from genprior.testing import check_prior
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.vampprior import VampPrior

ERROR_RATE = 1e-3
"""How often a right sampler would be refused under a random seed; the seeds here are fixed."""
IMAGE = (1, 4, 4)


def sizes(code, known=0):
    return Sizes(IMAGE, code, known, known)


def encoder_of(code, seed=0, spread=3.0, **settings):
    """A small Gaussian encoder in float64 whose means lie a few standard deviations apart."""
    torch.manual_seed(seed)
    encoder = MlpEncoder.Config(hidden=(8,), activation="tanh", posterior="gaussian", **settings).make(sizes(code))
    with torch.no_grad():
        encoder.to_code.weight[:code] *= spread
    return encoder.double()


def prior_of(encoder, components, code, std=0.7):
    config = VampPrior.Config(components=components, mean=0.0, std=std)
    return config.make(sizes(code), encoder=Borrowed(encoder)).double()


def nothing(n):
    return torch.zeros(n, 0, dtype=torch.float64)


def mixture_of(encoder, images):
    """Means and standard deviations [K, d] that the encoder gives images, as numpy arrays."""
    with torch.no_grad():
        q = encoder(images, nothing(len(images)))
    return q.mean.numpy(), numpy.exp(0.5 * q.log_variance.numpy())


# ---------------------------------------------------------------------------------------------------------------------
# The density
# ---------------------------------------------------------------------------------------------------------------------


def test_one_component_is_the_encoders_posterior():
    encoder = encoder_of(3)
    prior = prior_of(encoder, 1, 3)
    z = torch.randn(5, 3, dtype=torch.float64)
    q = encoder(prior.pseudo_inputs.clamp(-1, 1).expand(5, -1, -1, -1), nothing(5))
    torch.testing.assert_close(prior.log_prob(z, nothing(5)), q.log_prob(z))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_with_the_data_as_pseudo_inputs_it_is_the_aggregated_posterior(batch_norm):
    encoder = encoder_of(3, batch_norm=batch_norm)
    data = torch.rand(40, *IMAGE, dtype=torch.float64) * 2 - 1
    prior = prior_of(encoder, 40, 3)
    with torch.no_grad():
        prior.pseudo_inputs.copy_(data)
    mean, std = mixture_of(encoder.train(), data)
    z = torch.randn(7, 3, dtype=torch.float64) * 2
    each = stats.norm.logpdf(z.numpy()[:, None], mean, std).sum(2)
    expected = special.logsumexp(each, axis=1, b=1 / 40)
    numpy.testing.assert_allclose(prior.log_prob(z, nothing(7)).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("components", [1, 2, 500])
def test_the_density_integrates_to_one(components):
    """The trapezoidal rule: exact to rounding, because a step is well below a component's standard deviation."""
    encoder = encoder_of(2)
    prior = prior_of(encoder, components, 2)
    mean, std = mixture_of(encoder, prior.pseudo_inputs.detach().clamp(-1, 1))
    step = 0.4 * std.min()
    low, high = (mean - 9 * std).min(), (mean + 9 * std).max()
    axis = torch.arange(float(low), float(high), float(step), dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = prior.log_prob(grid, nothing(len(grid))).exp()
    assert float(density.sum() * step**2) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("components", [1, 3, 500])
def test_samples_follow_the_density(components):
    """Kolmogorov and Smirnov, along each axis and one diagonal."""
    encoder = encoder_of(2)
    prior = prior_of(encoder, components, 2)
    mean, std = mixture_of(encoder, prior.pseudo_inputs.detach().clamp(-1, 1))
    torch.manual_seed(1)
    with torch.no_grad():
        z = prior.sample(nothing(4000)).numpy()
    for direction in ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8]):
        a = numpy.array(direction)
        centre, width = mean @ a, numpy.sqrt(std**2 @ a**2)
        fit = stats.kstest(z @ a, lambda t, c=centre, w=width: stats.norm.cdf((t[:, None] - c) / w).mean(1))
        assert fit.pvalue > ERROR_RATE / 3


def test_it_keeps_the_contract_with_each_form_of_posterior():
    for encoder in (None, encoder_of(2)):
        lend = {} if encoder is None else {"encoder": encoder}
        image = {"image": IMAGE}
        check_prior(VampPrior.Config(components=4, std=0.6), lend=lend, **image)


class Anonymous(DensityPosterior):
    """A posterior that shows its density alone, and not that it is Gaussian."""

    def __init__(self, q):
        self.q = q

    @property
    def mean(self):
        return self.q.mean

    def rsample(self):
        return self.q.rsample()

    def log_prob(self, z):
        assert z.shape == self.q.mean.shape  # the contract: row i of z under the posterior of image i
        return self.q.log_prob(z)


class Hiding(Encoder):
    """An encoder whose posteriors are anonymous."""

    def __init__(self, inner):
        super().__init__(Encoder.Config(), inner.sizes)
        self.inner = inner

    def forward(self, x, known):
        return Anonymous(self.inner(x, known))


def test_posteriors_of_any_form_give_the_same_density():
    encoder = encoder_of(3)
    prior = prior_of(encoder, 6, 3)
    other = prior_of(Hiding(encoder), 6, 3)
    other.load_state_dict(prior.state_dict())
    z = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(other.log_prob(z, nothing(5)), prior.log_prob(z, nothing(5)))
    assert other.log_prob(z[:0], nothing(0)).shape == prior.log_prob(z[:0], nothing(0)).shape == (0,)


# ---------------------------------------------------------------------------------------------------------------------
# Precision and memory
# ---------------------------------------------------------------------------------------------------------------------


class Table(Encoder):
    """An encoder that ignores its images and gives posteriors from a table."""

    def __init__(self, mean, log_variance):
        super().__init__(Encoder.Config(), sizes(mean.shape[1]))
        self.mean, self.log_variance = nn.Parameter(mean), nn.Parameter(log_variance)

    def forward(self, x, known):
        return GaussianPosterior(self.mean, self.log_variance)


def direct(z, mean, log_variance):
    """log p(z) from the formulas, with numpy and scipy in double precision."""
    each = stats.norm.logpdf(z.double().numpy()[:, None], mean.double().numpy(), (log_variance.double() / 2).exp())
    return special.logsumexp(each.sum(2), axis=1, b=1 / len(mean))


def of_table(mean, log_variance):
    encoder = Borrowed(Table(mean, log_variance))
    return VampPrior.Config(components=len(mean)).make(sizes(mean.shape[1]), encoder=encoder)


def products(z, mean, log_variance):
    """The squares expanded, in the precision of what comes in."""
    precision = (-log_variance).exp()
    return z.square() @ precision.T - 2 * z @ (mean * precision).T + (mean.square() * precision).sum(1)


def test_narrow_components_far_from_the_origin_keep_their_digits_in_single_precision():
    """The exponent is a difference of products that are of size 1e7 here, and is itself about -10."""
    torch.manual_seed(2)
    mean, log_variance = 8 + torch.randn(30, 20), torch.full((30, 20), -10.0)
    z = mean[:10] + (0.5 * log_variance[:10]).exp() * torch.randn(10, 20)
    log_p = of_table(mean, log_variance).log_prob(z, torch.zeros(10, 0))
    assert log_p.dtype == torch.float32
    numpy.testing.assert_allclose(log_p.detach().double().numpy(), direct(z, mean, log_variance), atol=1e-4)
    squares = ((z[:, None] - mean).square() * (-log_variance).exp()).sum(2)
    assert (products(z, mean, log_variance) - squares).diagonal().abs().max() > 0.5  # what the test would find


def realistic():
    """Codes, means in [-4, 4] and log variances in [-6, 2]: the range of trained encoders, d = 40."""
    torch.manual_seed(9)
    mean, log_variance = torch.empty(300, 40).uniform_(-4, 4), torch.empty(300, 40).uniform_(-6, 2)
    return mean[:50] + (0.5 * log_variance[:50]).exp() * torch.randn(50, 40), mean, log_variance


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_single_precision_and_autocast_are_within_a_ten_thousandth_of_a_nat(precision):
    z, mean, log_variance = realistic()
    prior = of_table(mean, log_variance)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        log_p = prior.log_prob(z, torch.zeros(50, 0)).detach()
    numpy.testing.assert_allclose(log_p.double().numpy(), direct(z, mean, log_variance), atol=1e-4, rtol=0)


def test_the_gradient_in_single_precision_is_that_of_double_precision():
    """Against autograd through the differences themselves, in double precision."""
    z, mean, log_variance = realistic()
    prior = of_table(mean, log_variance)
    z.requires_grad_()
    sources = [z, prior.encoder.mean, prior.encoder.log_variance]
    got = torch.autograd.grad(prior.log_prob(z, torch.zeros(50, 0)).sum(), sources)
    a, m, v = (tensor.detach().double().requires_grad_() for tensor in sources)
    each = -0.5 * ((a[:, None] - m).square() * (-v).exp() + v).sum(2)
    expected = torch.autograd.grad(each.logsumexp(1).sum(), [a, m, v])
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor had."""

    size = 0

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        out = operation(*arguments, **(keywords or {}))
        sizes = [
            t.untyped_storage().nbytes() // t.element_size() for t in tree_leaves(out) if isinstance(t, torch.Tensor)
        ]
        self.size = max(self.size, *sizes, 0)
        return out


def test_no_difference_of_each_code_and_component_is_held():
    """Neither forwards nor backwards: of 60 x 50 pairs and 30 coordinates, only pairs are."""
    prior = of_table(torch.randn(50, 30), torch.randn(50, 30))
    z = torch.randn(60, 30, requires_grad=True)
    with Largest() as largest:
        prior.log_prob(z, torch.zeros(60, 0)).sum().backward()
    assert 60 * 50 <= largest.size <= 2 * 60 * 50  # or the 60 x 60 of the squares beside the codes


# ---------------------------------------------------------------------------------------------------------------------
# Gradients, ownership, batch normalisation
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["density", "samples"])
def test_the_gradient_reaches_pseudo_inputs_and_encoder(of):
    encoder = encoder_of(3)
    prior = prior_of(encoder, 4, 3)
    asked = nothing(64)
    out = prior.log_prob(torch.randn(64, 3).double(), asked) if of == "density" else prior.sample(asked)
    u, *weights = torch.autograd.grad(out.square().sum(), [prior.pseudo_inputs, *encoder.parameters()])
    assert (u.flatten(1) != 0).any(1).all()
    assert all((w != 0).any() for w in weights)


def test_pixels_beyond_the_range_of_images_are_clipped_and_get_no_gradient():
    encoder = encoder_of(2)
    prior = prior_of(encoder, 3, 2)
    with torch.no_grad():
        prior.pseudo_inputs[:, :, :2] = 1.5
    z = torch.randn(5, 2, dtype=torch.float64)
    log_p = prior.log_prob(z, nothing(5))
    (grad,) = torch.autograd.grad(log_p.sum(), prior.pseudo_inputs)
    assert (grad[:, :, :2] == 0).all() and (grad[:, :, 2:] != 0).any()
    with torch.no_grad():
        prior.pseudo_inputs[:, :, :2] = 1.0
    assert torch.equal(prior.log_prob(z, nothing(5)), log_p)


def test_it_uses_the_encoder_as_it_is_now_and_owns_the_pseudo_inputs_alone():
    encoder = encoder_of(2)
    prior = prior_of(encoder, 3, 2)
    assert list(prior.state_dict()) == ["pseudo_inputs"]
    z = torch.randn(5, 2, dtype=torch.float64)
    before = prior.log_prob(z, nothing(5))
    with torch.no_grad():
        encoder.to_code.bias[:2] += 1.0
    torch.testing.assert_close(prior.log_prob(z + 1, nothing(5)), before)


def test_pseudo_inputs_pass_batch_normalisation_as_a_batch_of_their_own_in_both_modes():
    encoder = encoder_of(2, batch_norm=True)
    prior = prior_of(encoder, 8, 2)
    z = torch.randn(5, 2, dtype=torch.float64)
    first, norm, *_ = (m for m in encoder.modules() if isinstance(m, nn.Linear | nn.BatchNorm1d))
    w = prior.pseudo_inputs.detach().clamp(-1, 1).flatten(1) @ first.weight.T
    hidden = torch.tanh((w - w.mean(0)) / (w.var(0, correction=0) + norm.eps).sqrt())
    mean, log_variance = encoder.to_code(hidden).detach().numpy().reshape(8, 2, 2).swapaxes(0, 1)
    each = stats.norm.logpdf(z.numpy()[:, None], mean, numpy.exp(0.5 * log_variance)).sum(2)
    expected = special.logsumexp(each, axis=1, b=1 / 8)
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    for training in (True, False):
        encoder.train(training)
        got = prior.log_prob(z, nothing(5)).detach().numpy()
        numpy.testing.assert_allclose(got, expected, rtol=1e-10)
        torch.manual_seed(0)
        draws = prior.sample(nothing(4000)).detach().numpy()
        fit = stats.kstest(
            draws[:, 0], lambda t: stats.norm.cdf((t[:, None] - mean[:, 0]) / numpy.exp(log_variance[:, 0] / 2)).mean(1)
        )
        assert fit.pvalue > ERROR_RATE
        assert all(m.training == training for m in encoder.modules()) and norm.track_running_stats
        assert [key for key, value in encoder.state_dict().items() if not torch.equal(value, state[key])] == []


def test_an_encoder_that_fails_is_left_in_its_mode():
    encoder = encoder_of(2, batch_norm=True).eval()
    prior = prior_of(encoder, 3, 2)
    prior.float()  # and the encoder is in double precision
    with pytest.raises(RuntimeError, match="dtype"):
        prior.sample(torch.zeros(2, 0))
    norm = next(m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d))
    assert not norm.training and norm.track_running_stats


@pytest.mark.parametrize("improves", [False, True])
def test_an_adversarial_autoencoder_can_sample_it_and_moves_only_what_its_phases_name(improves, tiny, tmp_path):
    """The encoder, whose posteriors these samples are, moves by the code game alone; the prior by the image game."""
    settings = [
        'model.prior={name="vampprior",components=5,mean=0.0,std=0.5}',
        'model.encoder.posterior="gaussian"',
        f"model.improves.prior={str(improves).lower()}",
    ]
    trainer = Trainer(genprior.load_recipe(tiny, rows=["AAE"], settings=settings).plans[0], 0, tmp_path)
    trainer.prepare()
    expected = {"regularise": {"encoder", "decoder", "code_critic"}}
    if improves:
        expected["improve_prior"] = {"image_critic", "prior"}
    assert [phase.name for phase in trainer.phases] == list(expected)
    for phase in trainer.phases:
        before = {name: {k: t.clone() for k, t in m.state_dict().items()} for name, m in trainer.modules.items()}
        run_phase(phase, trainer.data.batch(0), trainer.modules, trainer.optimisers)
        now = {name: m.state_dict() for name, m in trainer.modules.items()}
        moved = {name for name, old in before.items() if any(not torch.equal(old[k], now[name][k]) for k in old)}
        assert moved == expected[phase.name]


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------


def test_a_condition_that_is_told_is_refused():
    with pytest.raises(PlanError) as caught:
        VampPrior.Config().make(sizes(2, known=10), encoder=Borrowed(encoder_of(2)))
    assert str(caught.value) == (
        "prior 'vampprior' encodes images that it learns, and nothing is known about those; this condition tells the "
        "encoder 10 numbers about each image. "
        "Use conditioner 'none', or a prior that does not encode ('gaussian', 'code_generator')"
    )


def test_a_single_pseudo_input_and_batch_normalisation_are_refused():
    with pytest.raises(PlanError) as caught:
        prior_of(encoder_of(2, batch_norm=True), 1, 2)
    assert str(caught.value) == (
        "prior 'vampprior' normalises its pseudo-inputs as a batch of their own in encoder 'mlp', and "
        "components = 1 gives a batch of one. "
        "Set components to 2 or more, or take an encoder without batch normalisation"
    )


def test_an_encoder_without_a_density_is_refused():
    point = MlpEncoder.Config(hidden=(8,)).make(sizes(2))
    prior = VampPrior.Config(components=2).make(sizes(2), encoder=Borrowed(point))
    for use in (lambda: prior.sample(torch.zeros(3, 0)), lambda: prior.log_prob(torch.zeros(3, 2), torch.zeros(3, 0))):
        with pytest.raises(PlanError) as caught:
            use()
        assert str(caught.value) == (
            "prior 'vampprior' is a mixture of the encoder's posteriors; encoder 'mlp' gives each image a single code, "
            'which has no density. Set posterior = "gaussian" in the encoder\'s table'
        )
