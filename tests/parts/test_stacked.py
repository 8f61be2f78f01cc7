"""Layers that are computed as one: `adam_norm_grad` treats them as if each had tensors of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genprior.engine.optimise import make_optimiser
from genprior.parts import Sizes
from genprior_std.layers.gated import GatedConvolution, GatedDense, GatedMlp, PosteriorHead
from genprior_std.layers.masked import GatedLayer
from genprior_std.networks.gated_mlp_encoder import GatedMlpEncoder
from genprior_std.networks.larsen_encoder import LarsenEncoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.residual_encoder import ResidualEncoder
from genprior_std.networks.strided_encoder import StridedEncoder
from genprior_std.optimisers.adam_norm_grad import AdamNormGrad
from genprior_std.priors.two_stage_vae import TwoStageVae

SIZES = Sizes((1, 8, 8), code=3, known=0, asked=0)
HEADS = {
    "mlp": MlpEncoder.Config(hidden=(4,), posterior="gaussian"),
    "strided": StridedEncoder.Config(widths=(2,), posterior="gaussian"),
    "larsen": LarsenEncoder.Config(width=2, hidden=4, posterior="gaussian"),
    "residual": ResidualEncoder.Config(width=2, posterior="gaussian"),
}
LAST = {"mlp": "to_code", "strided": "to_code", "larsen": "to_code.3", "residual": "to_code.3"}
MODULES = {
    "gated layer": (lambda: GatedDense(5, 4), {"both": (4, 4)}),
    "gated convolution": (lambda: GatedConvolution(2, 3), {"both": (3, 3)}),
    "gated stack": (
        lambda: GatedMlp(5, (4, 6), known=2),
        {"first.both": (4, 4), "first_known.both": (4, 4), "rest.0.both": (6, 6)},
    ),
    "posterior": (lambda: PosteriorHead(5, 3), {"linear": (3, 3)}),
    "a single code": (lambda: PosteriorHead(5, 3, "point"), {}),
    "a direction and a concentration": (lambda: PosteriorHead(5, 3, "von_mises_fisher"), {"linear": (3, 1)}),
    "gated encoder": (
        lambda: GatedMlpEncoder.Config(hidden=(4,), posterior="gaussian").make(SIZES),
        {"layers.first.both": (4, 4), "to_code.linear": (3, 3)},
    ),
    "gated PixelCNN": (
        lambda: GatedLayer(1, 4, 3, 1, 2, first=False),
        {"vertical": (4, 4), "horizontal": (4, 4), "link": (4, 4), "code": (4, 4, 4, 4)},
    ),
    "two stages": (lambda: TwoStageVae.Config(hidden=(4,)).make(SIZES), {"encoder.1": (3, 3)}),
    **{name: (lambda c=config: c.make(SIZES), {LAST[name]: (3, 3)}) for name, config in HEADS.items()},
}


@pytest.mark.parametrize("name", MODULES)
def test_each_of_the_layers_has_a_norm_of_its_own(name):
    """Beside torch's Adam, on parameters that are cut into the tensors of the authors' code by hand."""
    make, rows = MODULES[name]
    torch.manual_seed(0)
    module = make()
    cut = [
        (p, [nn.Parameter(piece.clone()) for piece in p.detach().split(rows.get(of.rpartition(".")[0], (len(p),)))])
        for of, p in module.named_parameters()
        if p.dim()
    ]
    assert sum(len(pieces) - 1 for _, pieces in cut) >= sum(len(each) - 1 for each in rows.values())
    settings = AdamNormGrad.Config(lr=0.01, betas=(0.9, 0.99))
    ours = make_optimiser(settings, module)
    theirs = torch.optim.Adam([each for _, pieces in cut for each in pieces], 0.01, (0.9, 0.99), foreach=False)
    for _ in range(4):
        for p, pieces in cut:
            p.grad = torch.randn_like(p) * torch.logspace(-2, 2, len(p)).view(-1, *[1] * (p.dim() - 1))
            for piece, g in zip(pieces, p.grad.split([len(each) for each in pieces]), strict=True):
                piece.grad = g / (g.norm() + 1e-7)
        ours.step()
        theirs.step()
    for p, pieces in cut:
        torch.testing.assert_close(p.detach(), torch.cat([each.detach() for each in pieces]), rtol=1e-4, atol=1e-6)


def test_one_norm_for_stacked_layers_would_move_the_weaker_one_less():
    """The test above would notice: with a gradient 100 times as large beside it, half a layer would hardly move."""
    layer = GatedDense(5, 4)
    before = layer.both.weight.detach().clone()
    optimiser = make_optimiser(AdamNormGrad.Config(lr=0.01, eps=1e-1), layer)
    layer.both.weight.grad = torch.ones(8, 5) * torch.tensor([1.0] * 4 + [100.0] * 4)[:, None]
    optimiser.step()
    moved = (layer.both.weight.detach() - before).abs()
    torch.testing.assert_close(moved[:4], moved[4:], rtol=1e-4, atol=0)
