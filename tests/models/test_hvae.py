"""The VAE of two levels: its densities in NumPy, log p(x) in closed form, updated modules, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from genprior.engine.build import build_model
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo, Decoder, DensityPrior, Encoder, PointPosterior
from genprior.testing import check_model
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.models.hvae import HierarchicalVariationalAutoencoder
from genprior_std.networks.gated_mlp_decoder import GatedMlpDecoder
from genprior_std.networks.gated_mlp_encoder import GatedMlpEncoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.conditional_gaussian import ConditionalGaussian
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 4, 4), (), binary=True)
UPPER, LOWER = 3, 2
SMALL = {"hidden": (8,)}


def settings(**changes):
    return HierarchicalVariationalAutoencoder.Config(
        **{
            "code_size": UPPER,
            "inner_code_size": LOWER,
            "prior": Gaussian.Config(),
            "inner_prior": ConditionalGaussian.Config(**SMALL),
            "encoder": GatedMlpEncoder.Config(**SMALL),
            "inner_encoder": GatedMlpEncoder.Config(conditional=True, **SMALL),
            "decoder": GatedMlpDecoder.Config(conditional=True, **SMALL),
            "reconstruction": Pixel.Config(metric="bernoulli", reduction="sum"),
            **changes,
        }
    )


def binary_batch(n, seed=1):
    x = torch.randn(n, *INFO.image, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).sign()
    return Batch(x, torch.zeros(n, dtype=torch.int64))


def log_normal(z, mean, log_variance):
    """The density of a diagonal Gaussian, summed over the last axis, in NumPy."""
    each = math.log(2 * math.pi) + log_variance + (z - mean) ** 2 / np.exp(log_variance)
    return -0.5 * each.sum(-1)


def numbers(q):
    return q.mean.numpy(), q.log_variance.numpy()


@pytest.mark.parametrize("prior", [Gaussian.Config(), VampPrior.Config(components=5, std=0.5)], ids=lambda p: p.name)
def test_every_density_is_that_of_the_formulas(prior):
    """KL = log q(z1 | x, z2) + log q(z2 | x) - log p(z1 | z2) - log p(z2), in NumPy from what the networks put out."""
    model, batch = build_model(settings(prior=prior), INFO, 0).double().eval(), binary_batch(4)
    none = torch.zeros(4, 0, dtype=torch.float64)
    with torch.no_grad():
        draws = model.infer(batch).draw(3)
        for s in range(3):
            z1, z2 = draws.z[s, :, :LOWER], draws.z[s, :, LOWER:]
            log_q = log_normal(z2.numpy(), *numbers(model.encoder(batch.x, none)))
            log_q = log_q + log_normal(z1.numpy(), *numbers(model.inner_encoder(batch.x, z2)))
            if prior.name == "gaussian":
                log_p2 = log_normal(z2.numpy(), 0.0, np.zeros(UPPER))
            else:
                u = model.prior.pseudo_inputs.clamp(-1, 1)
                mean, log_variance = numbers(model.encoder(u, torch.zeros(5, 0, dtype=torch.float64)))
                log_p2 = np.logaddexp.reduce(log_normal(z2.numpy()[:, None], mean, log_variance), 1) - math.log(5)
            hidden = model.inner_prior.layers(z2, z2)
            log_p = log_p2 + log_normal(z1.numpy(), *numbers(model.inner_prior.to_code(hidden)))
            p = np.clip((model.decoder(z1, z2).flatten(1).numpy() + 1) / 2, 1e-6, 1 - 1e-6)
            t = (batch.x.flatten(1).numpy() + 1) / 2
            log_x = (t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1)
            np.testing.assert_allclose(draws.log_posterior[s].numpy(), log_q, rtol=1e-10)
            np.testing.assert_allclose(draws.log_prior[s].numpy(), log_p, rtol=1e-10)
            np.testing.assert_allclose(draws.log_likelihood[s].numpy(), log_x, rtol=1e-6)
    torch.manual_seed(5)
    note = model.elbo(batch).note
    torch.manual_seed(5)
    draws = model.infer(batch).draw(1)
    torch.testing.assert_close(note["kl"], (draws.log_posterior - draws.log_prior).mean())


def test_beta_weighs_the_kl_alone():
    bounds = {}
    for beta in (1.0, 0.25):
        model = build_model(settings(beta=beta), INFO, 0).double().eval()
        torch.manual_seed(5)
        bounds[beta] = model.elbo(binary_batch(4))
    rec, kl = (bounds[1.0].note[part] for part in ("reconstruction", "kl"))
    torch.testing.assert_close(bounds[1.0]["encoder"], rec + kl)
    torch.testing.assert_close(bounds[0.25]["encoder"], rec + 0.25 * kl)


def test_the_posterior_of_every_code_under_every_image(monkeypatch):
    """In pieces, against one pair at a time."""
    monkeypatch.setattr("genprior_std.model_pieces.two_level_inference.HELD", 6)
    model, batch = build_model(settings(), INFO, 0).double().eval(), binary_batch(3)
    z = torch.randn(5, LOWER + UPPER, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = model.infer(batch).log_posterior(z)
        assert found.shape == (5, 3)
        for j in range(5):
            for i in range(3):
                x, z1, z2 = batch.x[i : i + 1], z[j : j + 1, :LOWER], z[j : j + 1, LOWER:]
                upper = model.encoder(x, x.new_zeros(1, 0)).log_prob(z2)
                torch.testing.assert_close(found[j, i], (upper + model.inner_encoder(x, z2).log_prob(z1))[0])


class LinearEncoder(Encoder):
    """A x + B known, with a fixed variance."""

    name = "linear_of_this_test"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(math.prod(sizes.image) + sizes.known, sizes.code)

    def forward(self, x, known):
        mean = self.layer(torch.cat([x.flatten(1), known], 1))
        return GaussianPosterior(mean, torch.zeros_like(mean))


class LinearDecoder(Decoder):
    """W1 z1 + W2 z2."""

    name = "linear_of_this_test"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.code + sizes.known, math.prod(sizes.image), bias=False)

    def forward(self, z, known):
        return self.layer(torch.cat([z, known], 1)).view(-1, *self.sizes.image)


class LinearPrior(DensityPrior):
    """N(M asked, 1 / 4)."""

    name = "linear_of_this_test"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.asked, sizes.code, bias=False)

    def sample(self, asked):
        return self.layer(asked) + 0.5 * torch.randn(len(asked), self.sizes.code, dtype=asked.dtype)

    def log_prob(self, z, asked):
        return torch.distributions.Normal(self.layer(asked), 0.5).log_prob(z).sum(1)


def test_importance_sampling_finds_log_p_of_a_linear_gaussian_model():
    """x = W1 z1 + W2 z2 + noise with z1 = M z2 + noise is Gaussian, so log p(x) is known.

    50,000 draws for each of 3 images: the standard error, from the weights themselves, is below 0.01 nats; refused at
    random with probability below 1e-4 (4 of them).
    """
    sigma = 0.8
    parts = {
        "inner_prior": LinearPrior.Config(),
        "encoder": LinearEncoder.Config(),
        "inner_encoder": LinearEncoder.Config(),
        "decoder": LinearDecoder.Config(),
        "reconstruction": Pixel.Config(metric="gaussian", sigma=sigma, reduction="sum"),
    }
    model = build_model(settings(code_size=1, inner_code_size=1, **parts), DataInfo((1, 1, 3), ()), 0).double()
    x = torch.randn(3, 1, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        m = model.inner_prior.layer.weight
        w = model.decoder.layer.weight
        mix = torch.cat([m, torch.ones(1, 1, dtype=m.dtype)])  # [z1, z2] from z2
        codes = mix @ mix.T + torch.diag(torch.tensor([0.25, 0.0], dtype=m.dtype))
        covariance = w @ codes @ w.T + sigma**2 * torch.eye(3, dtype=m.dtype)
        exact = torch.distributions.MultivariateNormal(w.new_zeros(3), covariance).log_prob(x.flatten(1))
        torch.manual_seed(6)
        log_weight = model.infer(Batch(x, torch.zeros(3, dtype=torch.int64))).draw(50_000).log_weight
        relative = (log_weight - exact).exp()
    error = relative.std(0) / math.sqrt(len(relative))
    assert float(error.max()) < 0.01
    assert ((relative.mean(0) - 1).abs() < 4 * error).all()


@pytest.mark.parametrize("prior", [Gaussian.Config(), VampPrior.Config(components=3, std=0.5)], ids=lambda p: p.name)
def test_the_contract_of_a_model(prior):
    check_model(settings(prior=prior, warmup=3), DataInfo((1, 8, 8), (), binary=True))


REFUSED = {
    "an inner encoder that does not see the upper code": (
        {"inner_encoder": GatedMlpEncoder.Config(**SMALL)},
        "model 'hvae' gives its inner_encoder the upper code, and inner_encoder 'gated_mlp' has conditional = false, "
        "so it would ignore that. Set conditional = true in the inner_encoder's table",
    ),
    "a decoder that does not see the upper code": (
        {"decoder": GatedMlpDecoder.Config(**SMALL)},
        "model 'hvae' gives its decoder the upper code, and decoder 'gated_mlp' has conditional = false, so it would "
        "ignore that. Set conditional = true in the decoder's table",
    ),
    "an inner prior without a density": (
        {"inner_prior": CodeGenerator.Config()},
        "model 'hvae' needs a prior with log_prob; 'code_generator' can only be sampled (use model 'aae')",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_do_not_fit_are_refused(name):
    changes, text = REFUSED[name]
    with pytest.raises(PlanError) as caught:
        build_model(settings(**changes), INFO, 0)
    assert str(caught.value) == text


@pytest.mark.parametrize("role", ["encoder", "inner_encoder"])
def test_a_point_encoder_is_refused(role):
    with pytest.raises(PlanError, match="model 'hvae' needs an encoder whose posterior has a density; encoder 'mlp'"):
        build_model(settings(**{role: MlpEncoder.Config(conditional=True, **SMALL)}), INFO, 0)


class SilentEncoder(Encoder):
    """An encoder that returns a point, which its settings do not state."""

    name = "silent_of_this_test"

    def forward(self, x, known):
        return PointPosterior(x.new_zeros(len(x), self.sizes.code))


@pytest.mark.parametrize("role", ["encoder", "inner_encoder"])
def test_a_point_encoder_that_does_not_say_so_is_refused_in_the_first_step(role):
    model = build_model(settings(**{role: SilentEncoder.Config()}), INFO, 0).double()
    with pytest.raises(PlanError, match="needs an encoder whose posterior has a density; encoder 'silent_of_this_te"):
        model.infer(binary_batch(2)).draw(1)


def test_a_class_is_refused():
    model = build_model(settings(), INFO, 0)
    with pytest.raises(PlanError, match="model 'hvae' has no condition and cannot be asked for a class"):
        model.condition(torch.zeros(2), torch.zeros(2, dtype=torch.int64))


def test_new_codes_are_of_both_levels_as_those_of_images():
    model = build_model(settings(), INFO, 0).double().eval()
    torch.manual_seed(3)
    codes = model.draw_codes(model.condition(torch.zeros(9, dtype=torch.float64)))
    assert codes.shape == model.encode(binary_batch(9)).shape == (9, LOWER + UPPER)
    torch.manual_seed(3)
    images = model.generate(model.condition(torch.zeros(9, dtype=torch.float64)))
    assert torch.equal(model.decoder(codes[:, :LOWER], codes[:, LOWER:]), images)
