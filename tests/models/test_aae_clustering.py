"""The adversarial autoencoder that clusters: updated modules, inputs of critics, direction of the encoder's step."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import binary_cross_entropy_with_logits

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo, Objectives, Phase
from genprior.testing import check_model
from genprior_std.games.began import BoundaryEquilibrium
from genprior_std.games.minimax import Minimax
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.aae_clustering import ClusteringAutoencoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.mixture import Mixture
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity
from genprior_std.reconstruction.pixel import Pixel

from .small_categorical_aae import (
    INFO,
    LEARNED,
    STYLE,
    batch_of,
    config,
    gradients,
    model_of,
    moved,
    phase_of,
    seen,
    sgd,
    snapshot,
)

K = 4
SIMILARITY = LearnedSimilarity.Config(layer="hidden1")
WITH_AN_IMAGE_CRITIC = {
    "prior": LEARNED,
    "prior and decoder": {**LEARNED, "improves": {"prior": True, "decoder": True}},
    "decoder": {"improves": {"decoder": True}},
    "reconstructions not judged": {**LEARNED, "reconstruction_as_fake": False},
    "learned similarity": {"reconstruction": SIMILARITY},
}


def clustering(**changes):
    return model_of(ClusteringAutoencoder, **{"categories": K, **changes})


def cross_entropy(logits, is_real):
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(is_real)))


# ---------------------------------------------------------------------------------------------------------------------
# Who moves
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, *WITH_AN_IMAGE_CRITIC.values()], ids=["plain", *WITH_AN_IMAGE_CRITIC])
@pytest.mark.parametrize("info", [INFO, DataInfo((1, 4, 4), ())], ids=["labels", "no labels"])
def test_it_keeps_the_contract_of_a_model(changes, info):
    # A code generator that no phase improves is not made here, so nothing is frozen.
    check_model(config(ClusteringAutoencoder, categories=K, **changes), info)


def test_the_first_phase_moves_the_autoencoder_and_both_critics():
    model, before = clustering(), None
    assert [phase.name for phase in model.phases()] == ["regularise"]
    assert "image_critic" not in dict(model.named_children())
    before = snapshot(model)
    run_phase(phase_of(model, "regularise"), batch_of(), dict(model.named_children()), sgd(model))
    assert moved(model, before) == {"encoder", "decoder", "category_critic", "style_critic"}


@pytest.mark.parametrize("changes", WITH_AN_IMAGE_CRITIC.values(), ids=WITH_AN_IMAGE_CRITIC)
def test_the_last_phase_moves_what_improves_names(changes):
    model = clustering(**changes)
    assert [phase.name for phase in model.phases()] == ["regularise", "improve_prior"]
    before = snapshot(model)
    run_phase(phase_of(model, "improve_prior"), batch_of(), dict(model.named_children()), sgd(model))
    improves = changes.get("improves", {})
    assert moved(model, before) == {"image_critic", *(name for name, on in improves.items() if on)}


def test_a_prior_that_learns_stays_where_it_is_in_the_first_phase():
    model = clustering(**LEARNED)
    before = snapshot(model)
    run_phase(phase_of(model, "regularise"), batch_of(), dict(model.named_children()), sgd(model))
    assert moved(model, before) == {"encoder", "decoder", "category_critic", "style_critic"}


# ---------------------------------------------------------------------------------------------------------------------
# What the networks see
# ---------------------------------------------------------------------------------------------------------------------


def test_the_category_critic_sees_one_hots_as_real_and_soft_categories_as_fake():
    model, batch = clustering(), batch_of(512)
    of_category, _, hook = seen(model.category_critic)
    of_style, _, other = seen(model.style_critic)
    model.regularise(batch)
    hook.remove()
    other.remove()
    out = model.encoder(batch.x, batch.x.new_zeros(512, 0)).mean
    (real,) = [y for y in of_category if not y.requires_grad]
    (fake,) = [y for y in of_category if y.requires_grad]
    assert len(of_category) == len(of_style) == 2
    assert torch.equal(real.sum(1), torch.ones(512).double())
    assert set(real.unique().tolist()) == {0.0, 1.0}
    # Uniform: each count is Binomial(512, 1/4), beyond 5 standard deviations with probability below 1e-5 for all four.
    assert (real.sum(0) - 128).abs().max() < 5 * (512 * 0.25 * 0.75) ** 0.5
    torch.testing.assert_close(fake, torch.exp(out[:, :K]) / torch.exp(out[:, :K]).sum(1, keepdim=True))
    (style,) = [z for z in of_style if z.requires_grad]
    torch.testing.assert_close(style, out[:, K:])


def test_the_prior_is_asked_with_the_category_that_is_drawn_and_decoded_with_it():
    model, batch = clustering(**LEARNED), batch_of(8)
    asked, codes = [], []
    sample = model.prior.sample

    def remember(y):
        asked.append(y)
        codes.append(sample(y))
        return codes[-1]

    model.prior.sample = remember
    decoded, _, hook = seen(model.decoder)
    critic, _, other = seen(model.category_critic)
    model.regularise(batch)
    assert any(y is asked[0] for y in critic)
    decoded.clear()
    model.improve_prior(batch)
    hook.remove()
    other.remove()
    assert asked[1].shape == (8, K)
    torch.testing.assert_close(decoded[0], torch.cat([asked[1], codes[1]], 1))


def test_each_loss_is_the_one_of_the_paper():
    """The objectives against cross-entropies by torch on the networks' own outputs."""
    changes = {"rec_weight": 0.7, "category_weight": 0.3, "style_weight": 1.9}
    model, batch = clustering(**changes), batch_of()
    of_category, _, hook = seen(model.category_critic)
    of_style, _, other = seen(model.style_critic)
    objectives = model.regularise(batch)
    hook.remove()
    other.remove()
    none = batch.x.new_zeros(6, 0)
    out = model.encoder(batch.x, none).mean
    y, z = out[:, :K].softmax(1), out[:, K:]
    (real_y,) = [each for each in of_category if not each.requires_grad]
    (real_z,) = [each for each in of_style if not each.requires_grad]
    rec = ((model.decoder(torch.cat([y, z], 1), none) - batch.x) ** 2).flatten(1).mean(1).mean()
    fool_y = cross_entropy(model.category_critic(y, none), True)
    fool_z = cross_entropy(model.style_critic(z, none), True)
    judge_y = cross_entropy(model.category_critic(real_y, none), True)
    judge_y = judge_y + cross_entropy(model.category_critic(y, none), False)
    judge_z = cross_entropy(model.style_critic(real_z, none), True)
    judge_z = judge_z + cross_entropy(model.style_critic(z, none), False)
    expected = {
        "encoder": 0.7 * rec + 0.3 * fool_y + 1.9 * fool_z,
        "decoder": 0.7 * rec,
        "category_critic": judge_y,
        "style_critic": judge_z,
    }
    for name, loss in expected.items():
        module = getattr(model, name)
        for ours, theirs in zip(gradients(objectives[name], module), gradients(loss, module), strict=True):
            assert float(theirs.abs().max()) > 1e-6
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(objectives["encoder"], expected["encoder"])
    torch.testing.assert_close(objectives["category_critic"], judge_y)
    torch.testing.assert_close(objectives["style_critic"], judge_z)


def test_the_last_phase_is_the_game_of_images():
    model, batch = clustering(**{**LEARNED, "improves": {"prior": True, "decoder": True}}), batch_of()
    _, made, hook = seen(model.decoder)
    objectives = model.improve_prior(batch)
    hook.remove()
    x_new, x_rec = made
    none = batch.x.new_zeros(6, 0)
    critic = model.image_critic
    judge = cross_entropy(critic(batch.x, none), True)
    judge = judge + cross_entropy(critic(x_new, none), False) + cross_entropy(critic(x_rec, none), False)
    fool = cross_entropy(critic(x_new, none), True) + cross_entropy(critic(x_rec, none), True)
    torch.testing.assert_close(objectives["image_critic"], judge)
    assert objectives["prior"] is objectives["decoder"]
    torch.testing.assert_close(objectives["prior"], fool)
    rec = model.reconstruct(batch)
    torch.testing.assert_close(x_rec, rec)


@pytest.mark.parametrize("game", [NonSaturating, Minimax])
@pytest.mark.parametrize(("role", "other"), [("category", "style"), ("style", "category")])
def test_a_step_of_the_encoder_raises_the_critics_logit(role, other, game):
    """The fooling term alone, by weights of (nearly) nothing elsewhere, and the critic held."""
    games = {"category_game": game.Config(), "style_game": game.Config()}
    model = clustering(rec_weight=1e-12, **{f"{other}_weight": 0.0}, **games)
    batch = batch_of(32)
    none = batch.x.new_zeros(32, 0)

    def logit():
        logits, z = model.codes(batch.x)
        code = logits.softmax(1) if role == "category" else z
        return getattr(model, f"{role}_critic")(code, none).mean().detach()

    def encoder_alone(batch):
        return Objectives({"encoder": model.regularise(batch)["encoder"]})

    before, state = float(logit()), snapshot(model)
    for _ in range(5):
        run_phase(Phase("alone", encoder_alone), batch, dict(model.named_children()), sgd(model, lr=0.02))
    assert moved(model, state) == {"encoder"}
    assert float(logit()) > before + 1e-5


def test_a_gaussian_encoder_draws_the_style_and_not_the_category():
    model = clustering(encoder=MlpEncoder.Config(hidden=(8,), posterior="gaussian"))
    batch = batch_of()
    mean = model.encoder(batch.x, batch.x.new_zeros(6, 0)).mean
    logits, z = model.codes(batch.x, draw=True)
    assert torch.equal(logits, mean[:, :K])
    assert (z - mean[:, K:]).abs().min() > 0
    assert torch.equal(model.encode(batch), mean[:, K:])


def test_a_category_is_at_least_in_single_precision():
    model = clustering().float()
    with torch.autocast("cpu", torch.bfloat16):
        y = model.clusters(Batch(batch_of().x.float(), batch_of().y))
        objectives = model.regularise(Batch(batch_of().x.float(), batch_of().y))
    assert y.dtype == torch.float32
    assert all(torch.isfinite(loss) for loss in objectives.values())


# ---------------------------------------------------------------------------------------------------------------------
# What it gives
# ---------------------------------------------------------------------------------------------------------------------


def test_images_are_made_of_a_category_and_a_style():
    model = clustering().eval()
    condition = model.condition(torch.zeros(400, dtype=torch.float64))
    assert condition.known.shape == (400, 0)
    assert condition.asked.shape == (400, K)
    assert set(condition.asked.argmax(1).tolist()) == set(range(K))
    codes, _, hook = seen(model.decoder)
    assert model.generate(condition).shape == (400, *INFO.image)
    assert torch.equal(codes[0][:, :K], condition.asked)
    # Mean and variance of N(0, 1) from 800 draws: beyond 5 standard errors with probability below 1e-5.
    style = codes[0][:, K:]
    assert abs(float(style.mean())) < 5 / 800**0.5
    assert abs(float(style.var()) - 1) < 5 * (2 / 800) ** 0.5
    model.cluster_heads()
    hook.remove()
    assert torch.equal(codes[1], torch.cat([torch.eye(K), torch.zeros(K, STYLE)], 1).double())


def test_codes_decode_to_the_reconstruction_where_the_category_is_sure():
    model, batch = clustering().eval(), batch_of()
    with torch.no_grad():
        model.encoder.to_code.bias[:K] = torch.tensor([0.0, 0.0, 1e3, 0.0])
    condition = model.condition(batch.x)._replace(asked=torch.eye(K)[2].expand(6, -1).double())
    assert torch.equal(model.clusters(batch), condition.asked)
    torch.testing.assert_close(model.decode(model.encode(batch), condition), model.reconstruct(batch))
    assert model.classify(batch) is None


def test_two_kinds_of_images_become_two_clusters():
    """Black and white images with noise, without labels: each kind has a category of its own."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(128) % 2
    noise = torch.randn(128, 1, 2, 2, generator=generator)
    batch = Batch((1.2 * y[:, None, None, None] - 0.6 + 0.1 * noise).clamp(-1, 1), torch.zeros_like(y))
    networks = {"encoder": MlpEncoder.Config(hidden=(16,)), "decoder": MlpDecoder.Config(hidden=(16,))}
    critics = dict.fromkeys(("category_critic", "style_critic"), CodeCritic.Config(hidden=(16,)))
    settings = config(ClusteringAutoencoder, categories=2, code_size=1, **networks, **critics)
    model = build_model(settings, DataInfo((1, 2, 2), ()), 0).train()
    modules = dict(model.named_children())
    optimisers = {
        name: torch.optim.Adam(module.parameters(), lr=3e-3, betas=(0.5, 0.999))
        for name, module in modules.items()
        if list(module.parameters())
    }
    assert 0.3 < (model.clusters(batch).argmax(1) == y).double().mean() < 0.7
    for _ in range(400):
        run_phase(phase_of(model, "regularise"), batch, modules, optimisers)
    found = model.eval().clusters(batch).argmax(1)
    assert (found == y).double().mean() in (0.0, 1.0)
    black, white = model.cluster_heads().detach().flatten(1).mean(1)[found[:2]].tolist()
    assert white > black + 0.1


# ---------------------------------------------------------------------------------------------------------------------
# What it refuses
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"reconstruction": Pixel.Config(metric="gaussian", variance="shared")},
            r"reconstruction 'pixel' learns the width of its density.*model 'aae_clustering' has none.*\"fixed\"",
        ),
        (
            {"improves": {"prior": True}},
            r"improves\.prior = true.*'gaussian' has no parameters.*code_generator.*or set improves\.prior = false",
        ),
        ({"prior": VampPrior.Config(components=3)}, r"prior 'vampprior' borrows encoder.*'gaussian' or 'code_gen"),
        (
            {"encoder": MlpEncoder.Config(posterior="softmax")},
            r"'mlp' takes it of the whole code.*posterior = \"point\"",
        ),
        ({"decoder": PixelCnnDecoder.Config()}, r"decoder 'pixelcnn' samples its pixels.*Use a decoder such as 'mlp'"),
        ({"category_game": BoundaryEquilibrium.Config()}, r"category_game 'began' has parameters"),
        ({"style_game": BoundaryEquilibrium.Config()}, r"style_game 'began' has parameters"),
        ({"prior": Mixture.Config(components=10)}, r"prior 'mixture' has 10 components.*width 4"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, text):
    with pytest.raises(PlanError, match=text):
        clustering(**changes)


def test_a_class_cannot_be_asked_for():
    text = r"'aae_clustering' finds its 4 categories without labels.*'aae_semi_supervised'"
    with pytest.raises(PlanError, match=text):
        clustering().condition(torch.zeros(2), torch.tensor([0, 1]))


@pytest.mark.parametrize("field", [{"categories": 1}, {"code_size": 0}, {"rec_weight": 0.0}, {"style_weight": -1.0}])
def test_settings_out_of_range_are_refused(field):
    with pytest.raises(ValidationError, match=next(iter(field))):
        config(ClusteringAutoencoder, **field)


def test_the_default_is_the_papers_sixteen_clusters_and_a_small_style():
    parts = config(ClusteringAutoencoder).model_dump(exclude={"name", "code_size", "categories"})
    assert ClusteringAutoencoder.Config.model_fields["categories"].default == 16
    assert ClusteringAutoencoder.Config.model_fields["code_size"].default == 5
    assert set(parts) >= {"category_critic", "style_critic"}
    assert isinstance(config(ClusteringAutoencoder).prior, Gaussian.Config)
