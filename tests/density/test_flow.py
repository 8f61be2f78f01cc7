"""The flow prior: its density against autograd's Jacobian and known densities, what it learns, and what it refuses."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from sklearn.datasets import make_moons

from genprior.engine.build import build_model
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo, DensityPrior, Sizes
from genprior.testing import check_model, check_prior
from genprior_std.conditioners.none import NoCondition
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.flow import FAMILIES, Flow
from genprior_std.reconstruction.pixel import Pixel

KINDS = tuple(FAMILIES)
SMALL = {"transforms": 2, "hidden": (16,)}


def flow_of(kind, code=2, asked=0, seed=0, **settings):
    torch.manual_seed(seed)
    prior = Flow.Config(kind=kind, **{**SMALL, **settings}).make(Sizes((1, 16, 16), code, asked, asked))
    return prior.double()


def bent(kind, code=2, asked=0, **settings):
    """A flow whose weights are large enough to be far from the normal distribution."""
    prior = flow_of(kind, code, asked, **settings)
    with torch.no_grad():
        for p in prior.parameters():
            p.mul_(1.5)
    return prior


def nothing(n, dtype=torch.float64):
    return torch.zeros(n, 0, dtype=dtype)


def learn(prior, z, asked, steps, rate=5e-3, batch=256):
    """Maximum likelihood, by the prior's own log_prob."""
    optimiser = torch.optim.Adam(prior.parameters(), lr=rate)
    for _ in range(steps):
        chosen = torch.randint(len(z), (batch,))
        optimiser.zero_grad()
        (-prior.log_prob(z[chosen], asked[chosen]).mean()).backward()
        optimiser.step()
    return prior


# ---------------------------------------------------------------------------------------------------------------------
# The density
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [0, 3])
@pytest.mark.parametrize("code", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_contract_of_a_prior(kind, code, asked):
    """Among other things: integral 1, and samples that follow the density."""
    check_prior(Flow.Config(kind=kind, **SMALL), code=code, asked=asked, uses_asked=asked > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one_on_a_grid(kind):
    """Midpoints of a grid that is wider than 20,000 samples by 1.5 standard deviations on each side."""
    prior = bent(kind)
    cells = 400
    with torch.no_grad():
        torch.manual_seed(1)
        z = prior.sample(nothing(20_000))
        low, high = z.amin(0) - 1.5 * z.std(0), z.amax(0) + 1.5 * z.std(0)
        share = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
        grid = low + (high - low) * torch.cartesian_prod(share, share)
        density = torch.cat([prior.log_prob(part, nothing(len(part))).exp() for part in grid.split(50_000)])
    assert float(density.mean() * (high - low).prod()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("asked", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_density_is_the_change_of_variables_by_autograds_jacobian(kind, asked):
    """log N(T(z); 0, I) + log |det dT / dz|, T being followed numerically, without zuko's own log-determinants."""
    prior = bent(kind, 3, asked)
    condition = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 0]][:, :asked]
    z = torch.randn(4, 3, dtype=torch.float64)
    for row, told in zip(z, condition, strict=True):
        transform = prior.network(told if asked else None).transform
        e, jacobian = transform(row).detach(), torch.autograd.functional.jacobian(transform, row)
        expected = stats.norm.logpdf(e.numpy()).sum() + float(torch.linalg.slogdet(jacobian).logabsdet)
        assert prior.log_prob(row[None], told[None]).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_each_condition_has_its_own_density(kind):
    prior = bent(kind, 2, 3)
    z = torch.randn(1, 2, dtype=torch.float64).expand(3, -1)
    p = prior.log_prob(z, torch.eye(3, dtype=torch.float64))
    assert len({round(value, 6) for value in p.tolist()}) == 3


def test_splines_are_the_identity_beyond_five():
    """So far out the density is that of the noise, where every coordinate is."""
    prior = bent("nsf")
    z = torch.tensor([[5.5, -6.0], [-7.0, 5.01], [8.0, 8.0]], dtype=torch.float64)
    expected = stats.norm.logpdf(z.numpy()).sum(1)
    assert prior.log_prob(z, nothing(3)).tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    near = prior.log_prob(z / 4, nothing(3))
    assert (near - torch.from_numpy(stats.norm.logpdf(z.numpy() / 4).sum(1))).abs().min() > 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# Precision
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_agrees_with_double(kind, asked):
    double, single = bent(kind, 8, asked), bent(kind, 8, asked).float()
    condition = torch.eye(3, dtype=torch.float64)[torch.arange(4000) % 3][:, :asked]
    with torch.no_grad():
        torch.manual_seed(2)
        z = single.sample(condition.float())
        got, expected = single.log_prob(z, condition.float()), double.log_prob(z.double(), condition)
    assert z.dtype == got.dtype == torch.float32 and z.isfinite().all()
    assert float((got - expected).abs().median()) < 1e-4
    assert got.double().mean().item() == pytest.approx(expected.mean().item(), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_round_densities_or_samples(kind):
    prior = bent(kind, 4, 2).float()
    asked = torch.eye(2)[torch.arange(10) % 2]
    z = torch.randn(10, 4)

    def both():
        torch.manual_seed(4)
        return prior.log_prob(z, asked), prior.sample(asked)

    plain = both()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = both()
    for one, other in zip(plain, mixed, strict=True):
        assert torch.equal(one, other)
    half = prior.log_prob(z.bfloat16(), asked.bfloat16())  # codes may come in half precision; the density is not
    torch.testing.assert_close(half, prior.log_prob(z.bfloat16().float(), asked))


# ---------------------------------------------------------------------------------------------------------------------
# What it learns
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_two_moons_are_learned_better_than_by_any_gaussian(kind):
    points, _ = make_moons(6000, noise=0.08, random_state=0)
    z = torch.from_numpy((points - points.mean(0)) / points.std(0))
    train, held = z[:4000], z[4000:]
    gaussian = stats.multivariate_normal(train.numpy().mean(0), torch.cov(train.T).numpy())
    prior = learn(flow_of(kind, transforms=4, hidden=(32, 32)), train, nothing(4000), steps=300)
    with torch.no_grad():
        learned = float(prior.log_prob(held, nothing(2000)).mean())
    assert learned > gaussian.logpdf(held.numpy()).mean() + (0.6 if kind == "nsf" else 0.3)


def test_it_comes_near_a_density_that_is_known_and_not_above_it():
    """Two Gaussians: no density can have a higher expected likelihood than the truth.

    The bound holds in expectation; the mean of log p / log p* over 4000 held-out codes is at most 5 standard errors
    above 0, which a normalised density exceeds with probability below 1e-6.
    """
    torch.manual_seed(5)
    centres = torch.tensor([[-1.5, 0.0], [1.5, 0.5]], dtype=torch.float64)
    z = centres[torch.randint(2, (8000,))] + 0.4 * torch.randn(8000, 2, dtype=torch.float64)
    each = stats.norm.logpdf(z.numpy()[:, None], centres.numpy(), 0.4).sum(2)
    truth = torch.from_numpy(each).logsumexp(1) - math.log(2)
    prior = learn(flow_of("nsf", hidden=(32, 32)), z[:4000], nothing(4000), steps=400)
    with torch.no_grad():
        gap = prior.log_prob(z[4000:], nothing(4000)) - truth[4000:]
    assert -0.15 < float(gap.mean()) < 5 * float(gap.std()) / math.sqrt(len(gap))


def test_a_condition_is_learned():
    """z given class k is N(c_k, 0.5^2 I): samples of each class lie at c_k, and a wrong class is far less likely."""
    torch.manual_seed(6)
    centres = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    y = torch.randint(3, (6000,))
    asked = torch.eye(3, dtype=torch.float64)
    z = centres[y] + 0.5 * torch.randn(6000, 2, dtype=torch.float64)
    prior = learn(flow_of("nsf", asked=3), z, asked[y], steps=300, rate=1e-2)
    with torch.no_grad():
        drawn = [prior.sample(asked[k].expand(2000, -1)) for k in range(3)]
        gap = prior.log_prob(z, asked[y]) - prior.log_prob(z, asked[(y + 1) % 3])
    for k, of_class in enumerate(drawn):
        assert (of_class.mean(0) - centres[k]).abs().max() < 0.15
        assert (of_class.std(0) - 0.5).abs().max() < 0.15
    assert float(gap.mean()) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_samples_can_be_descended(kind):
    """The gradient of a loss of samples is that of finite differences along it, under one seed."""
    prior = bent(kind, 3)
    parameters = list(prior.parameters())

    def loss():
        torch.manual_seed(7)
        return prior.sample(nothing(50)).square().mean()

    gradient = torch.autograd.grad(loss(), parameters)
    length = math.sqrt(sum(float(g.square().sum()) for g in gradient))
    step = 1e-6
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for p, g in zip(parameters, gradient, strict=True):
                p.add_(sign * step * g / length)
            values.append(float(loss()))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(length, rel=1e-3)


def vae():
    return VariationalAutoencoder.Config(
        code_size=2,
        prior=Flow.Config(**SMALL),
        encoder=MlpEncoder.Config(hidden=(8,), posterior="gaussian"),
        decoder=MlpDecoder.Config(hidden=(8,)),
        reconstruction=Pixel.Config(metric="gaussian", sigma=0.5, reduction="sum"),
        conditioner=NoCondition.Config(),
    )


def test_a_variational_autoencoder_takes_it_and_descends_its_likelihood():
    info = DataInfo((1, 8, 8), ())
    check_model(vae(), info)
    model = build_model(vae(), info, 0).double()
    assert isinstance(model.prior, DensityPrior)
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64) * 2 - 1
    torch.manual_seed(8)
    objectives = model.elbo(Batch(x, torch.zeros(6, dtype=torch.int64)))
    assert set(objectives) == {"encoder", "decoder", "prior"}
    torch.manual_seed(8)
    z = model.encoder(x, nothing(6)).rsample().detach()
    got = torch.autograd.grad(objectives["prior"], list(model.prior.parameters()))
    expected = torch.autograd.grad(-model.prior.log_prob(z, nothing(6)).mean(), list(model.prior.parameters()))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


# ---------------------------------------------------------------------------------------------------------------------
# Settings, and what is refused
# ---------------------------------------------------------------------------------------------------------------------


def test_the_settings_are_the_networks():
    prior = Flow.Config(kind="realnvp", transforms=5, hidden=(7, 9, 11)).make(Sizes((1, 16, 16), 6, 0, 0))
    widths = [len(p) for p in prior.parameters() if p.ndim == 2]
    assert widths == [7, 9, 11, 6] * 5  # shift and scale of 3 of the 6 coordinates


@pytest.mark.parametrize(
    "settings", [{"kind": "spline"}, {"transforms": 0}, {"hidden": ()}, {"hidden": (0,)}], ids=lambda s: next(iter(s))
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        Flow.Config(**settings)


def test_without_zuko_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(PlanError) as caught:
        Flow.Config().make(Sizes((1, 16, 16), 2, 0, 0))
    assert str(caught.value) == (
        "prior 'flow' needs the library zuko, which is not installed. "
        'Install it with `pip install "genprior[flow]"`, or use another prior with a density '
        "('gaussian', 'mixture', 'vampprior')"
    )


@pytest.mark.parametrize("asked", [0, 2])
@pytest.mark.parametrize("code", [1, 2])
@pytest.mark.parametrize("kind", FAMILIES)
def test_it_starts_near_the_standard_normal_distribution(kind, code, asked):
    """The Kullback-Leibler divergence from N(0, I) is less than half a nat for each number of a code."""
    for seed in range(8):
        prior = flow_of(kind, code, asked, seed, transforms=3, hidden=(64, 64))
        torch.manual_seed(seed)
        z = torch.randn(2000, code)
        conditions = torch.eye(2)[torch.arange(2000) % 2] if asked else z[:, :0]
        normal = torch.from_numpy(stats.norm.logpdf(z.numpy()).sum(1))
        with torch.no_grad():
            assert float((normal - prior.log_prob(z, conditions)).mean()) < 0.5 * code
