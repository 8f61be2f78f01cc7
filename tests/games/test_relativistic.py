"""The relativistic game: its formula, the share of the real samples in the generator's loss, and its fixed point."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior import Game, PluginError
from genprior.engine.step import remember
from genprior.testing import check_game
from genprior_std.games.relativistic import Relativistic

from .small_games import KNOWN, Linear, images, make, number


def logits(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True), KNOWN[: len(values)]


def identity(x, known):
    return x


def by_hand(real, fake):
    """Section 4.2 of the paper, number by number: -E log D(real) - E log(1 - D(fake))."""
    mean_real, mean_fake = sum(real) / len(real), sum(fake) / len(fake)
    on_real = [-math.log(1 / (1 + math.exp(mean_fake - r))) for r in real]
    on_fake = [-math.log(1 - 1 / (1 + math.exp(mean_real - f))) for f in fake]
    return sum(on_real) / len(real) + sum(on_fake) / len(fake)


@settings(deadline=None, derandomize=True)
@given(values=st.lists(st.floats(-5, 5), min_size=9, max_size=9))
def test_losses_are_the_formula(values):
    real, fake, other = values[:3], values[3:6], values[6:]
    game, samples = make(Relativistic), [logits(*each) for each in (real, fake, other)]
    judged = (by_hand(real, fake) + by_hand(real, other)) / 2
    assert number(game.critic_loss(identity, *samples)) == pytest.approx(judged)
    assert number(game.generator_loss(identity, *samples)) == pytest.approx(by_hand(fake, real) + by_hand(other, real))


def test_only_differences_of_logits_count():
    game, samples = make(Relativistic), [logits(0.3, -1.0), logits(2.0, 0.1)]
    moved = [(x + 7, known) for x, known in samples]
    for loss in (game.critic_loss, game.generator_loss):
        torch.testing.assert_close(loss(identity, *samples), loss(identity, *moved))


def test_the_generator_learns_from_real_samples():
    """Its loss falls where the score of the real samples falls, and the fakes' gradient depends on that score."""
    game, fake = make(Relativistic), logits(0.0, 0.0)
    slopes = []
    for score in (-3.0, 0.0, 3.0):
        real = logits(score, score)
        loss = game.generator_loss(identity, real, fake)
        of_real, of_fake = torch.autograd.grad(loss, (real[0], fake[0]))
        assert (of_real > 0).all()
        assert (of_fake < 0).all()
        slopes.append(of_fake.sum().item())
    assert slopes[0] > slopes[1] > slopes[2]


def test_a_critic_that_cannot_tell_rests_at_log_4():
    game, same = make(Relativistic), logits(0.7, 0.7, 0.7)
    loss = game.critic_loss(identity, same, logits(0.7, 0.7, 0.7))
    assert number(loss) == pytest.approx(math.log(4))


def test_both_losses_share_one_forward_pass():
    calls = []

    class Counted(Linear):
        name = "counted"

        def forward(self, x, known):
            calls.append(x)
            return super().forward(x, known)

    game, critic = make(Relativistic), remember(Counted([0.1, -0.2, 0.3, 0.4, -0.5, 0.6]))
    real, fakes = images(1), [images(2), images(3)]
    game.critic_loss(critic, real, *fakes)
    game.generator_loss(critic, real, *fakes)
    assert [id(x) for x in calls] == [id(x) for x, _ in (real, *fakes)]


def test_r1_of_a_linear_critic_is_half_gamma_times_its_squared_norm():
    w = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6]
    critic, real, fake = Linear(w), images(1), images(2)
    plain, penalised = (make(Relativistic, r1=r1).critic_loss(critic, real, fake) for r1 in (0, 4.0))
    assert number(penalised - plain) == pytest.approx(2 * sum(v * v for v in w))


def test_the_game_keeps_its_contract():
    check_game(Relativistic)


def test_a_game_that_would_take_real_samples_for_fakes_is_refused():
    with pytest.raises(PluginError) as error:

        class Old(Game):
            name = "old"

            def critic_loss(self, critic, real, *fakes):
                return critic(*real).mean()

            def generator_loss(self, critic, *fakes):
                return -critic(*fakes[0]).mean()

    assert "game 'old'" in str(error.value)
    assert "generator_loss(critic, *fakes), which would take the real samples for fakes" in str(error.value)
    assert "Write generator_loss(critic, real, *fakes)" in str(error.value)


@pytest.mark.parametrize("copied", ["x", "known"])
def test_check_game_finds_a_generator_loss_that_scores_a_copy_of_the_real_samples(copied):
    class Copying(Relativistic):
        name = "copying"

        def generator_loss(self, critic, real, *fakes):
            x, known = real
            return super().generator_loss(critic, (x.clone(), known) if copied == "x" else (x, known.clone()), *fakes)

    with pytest.raises(AssertionError, match=r"called with (a copy of|another `known` for) the samples of pair 0"):
        check_game(Copying)
