"""Helpers of tests in several folders: a small model for recipes, and the modules that a step changes."""

from __future__ import annotations

import torch


def aae(code_size=4, hidden=16, prior='{ name = "gaussian" }', batch_norm=False):
    """The table `[model]` of a recipe: an adversarial autoencoder of fully connected layers."""
    normalised = ", batch_norm = true" if batch_norm else ""
    return f"""\
[model]
name = "aae"
code_size = {code_size}
prior = {prior}
encoder = {{ name = "mlp", hidden = [{hidden}]{normalised} }}
decoder = {{ name = "mlp", hidden = [{hidden}]{normalised} }}
code_critic = {{ name = "code_mlp", hidden = [{hidden}] }}
image_critic = {{ name = "image_mlp", hidden = [{hidden}]{normalised} }}
reconstruction = {{ name = "pixel" }}
conditioner = {{ name = "none" }}
code_game = {{ name = "nonsaturating" }}
image_game = {{ name = "nonsaturating" }}
"""


def sgd(modules, lr=0.1):
    """An optimiser for each module that has parameters."""
    return {name: torch.optim.SGD(m.parameters(), lr=lr) for name, m in modules.items() if list(m.parameters())}


def snapshot(modules):
    """The parameters and buffers of each module, by its name."""
    return {name: [t.clone() for t in m.state_dict().values()] for name, m in modules.items()}


def moved(modules, before):
    """The names of the modules that have changed."""
    now = snapshot(modules)
    return {n for n in modules if any(not torch.equal(a, b) for a, b in zip(now[n], before[n], strict=True))}
