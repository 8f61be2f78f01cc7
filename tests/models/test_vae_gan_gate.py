"""The gate of VAE/GAN: which module is updated at given costs of the critic, and that the other stays unchanged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils._python_dispatch import TorchDispatchMode

from genprior.engine.optimise import make_optimiser
from genprior.engine.step import run_phase
from genprior.parts import Batch, FeatureCritic
from genprior.registry import installed
from genprior_std.games.minimax import Minimax

from .small_vae_gan import (
    INFO,
    Written,
    batch_of,
    config,
    model_of,
    moved,
    moving,
    sgd,
    snapshot,
)


class Told(FeatureCritic):
    """A critic whose logits are set by hand: one for images that are white all over, one for all others.

    What its layers add is too small to change a cost, and is there so that gradients flow.
    """

    name = "told"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(math.prod(sizes.image), 4)
        self.head = nn.Linear(4, 1)
        self.on_real, self.on_fakes = 0.0, 0.0

    @property
    def feature_layers(self):
        return ("hidden1",)

    @property
    def trunk_width(self):
        return 4

    def features(self, x, known, layer):
        return self.layer(x.flatten(1)).tanh()

    def trunk(self, x, known):
        return self.features(x, known, "hidden1")

    def forward(self, x, known):
        white = x.detach().flatten(1).mean(1) > 0.99
        logits = torch.where(white, self.on_real, self.on_fakes)
        return logits + 1e-3 * self.head(self.trunk(x, known)).squeeze(1)


# The logits on real and on fake images, and who moves. A cost is log(1 + exp(-logit)) on real images and
# log(1 + exp(logit)) on fakes: 0.69 at 0, 0.31 at 1 on real, 0.05 at 3, 1.31 at -1, 2.13 at -2. Bounds: 0.33 and 1.03.
CASES = {
    "even": ((0.0, 0.0), {"image_critic", "decoder"}),
    "critic ahead on both": ((3.0, -3.0), {"decoder"}),
    "critic ahead on real images": ((3.0, 0.0), {"decoder"}),
    "critic ahead on fakes": ((0.0, -3.0), {"decoder"}),
    "critic just ahead": ((1.0, 0.0), {"decoder"}),
    "critic not yet ahead": ((0.9, 0.0), {"image_critic", "decoder"}),
    "decoder ahead on both": ((-1.0, 1.0), {"image_critic"}),
    "decoder ahead on real images": ((-2.0, 0.0), {"image_critic"}),
    "decoder ahead on fakes": ((0.0, 2.0), {"image_critic"}),
    "decoder just ahead": ((0.0, 0.6), {"image_critic"}),
    "decoder not yet ahead": ((0.0, 0.5), {"image_critic", "decoder"}),
    "both ahead": ((3.0, 3.0), {"image_critic", "decoder"}),
    "both ahead, the other way": ((-3.0, -3.0), {"image_critic", "decoder"}),
}


def gated(logits, **changes):
    model = model_of(image_critic=Told.Config(), gate=True, **changes)
    model.image_critic.on_real, model.image_critic.on_fakes = logits
    white = Batch(torch.ones(6, *INFO.image, dtype=torch.float64), torch.zeros(6, dtype=torch.int64))
    return model, white


@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop"])
@pytest.mark.parametrize("case", CASES)
def test_who_is_ahead_waits_and_stays_exactly_where_it_is(case, optimiser):
    logits, expected = CASES[case]
    model, batch = gated(logits, game=Minimax.Config())
    made = installed().find("optimiser", optimiser).Config(lr=0.05)
    optimisers = {name: make_optimiser(made, module) for name, module in moving(model).items()}
    model.image_critic.on_real, model.image_critic.on_fakes = 0.0, 0.0
    run_phase(model.phases()[0], batch, dict(model.named_children()), optimisers)  # moments are not those of a start
    model.image_critic.on_real, model.image_critic.on_fakes = logits
    before = snapshot(model)
    result = run_phase(model.phases()[0], batch, dict(model.named_children()), optimisers)
    assert moved(model, before) == expected | {"encoder"}
    recorded = dict(zip(result.keys, result.values.tolist(), strict=True))
    assert recorded["autoencode/critic_moves"] == ("image_critic" in expected)
    assert recorded["autoencode/decoder_moves"] == ("decoder" in expected)
    assert recorded["autoencode/cost_on_real"] == pytest.approx(math.log1p(math.exp(-logits[0])), abs=5e-3)
    assert recorded["autoencode/cost_on_fakes"] == pytest.approx(math.log1p(math.exp(logits[1])), abs=5e-3)


def test_an_optimiser_with_momentum_coasts_through_the_gate():
    """As the documentation warns: Adam still moves by its momentum."""
    model, batch = gated((0.0, 0.0))
    optimisers = {name: torch.optim.Adam(module.parameters(), lr=0.05) for name, module in moving(model).items()}
    run_phase(model.phases()[0], batch, dict(model.named_children()), optimisers)
    model.image_critic.on_real, model.image_critic.on_fakes = 3.0, -3.0
    before = snapshot(model)
    run_phase(model.phases()[0], batch, dict(model.named_children()), optimisers)
    assert "image_critic" in moved(model, before)


def test_the_bounds_of_the_gate_are_those_of_the_settings():
    """At logits 0 both costs are log 2 = 0.693, but for what the layers add."""
    for even, margin, expected in (
        (0.68, 0.0, {"image_critic"}),
        (0.71, 0.0, {"decoder"}),
        (0.71, 0.05, CASES["even"][1]),
    ):
        model, batch = gated((0.0, 0.0), gate_equilibrium=even, gate_margin=margin)
        before = snapshot(model)
        run_phase(model.phases()[0], batch, dict(model.named_children()), sgd(model))
        assert moved(model, before) == expected | {"encoder"}


def test_the_cost_on_fakes_is_that_of_all_fakes_together():
    model, batch = model_of(gate=True), batch_of()
    own = Written(model, batch)
    fakes = torch.cat([own.x_new, own.x_rec])
    expected = binary_cross_entropy_with_logits(
        model.image_critic(fakes, fakes.new_zeros(12, 0)), torch.zeros(12, dtype=torch.float64)
    )
    torch.testing.assert_close(own.objectives.note["cost_on_fakes"], expected.detach())
    torch.testing.assert_close(own.objectives.note["cost_on_real"], own.cross_entropy(own.x, True).detach())
    assert not own.objectives.note["cost_on_real"].requires_grad


def test_without_a_gate_who_is_ahead_moves_on():
    model, batch = gated((3.0, -3.0))
    model.config = config(gate=False)
    objectives = model.autoencode(batch)
    assert not [name for name in objectives.note if name.startswith("cost") or name.endswith("moves")]
    before = snapshot(model)
    run_phase(model.phases()[0], batch, dict(model.named_children()), sgd(model))
    assert moved(model, before) == {"encoder", "decoder", "image_critic"}


class NoHost(TorchDispatchMode):
    """Refuses every read of a tensor's value by the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_host_reads_nothing_in_a_step_with_a_gate():
    model, batch = model_of(gate=True), batch_of()
    with NoHost():
        model.autoencode(batch)
        with pytest.raises(AssertionError):
            batch.x.sum().item()
