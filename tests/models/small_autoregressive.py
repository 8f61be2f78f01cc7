"""An autoregressive decoder small enough to check by hand, and helpers of the tests of PixelGAN autoencoders."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from genprior.parts import AutoregressiveDecoder, Batch, DataInfo, PartConfig, Sizes
from genprior_std.conditioners.none import NoCondition
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.categorical import Categorical

INFO = DataInfo((1, 3, 4), ("a", "b", "c"))
K = 3


class Independent(AutoregressiveDecoder):
    """Pixels that are white with probability sigmoid((W [z, known] + b)_i), whatever the others are."""

    name = "independent"

    class Config(PartConfig):
        conditional: bool = False

    def __init__(self, config, sizes: Sizes):
        super().__init__(config, sizes)
        pixels, inputs = math.prod(sizes.image), sizes.code + (sizes.known if config.conditional else 0)
        self.bias = nn.Parameter(0.3 * torch.randn(pixels))
        if inputs:
            self.weight = nn.Parameter(torch.randn(pixels, inputs))

    def logits(self, z, known):
        inputs = torch.cat([z, known], 1) if self.config.conditional else z
        if not inputs.shape[1]:
            return self.bias.expand(len(z), -1)
        return F.linear(inputs, self.weight.to(inputs.dtype), self.bias.to(inputs.dtype))

    def log_prob(self, x, z, known):
        logits = self.logits(z, known)
        white = (x.flatten(1) + 1) / 2
        return (white * F.logsigmoid(logits) + (1 - white) * F.logsigmoid(-logits)).sum(1)

    def forward(self, z, known):
        white = torch.bernoulli(self.logits(z, known).sigmoid())
        return (2 * white - 1).view(len(z), *self.sizes.image)


def parts(posterior="softmax", **changes):
    """Settings of a small PixelGAN autoencoder."""
    return {
        "prior": Categorical.Config(),
        "encoder": MlpEncoder.Config(hidden=(6,), batch_norm=True, posterior=posterior),
        "decoder": Independent.Config(),
        "code_critic": CodeCritic.Config(hidden=(7,)),
        "conditioner": NoCondition.Config(),
        "code_game": NonSaturating.Config(),
        **changes,
    }


def batch_of(n=6, labelled=None, seed=1):
    """Black and white images; with `labelled` all labels are hidden but those of so many images beside them."""
    generator = torch.Generator().manual_seed(seed)
    x = 2.0 * torch.randint(2, (n, *INFO.image), generator=generator) - 1
    if labelled is None:
        return Batch(x, torch.arange(n) % K)
    return Batch(x, torch.full((n,), -1), batch_of(labelled, seed=seed + 1))


def phase_of(model, name):
    return {phase.name: phase for phase in model.phases()}[name]


def bernoulli_by_hand(x, logits):
    """The logarithm of prod_i p_i^[x_i white] (1 - p_i)^[x_i black], one image at a time: [n]."""
    p = torch.sigmoid(logits.double())
    return torch.stack(
        [torch.where(image > 0, row, 1 - row).log().sum() for image, row in zip(x.flatten(1), p, strict=True)]
    )


def moved_by(model, phase, batch):
    """The names of the modules that a phase changes, by plain gradient descent."""
    from genprior.engine.step import run_phase

    modules = dict(model.named_children())
    optimisers = {n: torch.optim.SGD(m.parameters(), lr=0.1) for n, m in modules.items() if list(m.parameters())}
    before = {n: {k: t.clone() for k, t in m.state_dict().items()} for n, m in modules.items()}
    run_phase(phase, batch, modules, optimisers)
    return {n for n, s in before.items() if any(not torch.equal(s[k], modules[n].state_dict()[k]) for k in s)}
