"""The importance weighted autoencoder: its bound against the ELBO, closed forms and the published gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genprior.engine.build import build_model
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo, Decoder, Encoder
from genprior.testing import check_model
from genprior_std.conditioners.none import NoCondition
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.models.iwae import ImportanceWeightedAutoencoder
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 2, 2), ())
CODE = 2
SIGMA = 0.5


class Linear(Encoder):
    """q(z | x) = N(A x, exp(v))."""

    name = "linear_of_this_test"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(math.prod(sizes.image), sizes.code)
        self.log_variance = nn.Parameter(torch.full((sizes.code,), -0.5))

    def forward(self, x, known):
        mean = self.layer(x.flatten(1))
        return GaussianPosterior(mean, self.log_variance.expand_as(mean))


class LinearDecoder(Decoder):
    """W z + b."""

    name = "linear_of_this_test"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.code, math.prod(sizes.image))

    def forward(self, z, known):
        return self.layer(z).view(-1, *self.sizes.image)


def settings(kind, **changes):
    return kind.Config(
        **{
            "code_size": CODE,
            "prior": Gaussian.Config(),
            "encoder": Linear.Config(),
            "decoder": LinearDecoder.Config(),
            "reconstruction": Pixel.Config(metric="gaussian", sigma=SIGMA, reduction="sum"),
            "conditioner": NoCondition.Config(),
            **changes,
        }
    )


def model_of(kind=ImportanceWeightedAutoencoder, **changes):
    return build_model(settings(kind, **changes), INFO, 0).double()


def batch(n, seed=1):
    x = torch.randn(n, *INFO.image, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Batch(x, torch.zeros(n, dtype=torch.int64))


def log_p(model, x):
    """Log p(x) of the linear Gaussian model."""
    w, b = model.decoder.layer.weight, model.decoder.layer.bias
    covariance = w @ w.T + SIGMA**2 * torch.eye(len(w), dtype=w.dtype)
    return torch.distributions.MultivariateNormal(b, covariance).log_prob(x.flatten(1))


def test_the_bound_of_one_code_is_the_elbo_draw_for_draw():
    one, vae = model_of(importance_samples=1), model_of(VariationalAutoencoder)
    vae.load_state_dict(one.state_dict(), strict=False)
    for seed in range(3):
        torch.manual_seed(seed)
        ours = one.bound(batch(6))
        torch.manual_seed(seed)
        theirs = vae.elbo(batch(6))
        torch.testing.assert_close(ours["encoder"], theirs["encoder"], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.note["elbo"], -theirs["encoder"], rtol=1e-12, atol=1e-12)


def test_the_bound_rises_with_the_number_of_codes_to_log_p():
    """2,000 estimates of L_k of each of 4 images; refused at random with probability below 1e-4 (4 standard errors)."""
    model, x = model_of(), batch(4)
    with torch.no_grad():
        model.encoder.log_variance.fill_(0.5)  # wider than the exact posterior, so that weights are bounded
        weights = model.infer(Batch(x.x.repeat(2000, 1, 1, 1), x.y.repeat(2000))).draw(256).log_weight
        exact = float(log_p(model, x.x).mean())
    bounds = []
    for k in (1, 4, 16, 64, 256):
        each = weights[:k].logsumexp(0) - math.log(k)
        bounds.append((float(each.mean()), float(each.std()) / math.sqrt(len(each))))
    for (lower, low_error), (higher, high_error) in zip(bounds, bounds[1:], strict=False):
        assert higher > lower - 4 * (low_error + high_error)
    assert bounds[0][0] < exact - 0.1  # there is a gap to close
    assert abs(bounds[-1][0] - exact) < 0.02


def test_the_gradient_is_that_of_log_weights_by_their_shares():
    """Burda et al., equation 14: sum_i w_i / (sum_j w_j) grad log w_i, the shares taken as constants."""
    model, x = model_of(importance_samples=7), batch(5)
    parameters = [p for p in model.parameters() if p.requires_grad]
    torch.manual_seed(4)
    ours = torch.autograd.grad(model.bound(x)["encoder"], parameters)
    torch.manual_seed(4)
    log_weight = model.infer(x).draw(7).log_weight
    shares = (log_weight.exp() / log_weight.exp().sum(0)).detach()
    theirs = torch.autograd.grad(-(shares * log_weight).sum(0).mean(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_each_code_of_each_image_gets_the_densities_of_that_image():
    """Draws of several images at once against every pair on its own, by the formulas of the normal distribution."""
    model, x = model_of(), batch(3)
    with torch.no_grad():
        inference = model.infer(x)
        draws = inference.draw(4)
        assert draws.z.shape == (4, 3, CODE)
        q = torch.distributions.Normal(model.encoder.layer(x.x.flatten(1)), (0.5 * model.encoder.log_variance).exp())
        torch.testing.assert_close(draws.log_posterior, q.log_prob(draws.z).sum(2))
        torch.testing.assert_close(draws.log_prior, torch.distributions.Normal(0.0, 1.0).log_prob(draws.z).sum(2))
        p = torch.distributions.Normal(model.decoder.layer(draws.z), SIGMA)
        torch.testing.assert_close(draws.log_likelihood, p.log_prob(x.x.flatten(1)).sum(2))
        codes = draws.z[:, 0]
        torch.testing.assert_close(inference.log_posterior(codes), q.log_prob(codes[:, None]).sum(2))
        torch.testing.assert_close(inference.mean, q.mean)


@pytest.mark.parametrize("prior", [Gaussian.Config(), VampPrior.Config(components=3, std=0.5)], ids=lambda p: p.name)
def test_the_contract_of_a_model(prior):
    parts = {
        "encoder": MlpEncoder.Config(hidden=(8,), posterior="gaussian"),
        "decoder": MlpDecoder.Config(hidden=(8,)),
        "prior": prior,
    }
    check_model(settings(ImportanceWeightedAutoencoder, **parts, importance_samples=3), DataInfo((1, 8, 8), ()))


REFUSED = {
    "a prior without a density": ({"prior": CodeGenerator.Config()}, "model 'iwae' needs a prior with log_prob"),
    "a mean over pixels": ({"reconstruction": Pixel.Config()}, r"model 'iwae' needs -log p\(x \| z\) of a whole image"),
    "a single code": ({"encoder": MlpEncoder.Config()}, "model 'iwae' needs an encoder whose posterior has a density"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parts_that_do_not_fit_are_refused_when_the_model_is_built(case):
    changes, text = REFUSED[case]
    with pytest.raises(PlanError, match=text):
        model_of(**changes)


def test_no_codes_are_refused():
    with pytest.raises(ValueError, match="importance_samples\n  Input should be greater than or equal to 1"):
        settings(ImportanceWeightedAutoencoder, importance_samples=0)
