"""Small adversarial autoencoders with a category for tests, and the modules that a phase changes."""

from __future__ import annotations

import torch

from genprior.engine.build import build_model
from genprior.parts import Batch, DataInfo
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 4, 4), ("round", "square", "star"))
STYLE = 2
LEARNED = {"prior": CodeGenerator.Config(noise=3), "improves": {"prior": True}}


def config(model, **changes):
    parts = {
        "code_size": STYLE,
        "prior": Gaussian.Config(),
        "encoder": MlpEncoder.Config(hidden=(8,), activation="tanh"),
        "decoder": MlpDecoder.Config(hidden=(8,), activation="tanh"),
        "category_critic": CodeCritic.Config(hidden=(6,)),
        "style_critic": CodeCritic.Config(hidden=(6,)),
        "image_critic": MlpImageCritic.Config(hidden=(6,), activation="tanh"),
        "reconstruction": Pixel.Config(),
        "category_game": NonSaturating.Config(),
        "style_game": NonSaturating.Config(),
        "image_game": NonSaturating.Config(),
    }
    return model.Config(**{**parts, **changes})


def model_of(model, info=INFO, seed=0, **changes):
    return build_model(config(model, **changes), info, seed).double().train()


def batch_of(n=6, seed=1, labelled=None):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *INFO.image, dtype=torch.float64, generator=generator) * 2 - 1
    return Batch(x, torch.arange(n) % 3, labelled)


def hidden(batch, labelled):
    """The batch with no label seen, and the labelled stream beside it."""
    return Batch(batch.x, torch.full_like(batch.y, -1), labelled)


def phase_of(model, name):
    (phase,) = [phase for phase in model.phases() if phase.name == name]
    return phase


def seen(module):
    """Lists that gather what goes into `module` and what comes out, and the hook that fills them."""
    inputs, outputs = [], []

    def hook(module, given, output):
        inputs.append(given[0])
        outputs.append(output)

    return inputs, outputs, module.register_forward_hook(hook)


def moving(model):
    return {name: module for name, module in model.named_children() if list(module.parameters())}


def snapshot(model):
    return {name: {k: t.clone() for k, t in module.state_dict().items()} for name, module in model.named_children()}


def moved(model, before):
    now = snapshot(model)
    return {name for name in now if any(not torch.equal(now[name][k], before[name][k]) for k in now[name])}


def sgd(model, lr=0.1):
    return {name: torch.optim.SGD(module.parameters(), lr=lr) for name, module in moving(model).items()}


def gradients(loss, module):
    return torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
