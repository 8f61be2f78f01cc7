"""Games with parameters or a state of their own: closed forms, sequences by hand, what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Categorical

from genprior.errors import PlanError
from genprior.testing import check_game
from genprior_std.games.began import BoundaryEquilibrium
from genprior_std.games.catgan import CategoricalGame
from genprior_std.games.dfm import DenoisingFeatureMatching
from genprior_std.games.hinge import Hinge
from genprior_std.games.least_squares import LeastSquares
from genprior_std.games.minimax import Minimax
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.games.wasserstein_gp import WassersteinGradientPenalty
from genprior_std.networks.image_mlp import MlpImageCritic

from .small_games import KNOWN, SIZES, Linear, feature_critic, images, make, number

LOGIT_GAMES = [NonSaturating, Minimax, LeastSquares, Hinge]


# ---------------------------------------------------------------------------------------------------------------------
# The contract
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        *[part.Config(r1=0.1) for part in LOGIT_GAMES],
        WassersteinGradientPenalty.Config(),
        BoundaryEquilibrium.Config(),
        DenoisingFeatureMatching.Config(hidden=(8,)),
        DenoisingFeatureMatching.Config(hidden=(8,), layer="conv1", anneal=2, r1=0.1),
        CategoricalGame.Config(categories=3),
    ],
    ids=lambda config: config.name,
)
def test_the_contract_of_a_game(config):
    check_game(config)


# ---------------------------------------------------------------------------------------------------------------------
# BEGAN
# ---------------------------------------------------------------------------------------------------------------------


def errors(*values):
    """Samples whose critic, which gives back minus the sample, has these errors L(v)."""
    return torch.tensor(values, dtype=torch.float64), torch.zeros(len(values), 0, dtype=torch.float64)


def minus(x, known):
    return -x


def test_k_follows_the_sequence_worked_out_by_hand_and_stays_in_its_range():
    game = make(BoundaryEquilibrium, gamma=0.5, rate=0.25)
    by_hand = [
        # L(x), L(G), k during the loss, L_D, M, k afterwards
        (1.0, 0.25, 0.0, 1.0, 1.25, 0.0625),  # 0.25 (0.5 - 0.25)
        (2.0, 0.6, 0.0625, 2.0 - 0.0625 * 0.6, 2.4, 0.1625),  # + 0.25 (1 - 0.6)
        (0.4, 1.0, 0.1625, 0.4 - 0.1625, 1.2, 0.0),  # 0.1625 - 0.25 0.8 < 0: clipped
        (9.0, 0.1, 0.0, 9.0, 13.4, 1.0),  # 0.25 4.4 > 1: clipped
        (1.0, 0.5, 1.0, 0.5, 1.0, 1.0),  # in balance: stays
    ]
    for on_real, on_fake, k, loss, m, after in by_hand:
        real, fake = errors(on_real + 0.1, on_real - 0.1), errors(on_fake, on_fake)
        assert number(game.critic_loss(minus, real, fake)) == pytest.approx(loss)
        assert number(game.generator_loss(minus, real, fake)) == pytest.approx(on_fake)
        assert number(game.k) == pytest.approx(k)  # the losses alone move nothing
        noted = game.notes()
        game.advance()()
        assert {name: number(value) for name, value in noted.items()} == pytest.approx({"k": k, "M": m})
        assert number(game.k) == pytest.approx(after, abs=1e-15)


def test_the_critic_of_began_reconstructs_real_images_and_fails_on_fakes_once_k_has_risen():
    game = make(BoundaryEquilibrium, gamma=1.0, rate=1.0)
    real, fake = errors(0.8, 0.8), errors(0.2, 0.2)
    game.critic_loss(minus, real, fake)
    game.advance()()  # k = 0.6
    real[0].requires_grad_(), fake[0].requires_grad_()
    on_real, on_fake = torch.autograd.grad(game.critic_loss(minus, real, fake), (real[0], fake[0]))
    torch.testing.assert_close(on_real, torch.full_like(on_real, 0.5))
    torch.testing.assert_close(on_fake, torch.full_like(on_fake, -0.3))
    (fool,) = torch.autograd.grad(game.generator_loss(minus, real, fake), fake[0])
    torch.testing.assert_close(fool, torch.full_like(fool, 0.5))


def test_k_is_in_the_state_and_a_game_that_saw_nothing_stays():
    game, other = make(BoundaryEquilibrium, rate=1.0), make(BoundaryEquilibrium)
    game.advance()()
    assert number(game.k) == 0
    game.critic_loss(minus, errors(1.0), errors(0.2))
    game.advance()()
    other.load_state_dict(game.state_dict())
    assert number(other.k) == pytest.approx(0.3)


# ---------------------------------------------------------------------------------------------------------------------
# Denoising feature matching
# ---------------------------------------------------------------------------------------------------------------------


def test_the_denoisers_target_is_clean_and_detached():
    """A denoiser that gives zeros has the error |phi(x)|^2, whatever the noise; no gradient reaches the critic."""
    critic = feature_critic()
    real = images(1)
    phi = critic.trunk(*real).detach()
    for sigma in (0.0, 1.0, 50.0):
        game = make(DenoisingFeatureMatching, critic, hidden=(8,), sigma=sigma)
        with torch.no_grad():
            game.denoiser[-1].weight.zero_(), game.denoiser[-1].bias.zero_()
        loss = game.own_loss(critic, real, images(2))
        torch.testing.assert_close(loss, phi.square().mean())
        assert torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True) == (None,) * 6
        assert all(g is not None for g in torch.autograd.grad(loss, list(game.parameters()), allow_unused=True)[-2:])


def test_what_the_denoiser_sees_is_corrupted_by_noise_of_standard_deviation_sigma():
    critic, n = feature_critic(), 2000
    game = make(DenoisingFeatureMatching, critic, hidden=(8,), sigma=1.7)
    real = images(1, n)[0], torch.zeros(n, 0, dtype=torch.float64)
    seen = []
    game.denoiser.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(6)
    game.own_loss(critic, real)
    noise = seen[0] - critic.trunk(*real).detach()
    # 8000 numbers; 4.5 standard errors of the mean and of the deviation, below 2e-5 together; the seed is fixed.
    assert abs(number(noise.mean())) < 4.5 * 1.7 / math.sqrt(noise.numel())
    assert abs(number(noise.std()) - 1.7) < 4.5 * 1.7 / math.sqrt(2 * noise.numel())


@pytest.mark.parametrize(("anneal", "expected"), [(4, [2.0, 1.5, 1.0, 0.5, 0.0, 0.0]), (0, [2.0] * 6)])
def test_sigma_falls_linearly_to_zero_and_stays_there(anneal, expected):
    critic = feature_critic()
    game = make(DenoisingFeatureMatching, critic, hidden=(8,), sigma=2.0, anneal=anneal)
    seen = []
    for _ in range(6):
        game.own_loss(critic, images(1))
        seen.append(number(game.notes()["sigma"]))
        advance = game.advance()
        assert (advance is None) == (anneal == 0)
        if advance is not None:
            advance()
    assert seen == pytest.approx(expected)


@pytest.mark.parametrize("layer", [None, "hidden1"])
def test_the_generator_descends_the_distance_to_a_constant_denoised_feature(layer):
    critic, fake = feature_critic(), images(2)
    game = make(
        DenoisingFeatureMatching, critic, hidden=(8,), layer=layer, denoising_weight=0.7, adversarial_weight=0.2
    )
    fake[0].requires_grad_()
    phi = critic.trunk(*fake) if layer is None else critic.features(*fake, layer)
    assert game.denoiser[-1].out_features == phi.shape[1]
    constant = game.denoiser(phi).detach()
    expected = 0.7 * ((phi - constant) ** 2).sum() / phi.numel() - 0.2 * critic(*fake).sigmoid().log().mean()
    loss = game.generator_loss(critic, images(1), fake)
    torch.testing.assert_close(loss, expected)
    (slope,), (wanted,) = torch.autograd.grad(loss, fake[0]), torch.autograd.grad(expected, fake[0])
    torch.testing.assert_close(slope, wanted)


def test_the_critic_of_dfm_plays_the_nonsaturating_game():
    critic, pairs = feature_critic(), (images(1), images(2), images(3))
    ours = make(DenoisingFeatureMatching, critic, hidden=(8,), fake_weight=0.5, r1=0.3)
    plain = make(NonSaturating, fake_weight=0.5, r1=0.3)
    torch.testing.assert_close(ours.critic_loss(critic, *pairs), plain.critic_loss(critic, *pairs))


# ---------------------------------------------------------------------------------------------------------------------
# CatGAN
# ---------------------------------------------------------------------------------------------------------------------


def entropies(game, critic, pair):
    """H[E p] and E H[p] by torch.distributions."""
    p = Categorical(logits=game.head(critic.trunk(*pair)))
    return Categorical(probs=p.probs.mean(0)).entropy(), p.entropy().mean()


def test_the_losses_of_catgan_are_the_entropies_of_torch():
    critic, (real, fake, other) = feature_critic(), (images(1), images(2, shift=1.0), images(3, shift=-1.0))
    game = make(CategoricalGame, critic, categories=6)
    with torch.no_grad():
        game.head.weight.mul_(5)
    (of_mean, mean), *both = (entropies(game, critic, pair) for pair in (real, fake, other))
    loss = game.critic_loss(critic, real, fake, other)
    torch.testing.assert_close(loss, mean - of_mean - (both[0][1] + both[1][1]) / 2)
    fool = game.generator_loss(critic, real, fake, other)
    torch.testing.assert_close(fool, sum(mean - of_mean for of_mean, mean in both))
    notes = game.notes()
    torch.testing.assert_close(notes["entropy_of_mean"], of_mean.detach())
    torch.testing.assert_close(notes["entropy"], mean.detach())
    torch.testing.assert_close(notes["entropy_on_fakes"], ((both[0][1] + both[1][1]) / 2).detach())


def test_the_best_critic_of_catgan_is_sure_of_real_images_and_unsure_of_fakes():
    """Real images one-hot and balanced over K, fakes uniform: L_D = -2 log K; L_G of such real images -log K."""

    class Sorted(MlpImageCritic):
        name = "sorted"

        def trunk(self, x, known):
            return x.flatten(1)[:, :4]

    critic = Sorted(MlpImageCritic.Config(hidden=(4,)), SIZES).double()
    game = make(CategoricalGame, critic, categories=4)
    with torch.no_grad():
        game.head.weight.copy_(torch.eye(4)), game.head.bias.zero_()
    x = torch.zeros(4, 1, 2, 3, dtype=torch.float64)
    sure = x.clone()
    sure.view(4, 6)[:, :4] = 1e3 * torch.eye(4)
    real, fake = (sure, KNOWN[:4]), (x, KNOWN[:4])
    assert number(game.critic_loss(critic, real, fake)) == pytest.approx(-2 * math.log(4))
    assert number(game.generator_loss(critic, real, real)) == pytest.approx(-math.log(4))
    assert number(game.generator_loss(critic, real, fake)) == pytest.approx(0, abs=1e-12)


def test_catgans_head_descends_the_very_loss_of_the_critic():
    critic, real, fake = feature_critic(), images(1), images(2)
    game = make(CategoricalGame, critic)
    loss = game.critic_loss(critic, real, fake)
    assert game.own_loss(critic, real, fake) is loss  # one backward pass serves both
    value = loss.detach().clone()
    again = game.own_loss(critic, real, images(3))
    assert again is not loss
    del loss, again
    torch.testing.assert_close(game.own_loss(critic, real, fake).detach(), value)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (
            DenoisingFeatureMatching,
            "game 'dfm' denoises features of the image critic; critic 'linear' has none. "
            "Use an image critic with features, or game 'nonsaturating'",
        ),
        (
            CategoricalGame,
            "game 'catgan' puts its head on the trunk of the image critic; critic 'linear' has none. "
            "Use an image critic with features, or another game",
        ),
    ],
)
def test_a_critic_without_features_is_refused(part, text):
    with pytest.raises(PlanError) as caught:
        make(part, Linear([1.0] * 6))
    assert str(caught.value) == text


def test_a_layer_that_the_critic_has_not_is_refused():
    with pytest.raises(PlanError) as caught:
        make(DenoisingFeatureMatching, feature_critic(), layer="hiden1")
    assert str(caught.value) == (
        "game 'dfm' denoises layer 'hiden1', which critic 'image_mlp' does not have; did you mean 'hidden1'? "
        "Possible: hidden1, hidden2"
    )


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        *[(part, {"r1": -1}) for part in LOGIT_GAMES],
        (WassersteinGradientPenalty, {"weight": 0}),
        (BoundaryEquilibrium, {"gamma": 0}),
        (BoundaryEquilibrium, {"rate": 2}),
        (DenoisingFeatureMatching, {"sigma": -1}),
        (DenoisingFeatureMatching, {"hidden": ()}),
        (CategoricalGame, {"categories": 1}),
    ],
)
def test_settings_out_of_range_are_refused(part, changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        part.Config(**changes)
