"""VAE/GAN: its losses against losses written out by hand, which gradient each module takes, and its features."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.parts import Batch, Objectives, Phase
from genprior.testing import check_reconstruction
from genprior_std.games.minimax import Minimax
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.vae_gan import VaeGan
from genprior_std.networks.image_convolutional import ConvolutionalImageCritic
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity
from genprior_std.reconstruction.pixel import Pixel

from .small_vae_gan import (
    CODE,
    INFO,
    Written,
    batch_of,
    config,
    model_of,
    moved,
    parameters,
    sgd,
    similarity,
    snapshot,
)

# ---------------------------------------------------------------------------------------------------------------------
# The losses, written out
# ---------------------------------------------------------------------------------------------------------------------

GAMES = [Minimax, NonSaturating]


@pytest.mark.parametrize("game", GAMES)
def test_each_module_takes_the_gradient_of_its_own_loss_and_of_nothing_else(game):
    """A step of plain gradient descent with rate 1 subtracts the gradient itself, so the engine's routing is in it.

    The encoder's is that of beta KL + llike, without the game; the critic's that of the game, without llike.
    """
    beta, gamma = 0.7, 0.3
    model, batch = model_of(game=game.Config(), beta=beta, gamma=gamma), batch_of()
    own = Written(model, batch)
    losses = {
        "encoder": beta * own.kl() + own.llike(),
        "decoder": gamma * own.llike() + own.fool(game),
        "image_critic": own.judge(),
    }
    expected = {
        role: torch.autograd.grad(loss, parameters(model, role), retain_graph=True) for role, loss in losses.items()
    }
    before = snapshot(model)
    torch.manual_seed(4)
    (phase,) = model.phases()
    run_phase(phase, batch, dict(model.named_children()), sgd(model, lr=1.0))
    assert moved(model, before) == {"encoder", "decoder", "image_critic"}
    for role, gradients in expected.items():
        torch.testing.assert_close(own.objectives[role], losses[role])
        assert max(float(g.abs().max()) for g in gradients) > 1e-4
        for old, new, gradient in zip(before[role], parameters(model, role), gradients, strict=True):
            torch.testing.assert_close(old - new.detach(), gradient, rtol=1e-9, atol=1e-12)


def test_the_game_has_a_gradient_in_the_encoder_that_is_not_taken():
    """Without this the test above could pass on a game that does not depend on the encoder."""
    own = Written(model_of(), batch_of())
    gradients = torch.autograd.grad(own.fool(NonSaturating), parameters(own.model, "encoder"), retain_graph=True)
    assert max(float(g.abs().max()) for g in gradients) > 1e-6
    to_critic = torch.autograd.grad(own.llike(), parameters(own.model, "image_critic"), allow_unused=True)
    assert any(g is not None and float(g.abs().max()) > 1e-6 for g in to_critic)


def test_a_prior_that_learns_moves_by_the_kl_alone():
    beta = 0.7
    model, batch = model_of(prior=VampPrior.Config(components=3, std=0.5), beta=beta), batch_of()
    own = Written(model, batch)
    (expected,) = torch.autograd.grad(
        -beta * model.prior.log_prob(own.z.detach(), own.none).mean(), model.prior.pseudo_inputs
    )
    before = model.prior.pseudo_inputs.detach().clone()
    old = snapshot(model)
    torch.manual_seed(4)
    run_phase(model.phases()[0], batch, dict(model.named_children()), sgd(model, lr=1.0))
    assert moved(model, old) == {"encoder", "decoder", "image_critic", "prior"}
    torch.testing.assert_close(before - model.prior.pseudo_inputs.detach(), expected, rtol=1e-9, atol=1e-12)


def test_the_kl_is_that_of_the_closed_form(monkeypatch):
    """The estimate is a polynomial of degree two in the noise.

    The points +-sqrt(d) e_j integrate those exactly under N(0, I), so the mean over them is the expectation itself.
    """
    model, batch = model_of(prior=Gaussian.Config(sigma=1.7)), batch_of(5)
    points = math.sqrt(CODE) * torch.cat([torch.eye(CODE), -torch.eye(CODE)]).double()
    noise = points.repeat_interleave(5, 0)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise)
    kl = model.autoencode(Batch(batch.x.repeat(len(points), 1, 1, 1), batch.y.repeat(len(points)))).note["kl"]
    q = model.encoder(batch.x, batch.x.new_zeros(5, 0))
    prior = Normal(torch.zeros_like(q.mean), 1.7)
    expected = kl_divergence(Normal(q.mean, (0.5 * q.log_variance).exp()), prior).sum(1).mean()
    torch.testing.assert_close(kl, expected, rtol=1e-10, atol=0)


# ---------------------------------------------------------------------------------------------------------------------
# The sign of the game
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("as_fake", [True, False])
def test_a_step_of_the_decoder_makes_the_critic_worse_at_telling_its_images(game, as_fake):
    """Along the decoder's step the critic's cross-entropy on fakes rises: to first order, and after a small real step.

    gamma = 0 leaves the game alone; the critic, the encoder and the noise are held.
    """
    model, batch = model_of(game=game.Config(), gamma=0.0, reconstruction_as_fake=as_fake), batch_of(32)

    def cost():
        own = Written(model, batch)
        rec = own.cross_entropy(own.x_rec, False) if as_fake else 0.0
        return own.cross_entropy(own.x_new, False) + rec, own.objectives

    start, objectives = cost()
    decoder = parameters(model, "decoder")
    step = torch.autograd.grad(objectives["decoder"], decoder)
    ascent = torch.autograd.grad(start, decoder)
    slope = -sum(float((a * s).sum()) for a, s in zip(ascent, step, strict=True))
    assert slope > 1e-4
    if game is Minimax:  # the game reversed: the steepest ascent itself
        for a, s in zip(ascent, step, strict=True):
            torch.testing.assert_close(s, -a)

    def decoder_alone(batch):
        torch.manual_seed(4)
        return Objectives({"decoder": model.autoencode(batch)["decoder"]})

    before = snapshot(model)
    for _ in range(5):
        run_phase(Phase("alone", decoder_alone), batch, dict(model.named_children()), sgd(model, lr=0.02))
    assert moved(model, before) == {"decoder"}
    end, _ = cost()
    assert float((end - start).detach()) > 0.5 * 5 * 0.02 * slope


def test_a_step_of_the_critic_makes_it_better_at_telling():
    model, batch = model_of(), batch_of(32)
    start = Written(model, batch).judge().detach()

    def critic_alone(batch):
        torch.manual_seed(4)
        return Objectives({"image_critic": model.autoencode(batch)["image_critic"]})

    run_phase(Phase("alone", critic_alone), batch, dict(model.named_children()), sgd(model, lr=0.02))
    assert float(Written(model, batch).judge().detach()) < float(start)


def test_new_images_are_decoded_from_codes_of_the_prior():
    model = model_of()
    code = torch.tensor([9.0, -8.0, 7.0], dtype=torch.float64)
    model.prior.sample = lambda asked: code.expand(len(asked), -1)
    assert torch.equal(Written(model, batch_of()).z_prior, code.expand(6, -1))


@pytest.mark.parametrize("as_fake", [True, False])
def test_each_image_is_scored_once_and_reconstructions_only_where_asked(as_fake):
    model = model_of(reconstruction_as_fake=as_fake, gate=True)
    scored, decoded = [], []
    model.image_critic.register_forward_hook(lambda module, inputs, output: scored.append(inputs[0]))
    model.decoder.register_forward_hook(lambda module, inputs, output: decoded.append(output))
    batch = batch_of()
    model.autoencode(batch)
    expected = [batch.x, *(x for x in decoded if as_fake or x is decoded[-1])]
    assert {id(x) for x in scored} == {id(x) for x in expected}
    assert len(scored) == len(expected) == 2 + as_fake
    assert len(decoded) == 2


# ---------------------------------------------------------------------------------------------------------------------
# The features
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["hidden1", "hidden2"])
def test_features_are_taken_before_the_logit(layer):
    """No layer that can be named depends on the critic's head, and what the head adds is not among the features."""
    model, batch = model_of(reconstruction=similarity(layer=layer)), batch_of()
    objectives = model.autoencode(batch)
    head = list(model.image_critic.head.parameters())
    assert torch.autograd.grad(objectives.note["reconstruction"], head, allow_unused=True) == (None, None)
    assert model.image_critic.feature_layers == ("hidden1", "hidden2")
    torch.manual_seed(2)
    first = model.autoencode(batch).note
    with torch.no_grad():
        model.image_critic.head.weight.mul_(3.0)
    torch.manual_seed(2)
    second = model.autoencode(batch).note
    assert torch.equal(first["reconstruction"], second["reconstruction"])
    assert not torch.equal(first["fool"], second["fool"])


def test_by_default_images_are_compared_by_the_papers_likelihood_of_features():
    """1/2 |F(x) - F(x_rec)|^2, summed over the features of the convolution before the fully connected layer."""
    parts = {name: value for name, value in config() if name not in ("name", "reconstruction", "image_critic")}
    critic = ConvolutionalImageCritic.Config(width=4, hidden=8, batch_norm=False)
    model = build_model(VaeGan.Config(**parts, image_critic=critic), INFO._replace(image=(1, 8, 8)), 0).double()
    generator = torch.Generator().manual_seed(0)
    x, x_rec = torch.rand(2, 3, 1, 8, 8, dtype=torch.float64, generator=generator)
    none = x.new_zeros(3, 0)
    f, f_rec = x, x_rec
    for convolution in model.image_critic.convolutions.values():
        f, f_rec = convolution(f), convolution(f_rec)
    constant = 0.5 * f[0].numel() * math.log(2 * math.pi)
    expected = -Normal(f_rec, 1.0).log_prob(f).flatten(1).sum(1) - constant
    torch.testing.assert_close(model.reconstruction(x, x_rec, none), expected)


@pytest.mark.parametrize("scale", ["variance", "none"])
def test_the_sum_over_features_is_half_their_number_of_means(scale):
    model, x = model_of(reconstruction=similarity(scale=scale)), batch_of().x
    mean = model_of(reconstruction=Pixel.Config(reduction="sum"))
    mean.reconstruction = similarity(scale=scale, reduction="mean").make(
        model.decoder.sizes, image_critic=model.reconstruction.image_critic
    )
    x_rec, none = batch_of(seed=7).x, x.new_zeros(6, 0)
    torch.testing.assert_close(model.reconstruction(x, x_rec, none), 8 / 2 * mean.reconstruction(x, x_rec, none))


def test_the_learned_similarity_that_sums_keeps_its_contract():
    check_reconstruction(LearnedSimilarity.Config(layer="conv2", scale="none", reduction="sum"))
