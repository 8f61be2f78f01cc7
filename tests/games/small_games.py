"""Critics and samples for the tests of games."""

from __future__ import annotations

import torch
from torch import nn

from genprior.parts import Borrowed, Critic, Sizes
from genprior_std.networks.image_mlp import MlpImageCritic

SIZES = Sizes(image=(1, 2, 3), code=4, known=0, asked=0)
KNOWN = torch.zeros(5, 0, dtype=torch.float64)


def number(scalar):
    return scalar.detach().item()


class Linear(Critic):
    """l(x) = w . x + b."""

    name = "linear"

    def __init__(self, w, b=0.3):
        super().__init__(type(self).Config(), SIZES)
        self.w = nn.Parameter(torch.as_tensor(w, dtype=torch.float64))
        self.b = b

    def forward(self, x, known):
        return x.flatten(1) @ self.w + self.b


def make(part, lend=None, **changes):
    game = part.Config(**changes).make(SIZES, **({} if lend is None else {"image_critic": Borrowed(lend)}))
    return game.double()


def feature_critic(seed=0):
    torch.manual_seed(seed)
    critic = MlpImageCritic(MlpImageCritic.Config(hidden=(7, 4), activation="tanh"), SIZES).double()
    with torch.no_grad():
        for p in critic.parameters():
            p.normal_()
    return critic


def images(seed, n=5, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return shift + torch.randn(n, *SIZES.image, dtype=torch.float64, generator=generator), KNOWN[:n]
