"""Games: signs by autograd, closed forms at given logits, fixed points, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from genprior.parts import Sizes
from genprior_std.games.hinge import Hinge
from genprior_std.games.least_squares import LeastSquares
from genprior_std.games.minimax import Minimax
from genprior_std.games.nonsaturating import NonSaturating

GAMES = [NonSaturating, Minimax, LeastSquares, Hinge]
KNOWN = torch.zeros(3, 0, dtype=torch.float64)


def make(part, **settings):
    return part.Config(**settings).make(Sizes(image=(1, 16, 16), code=8, known=0, asked=0))


def critic(x, known):
    """A critic whose logits are its input."""
    return x


def sample(*logits):
    return torch.tensor(logits, dtype=torch.float64, requires_grad=True), KNOWN


def gradient(loss, of):
    return torch.autograd.grad(loss, of[0], retain_graph=True)[0]


@pytest.mark.parametrize("part", GAMES)
@settings(deadline=None, derandomize=True)
@given(values=st.lists(st.floats(-0.9, 0.9), min_size=9, max_size=9))
def test_who_pushes_logits_where(part, values):
    # All games agree on signs where |l| < 1: beyond, hinge is flat and least squares pulls back to its targets.
    game = make(part)
    real, fake, other = sample(*values[:3]), sample(*(abs(v) + 0.01 for v in values[3:6])), sample(*values[6:])
    critic_loss = game.critic_loss(critic, real, fake, other)
    assert (gradient(critic_loss, real) < 0).all()
    assert (gradient(critic_loss, fake) > 0).all()
    generator_loss = game.generator_loss(critic, real, fake, other)
    assert (gradient(generator_loss, fake) < 0).all()
    assert (gradient(generator_loss, other) < 0).all()


@pytest.mark.parametrize("part", [NonSaturating, Minimax])
@settings(deadline=None, derandomize=True)
@given(values=st.lists(st.floats(-30, 30), min_size=6, max_size=6))
def test_cross_entropy_signs_hold_for_any_logit(part, values):
    game, real, fake = make(part), sample(*values[:3]), sample(*values[3:])
    loss = game.critic_loss(critic, real, fake)
    assert (gradient(loss, real) < 0).all()
    assert (gradient(loss, fake) > 0).all()
    assert (gradient(game.generator_loss(critic, real, fake), fake) < 0).all()


@pytest.mark.parametrize("part", [NonSaturating, Minimax])
@settings(deadline=None, derandomize=True)
@given(values=st.lists(st.floats(-50, 50), min_size=9, max_size=9), weight=st.floats(0.1, 3))
def test_cross_entropy_games_are_torchs_cross_entropy(part, values, weight):
    game = make(part, fake_weight=weight)
    real, fake, other = sample(*values[:3]), sample(*values[3:6]), sample(*values[6:])
    ones, zeros = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    on_fakes = cross_entropy(fake[0], zeros) + cross_entropy(other[0], zeros)
    expected = cross_entropy(real[0], ones) + weight * on_fakes
    torch.testing.assert_close(game.critic_loss(critic, real, fake, other), expected)
    fooled = cross_entropy(fake[0], ones) + cross_entropy(other[0], ones) if part is NonSaturating else -on_fakes
    torch.testing.assert_close(game.generator_loss(critic, real, fake, other), fooled)


@pytest.mark.parametrize(
    ("part", "weight", "critic_loss", "generator_loss"),
    [
        # By hand: real logits (0, log 3, log 3) have D = (1/2, 3/4, 3/4); the fakes (-log 3)^3 have D = 1/4, 0^3 1/2.
        (NonSaturating, 1.0, (math.log(2) + 2 * math.log(4 / 3)) / 3 + math.log(4 / 3) + math.log(2), math.log(8)),
        (NonSaturating, 0.5, (math.log(2) + 2 * math.log(4 / 3)) / 3 + 0.5 * math.log(8 / 3), math.log(8)),
        (Minimax, 1.0, (math.log(2) + 2 * math.log(4 / 3)) / 3 + math.log(8 / 3), math.log(3 / 8)),
        (
            LeastSquares,
            2.0,
            0.5 * (1 + 2 * (math.log(3) - 1) ** 2) / 3 + math.log(3) ** 2,
            0.5 * (math.log(3) + 1) ** 2 + 0.5,
        ),
        (Hinge, 1.0, 1 / 3 + 0 + 1, math.log(3)),
    ],
)
def test_values_at_given_logits(part, weight, critic_loss, generator_loss):
    game, log3 = make(part, fake_weight=weight), math.log(3)
    real, fakes = sample(0, log3, log3), (sample(-log3, -log3, -log3), sample(0, 0, 0))
    assert game.critic_loss(critic, real, *fakes).item() == pytest.approx(critic_loss)
    assert game.generator_loss(critic, real, *fakes).item() == pytest.approx(generator_loss)


@pytest.mark.parametrize(
    ("part", "logit", "value"),
    [
        (NonSaturating, 0, math.log(4)),
        (Minimax, 0, math.log(4)),
        (LeastSquares, 0.5, 0.25),
        (Hinge, 0.3, 2),
    ],
)
@pytest.mark.parametrize("kinds", [1, 2])
def test_a_critic_of_indistinguishable_samples_rests_at_the_known_point(part, logit, value, kinds):
    # With w = 1 / kinds, the fakes weigh as much as the real samples, whatever their number.
    game, same = make(part, fake_weight=1 / kinds), sample(logit, logit, logit)
    loss = game.critic_loss(critic, same, *[same] * kinds)
    assert loss.item() == pytest.approx(value)
    assert gradient(loss, same).abs().max() < 1e-12


@pytest.mark.parametrize("part", GAMES)
def test_gradients_are_right(part):
    game = make(part, fake_weight=0.7)
    logits = [torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    for tensor in logits:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda *s: game.critic_loss(critic, *[(x, KNOWN) for x in s]), logits)
    assert torch.autograd.gradcheck(lambda *s: game.generator_loss(critic, *[(x, KNOWN) for x in s]), logits)


@pytest.mark.parametrize("part", [NonSaturating, Minimax])
def test_cross_entropy_is_finite_for_extreme_logits(part):
    game, real, fake = make(part), sample(-1e4, 0, 1e4), sample(1e4, 0, -1e4)
    loss = game.critic_loss(critic, real, fake) + game.generator_loss(critic, real, fake)
    assert loss.isfinite()
    assert gradient(loss, fake).isfinite().all()


def test_the_generators_gradient_vanishes_in_the_minimax_game_alone_where_the_critic_wins():
    real, fake = sample(20, 20, 20), sample(-20, -20, -20)
    minimax = gradient(make(Minimax).generator_loss(critic, real, fake), fake)
    nonsaturating = gradient(make(NonSaturating).generator_loss(critic, real, fake), fake)
    assert minimax.abs().max() < 1e-8
    assert nonsaturating.sum().item() == pytest.approx(-1)


@pytest.mark.parametrize("part", GAMES)
def test_the_critic_is_called_once_on_each_tensor_as_it_is_given(part):
    seen = []

    def watching(x, known):
        seen.append((x, known))
        return x

    real, fake, other = sample(0.1, 0.2, 0.3), sample(0.4, 0.5, 0.6), sample(0.7, 0.8, 0.9)
    game = make(part)
    game.critic_loss(watching, real, fake, other)
    assert {(id(x), id(known)) for x, known in seen} == {(id(x), id(known)) for x, known in (real, fake, other)}
    assert len(seen) == 3
    seen.clear()
    game.generator_loss(watching, real, fake, other)
    assert [(id(x), id(known)) for x, known in seen] == [(id(x), id(known)) for x, known in (fake, other)]


@pytest.mark.parametrize("part", GAMES)
def test_a_kind_of_fake_counts_the_same_however_many_samples_it_has(part):
    game = make(part)
    few, many = sample(0.2, 0.4), sample(0.2, 0.4, 0.2, 0.4)
    torch.testing.assert_close(game.generator_loss(critic, many, few), game.generator_loss(critic, few, many))
    torch.testing.assert_close(game.critic_loss(critic, many, few), game.critic_loss(critic, few, many))


@pytest.mark.parametrize("part", GAMES)
@pytest.mark.parametrize("weight", [0, -1, math.nan])
def test_a_weight_that_is_not_positive_is_refused(part, weight):
    with pytest.raises(ValidationError, match="fake_weight"):
        part.Config(fake_weight=weight)
