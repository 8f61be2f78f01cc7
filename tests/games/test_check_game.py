"""The contract of a game finds what is wrong with its own parameters, its state and its notes."""

from __future__ import annotations

import pytest
from torch import nn

from genprior.errors import PlanError
from genprior.parts import PartConfig
from genprior.testing import ContractError, check_game
from genprior_std.games.began import BoundaryEquilibrium
from genprior_std.games.catgan import CategoricalGame
from genprior_std.games.dfm import DenoisingFeatureMatching
from genprior_std.games.nonsaturating import NonSaturating


class Silent(CategoricalGame):
    """Its head gets no gradient."""

    name = "silent"

    def own_loss(self, critic, real, *fakes):
        return None


class Talkative(NonSaturating):
    """It has a loss of its own but no parameters."""

    name = "talkative"

    def own_loss(self, critic, real, *fakes):
        return self.critic_loss(critic, real, *fakes)


class Idle(DenoisingFeatureMatching):
    """It owns a layer that its loss does not use."""

    name = "idle"

    def __init__(self, config: PartConfig, sizes, image_critic):
        super().__init__(config, sizes, image_critic)
        self.unused = nn.Linear(2, 2)


class Hasty(BoundaryEquilibrium):
    """A loss that moves the state."""

    name = "hasty"

    def critic_loss(self, critic, real, *fakes):
        loss = super().critic_loss(critic, real, *fakes)
        self.k = self.k + 0.1
        return loss


class Forgetful(NonSaturating):
    """What it counts is in no checkpoint."""

    name = "forgetful"

    def __init__(self, config: PartConfig, sizes):
        super().__init__(config, sizes)
        self.count = 1.0

    def critic_loss(self, critic, real, *fakes):
        return self.count * super().critic_loss(critic, real, *fakes)

    def advance(self):
        def move():
            self.count += 1

        return move


class Holding(NonSaturating):
    """Its notes hold the graph of its loss."""

    name = "holding"

    def critic_loss(self, critic, real, *fakes):
        self.last = super().critic_loss(critic, real, *fakes)
        return self.last

    def notes(self):
        return {"loss": self.last}


class Cold(DenoisingFeatureMatching):
    """Its generator descends nothing that depends on the fakes."""

    name = "cold"

    def generator_loss(self, critic, real, *fakes):
        return super().generator_loss(critic, real, *[(x.detach(), known) for x, known in fakes])


class Failing(NonSaturating):
    """It cannot be asked for notes."""

    name = "failing"

    def notes(self):
        raise PlanError("no")


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Silent, "own_loss is a scalar for a game with parameters of its own, and None for one without"),
        (Talkative, "own_loss is a scalar for a game with parameters of its own, and None for one without"),
        (Idle, "no gradient reaches unused.weight, unused.bias"),
        (Hasty, "they changed k"),
        (Forgetful, "all that a game has learned or counted is in its state_dict"),
        (Holding, "a finite scalar without a gradient"),
        (Cold, "the critic was called with a copy of the samples of pair 1"),
        (Failing, "notes() returns scalars by name"),
    ],
)
def test_a_broken_promise_is_reported(part, text):
    with pytest.raises(ContractError) as caught:
        check_game(part)
    assert text in str(caught.value)
