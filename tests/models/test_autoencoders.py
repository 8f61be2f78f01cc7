"""The autoencoders without a critic: contracts, losses recomputed from the parts, regularisers, and refused parts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from genprior import Batch, DataInfo, PlanError
from genprior.engine.build import build_model
from genprior.engine.ema import AveragedWeights
from genprior.testing import check_model
from genprior_std.conditioners.label import Label
from genprior_std.model_pieces.matching import sliced_wasserstein, squared_mmd
from genprior_std.models.autoencoder import Autoencoder
from genprior_std.models.rae import RegularisedAutoencoder
from genprior_std.models.wae import WassersteinAutoencoder
from genprior_std.networks.dcgan_decoder import DcganDecoder
from genprior_std.networks.gated_mlp_decoder import GatedMlpDecoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder
from genprior_std.networks.residual_decoder import ResidualDecoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.mixture import Mixture
from genprior_std.priors.swiss_roll import SwissRoll
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 4, 4), ("a", "b", "c"))
BARE = {
    "code_size": 3,
    "encoder": MlpEncoder.Config(hidden=(6,)),
    "decoder": MlpDecoder.Config(hidden=(6,), activation="tanh"),
    "reconstruction": Pixel.Config(),
}
LABEL = {"conditioner": Label.Config(), "decoder": MlpDecoder.Config(hidden=(6,), conditional=True)}
GAUSSIAN = {"prior": Gaussian.Config()}
NOISY = {"encoder": MlpEncoder.Config(hidden=(6,), posterior="gaussian")}
AE, WAE, RAE = Autoencoder, WassersteinAutoencoder, RegularisedAutoencoder


def built(kind, **changes):
    return build_model(kind.Config(**{**BARE, **changes}), INFO, 0).train()


def batch_of(n=8, dtype=torch.float32):
    x = 2 * torch.rand(n, *INFO.image, generator=torch.Generator().manual_seed(1)) - 1
    return Batch(x.to(dtype), torch.arange(n) % 3)


def objectives(model, batch, seed=3):
    """Those of the only phase."""
    torch.manual_seed(seed)
    (phase,) = model.phases()
    return phase.objectives(batch)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (AE, {}),
        (AE, {**LABEL, "prior": Mixture.Config(components=3), "code_size": 2}),
        (WAE, GAUSSIAN),
        (WAE, {"prior": CodeGenerator.Config(), "kernel": "rbf"}),
        (WAE, {"prior": SwissRoll.Config(), "code_size": 2, "divergence": "sliced", "projections": 5}),
        (WAE, {**GAUSSIAN, **NOISY, "sigma": 2.0}),
        (WAE, {**LABEL, "prior": CodeGenerator.Config(), "conditional": True}),
        (RAE, {}),
        (RAE, {"regularisation": "gradient_penalty"}),
        (RAE, {"regularisation": "spectral"}),
        (RAE, {"regularisation": "none", **LABEL}),
    ],
)
def test_the_contract_of_a_model(kind, changes):
    check_model(kind.Config(**{**BARE, **changes}), INFO)


# ---------------------------------------------------------------------------------------------------------------------
# Losses
# ---------------------------------------------------------------------------------------------------------------------


def test_an_autoencoder_minimises_the_error_alone():
    model, batch = built(AE, prior=Gaussian.Config(sigma=9.0)), batch_of()
    expected = (model.reconstruct(batch) - batch.x).square().mean()
    losses = objectives(model, batch)
    assert set(losses) == {"encoder", "decoder"}
    torch.testing.assert_close(losses["encoder"], expected)
    assert losses["encoder"] is losses["decoder"]


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("divergence", ["mmd", "sliced"])
def test_a_wae_adds_the_divergence_between_its_codes_and_draws_of_the_prior(divergence, conditional):
    settings = {"divergence": divergence, "divergence_weight": 0.3, "kernel": "rbf", "sigma": 2.0, "projections": 7}
    model = built(WAE, **LABEL, prior=Gaussian.Config(sigma=2.0), conditional=conditional, **settings)
    batch = batch_of()
    losses = objectives(model, batch)
    torch.manual_seed(3)
    known, asked = model.conditioner(batch)
    z_p, z = model.prior.sample(asked), model.encode(batch)
    if conditional:
        z_p, z = torch.cat([z_p, known], 1), torch.cat([z, known], 1)
    divergence = sliced_wasserstein(z, z_p, 7) if divergence == "sliced" else squared_mmd(z, z_p, "rbf", 2.0)
    error = (model.reconstruct(batch) - batch.x).square().mean()
    torch.testing.assert_close(losses["encoder"], error + 0.3 * divergence)
    torch.testing.assert_close(losses.note["divergence"], divergence)
    torch.testing.assert_close(losses.note["reconstruction"], error)


def test_with_the_condition_a_wae_tells_codes_under_the_wrong_labels_apart():
    """Codes that are the prior's, each under the label of another one, have no divergence but that of pairs."""
    batch = batch_of(60)
    values = {}
    for conditional in (False, True):
        model = built(WAE, **LABEL, prior=Mixture.Config(components=3), code_size=2, conditional=conditional)
        known, asked = model.conditioner(batch)
        for shift in (0, 1):
            torch.manual_seed(0)
            z, z_p = model.prior.sample(asked.roll(shift, 1)), model.prior.sample(asked)
            values[conditional, shift] = model._divergence(z, z_p, known).item()
    assert abs(values[False, 1] - values[False, 0]) < 0.1
    assert values[True, 1] - values[True, 0] > 0.3


@pytest.mark.parametrize("prior", [Gaussian.Config(), CodeGenerator.Config()])
def test_only_a_prior_that_learns_is_drawn_with_gradients(prior):
    model, seen = built(WAE, prior=prior), []
    sample = model.prior.sample
    model.prior.sample = lambda asked: seen.append(torch.is_grad_enabled()) or sample(asked)
    assert ("prior" in objectives(model, batch_of())) == isinstance(prior, CodeGenerator.Config)
    assert seen == [isinstance(prior, CodeGenerator.Config)]


def test_a_rae_penalises_codes_and_the_weights_of_the_decoder():
    model, batch = built(RAE, beta=0.2, reg_weight=0.03), batch_of()
    losses = objectives(model, batch)
    squares = sum(weight.detach().square().sum() for weight in model.decoder.parameters())
    size = model.encode(batch).square().sum(1).mean() / 2
    error = (model.reconstruct(batch) - batch.x).square().mean()
    torch.testing.assert_close(losses["decoder"], error + 0.2 * size + 0.03 * squares)
    torch.testing.assert_close(losses.note["size"], size)
    torch.testing.assert_close(losses.note["penalty"], squares)


def test_the_gradient_penalty_is_half_the_squared_norm_of_the_jacobian_on_average():
    model, batch = built(RAE, regularisation="gradient_penalty").double(), batch_of(4, torch.float64)
    z, known = model.encode(batch).detach(), torch.zeros(1, 0, dtype=torch.float64)
    exact = sum(jacobian(lambda row: model.decoder(row[None], known), row).square().sum() / 2 for row in z) / 4
    found = torch.stack([objectives(model, batch, seed).note["penalty"].detach() for seed in range(300)])
    error = found.std() / math.sqrt(300)
    # Four standard errors: a right estimate fails with probability below 1e-4.
    assert found.mean().item() == pytest.approx(exact.item(), abs=4 * error.item())
    assert error < 0.05 * exact


def test_the_gradient_penalty_flattens_the_decoder():
    slopes = {}
    for weight in (0.0, 1.0):
        model, batch = built(RAE, regularisation="gradient_penalty", reg_weight=weight, beta=0.0), batch_of()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for step in range(50):
            optimiser.zero_grad()
            losses = objectives(model, batch, step)
            losses["decoder"].backward()
            optimiser.step()
        slopes[weight] = losses.note["penalty"].item()
    assert slopes[1.0] < 0.3 * slopes[0.0]


def largest_singular_values(decoder):
    """Of each layer, with its weight as a matrix of one row for each output."""
    found = []
    for layer in decoder.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
            found.append(torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item())
    return found


@pytest.mark.parametrize(
    "decoder",
    [
        MlpDecoder.Config(hidden=(6, 5)),
        GatedMlpDecoder.Config(hidden=(6,)),
        ResidualDecoder.Config(width=4),
        DcganDecoder.Config(width=4),
    ],
    ids=lambda config: config.name,
)
def test_with_spectral_norms_every_layer_of_the_decoder_has_norm_one(decoder):
    info, kinds = DataInfo((1, 8, 8), ()), {**BARE, "decoder": decoder}
    model = build_model(RAE.Config(**kinds, regularisation="spectral"), info, 0).train()
    plain = build_model(RAE.Config(**kinds), info, 0)
    batch = Batch(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(8))
    for _ in range(60):  # power iterations
        losses = objectives(model, batch)
    assert losses.note["penalty"] == 0
    norms = largest_singular_values(model.decoder.eval())
    assert len(norms) == len(largest_singular_values(plain.decoder)) >= 2
    assert norms == pytest.approx([1.0] * len(norms), abs=0.02)
    # The weights that are learned start as without it.
    first = [each for name, each in model.decoder.named_parameters() if name.endswith("original")]
    second = [layer.weight for layer in plain.decoder.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    second += [layer.weight for layer in plain.decoder.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert sorted(p.sum().item() for p in first) == sorted(p.sum().item() for p in second)


def test_averaged_weights_keep_norm_one():
    """The average of unit vectors that turn is shorter than 1, and must not enlarge what it divides."""
    model = built(RAE, regularisation="spectral")
    average = AveragedWeights({"decoder": model.decoder}, 0.9)
    with torch.no_grad():
        for step in range(20):
            for name, parameter in model.decoder.named_parameters():
                if name.endswith("original"):
                    parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step)))
            objectives(model, batch_of())
            average.update(step)
    lengths = []
    with average.in_place():
        model.decoder.eval()
        lengths = [each.norm().item() for name, each in model.decoder.named_buffers() if name.endswith("_u")]
        norms = largest_singular_values(model.decoder)
    assert min(lengths) < 0.97
    # The averaged vectors are near the singular ones, so a norm is at least 1 and not far above.
    assert all(0.99 < norm < 1.3 for norm in norms)


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(AE, "autoencoder"), (RAE, "rae")])
def test_what_a_deterministic_autoencoder_refuses(kind, name):
    with pytest.raises(PlanError) as caught:
        built(kind, **NOISY)
    assert str(caught.value) == (
        f"model '{name}' has a deterministic encoder, since none of its losses keeps codes spread out; encoder 'mlp' "
        "draws codes from a density. Set posterior = \"point\" in the encoder's table, or use model 'wae', 'aae' or "
        "'vae'"
    )
    with pytest.raises(PlanError) as caught:
        built(kind, prior=CodeGenerator.Config())
    assert str(caught.value) == (
        f"model '{name}' uses its prior only to draw new images, so prior 'code_generator' would not learn. Use a "
        "prior without parameters, such as 'gaussian', and a fitted_prior beside it, or model 'wae', which trains its "
        "prior"
    )


@pytest.mark.parametrize("kind", [AE, WAE, RAE])
def test_what_no_autoencoder_of_these_trains_is_refused(kind):
    with pytest.raises(PlanError, match=f"model '{kind.name}' trains on the error of decoded images, and decoder"):
        built(kind, **GAUSSIAN, decoder=PixelCnnDecoder.Config())
    with pytest.raises(PlanError, match=f"a likelihood bound can train; model '{kind.name}' has none"):
        built(kind, **GAUSSIAN, reconstruction=Pixel.Config(metric="gaussian", variance="shared"))


def test_one_image_has_no_pairs_of_codes():
    with pytest.raises(PlanError, match="Set run.batch to 2 or more"):
        objectives(built(WAE, **GAUSSIAN), batch_of(1))
