"""Modules updated in each phase of the autoencoders without a critic, with fixed and learned priors and conditions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genprior import Batch, Condition, Conditioner, DataInfo, Widths
from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior_std.conditioners.label import Label
from genprior_std.models.autoencoder import Autoencoder
from genprior_std.models.rae import RegularisedAutoencoder
from genprior_std.models.wae import WassersteinAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.reconstruction.pixel import Pixel

from ..small import moved, snapshot

INFO = DataInfo((1, 4, 4), ("a", "b", "c"))
NETWORKS = {"encoder", "decoder"}


class Vectors(Conditioner):
    """A learned vector for each class."""

    name = "vectors_of_this_test"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.vectors = nn.Embedding(3, 2)

    @classmethod
    def widths(cls, config, info):
        return Widths(2, 2)

    def forward(self, batch):
        return Condition(self.vectors(batch.y), self.vectors(batch.y))

    def draw(self, like):
        return self.forward(Batch(like, torch.zeros(len(like), dtype=torch.int64)))


def parts(**changes):
    own = {
        "prior": Gaussian.Config(),
        "encoder": MlpEncoder.Config(hidden=(6,), batch_norm=True),
        "decoder": MlpDecoder.Config(hidden=(6,), batch_norm=True),
        "reconstruction": Pixel.Config(),
    }
    return {"code_size": 3, **own, **changes}


LABEL = {"conditioner": Label.Config(), "decoder": MlpDecoder.Config(hidden=(6,), conditional=True)}
LEARNED = {**LABEL, "conditioner": Vectors.Config()}
GENERATOR = {"prior": CodeGenerator.Config()}
CASES = {
    "autoencoder": (Autoencoder, {}, {"autoencode": NETWORKS}),
    "autoencoder, labels": (Autoencoder, LABEL, {"autoencode": NETWORKS}),
    "autoencoder, learned condition": (Autoencoder, LEARNED, {"autoencode": NETWORKS | {"conditioner"}}),
    "wae": (WassersteinAutoencoder, {}, {"match": NETWORKS}),
    "wae, learned prior": (WassersteinAutoencoder, GENERATOR, {"match": NETWORKS | {"prior"}}),
    "wae, sliced, learned prior": (
        WassersteinAutoencoder,
        {**GENERATOR, "divergence": "sliced"},
        {"match": NETWORKS | {"prior"}},
    ),
    "wae, learned condition": (
        WassersteinAutoencoder,
        {**LEARNED, **GENERATOR, "conditional": True},
        {"match": NETWORKS | {"prior", "conditioner"}},
    ),
    "rae, l2": (RegularisedAutoencoder, {}, {"autoencode": NETWORKS}),
    "rae, spectral": (RegularisedAutoencoder, {"regularisation": "spectral"}, {"autoencode": NETWORKS}),
    "rae, none": (RegularisedAutoencoder, {"regularisation": "none"}, {"autoencode": NETWORKS}),
    "rae, learned condition": (
        RegularisedAutoencoder,
        {**LEARNED, "regularisation": "gradient_penalty"},
        {"autoencode": NETWORKS | {"conditioner"}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_phase_moves_exactly_what_the_paper_moves(case):
    kind, changes, expected = CASES[case]
    model = build_model(kind.Config(**parts(**changes)), INFO, 0).train()
    modules = dict(model.named_children())
    optimisers = {n: torch.optim.SGD(m.parameters(), lr=0.1) for n, m in modules.items() if list(m.parameters())}
    x = 2 * torch.rand(6, *INFO.image, generator=torch.Generator().manual_seed(1)) - 1
    assert [phase.name for phase in model.phases()] == list(expected)
    for phase in model.phases():
        before = snapshot(modules)
        torch.manual_seed(2)
        run_phase(phase, Batch(x, torch.arange(6) % 3), modules, optimisers)
        assert moved(modules, before) == expected[phase.name]
