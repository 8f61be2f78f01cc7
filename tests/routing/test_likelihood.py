"""Modules updated in each phase of models of one and two levels of codes, with learned and fixed priors."""

from __future__ import annotations

import pytest
import torch

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.parts import Batch, DataInfo
from genprior_std.conditioners.none import NoCondition
from genprior_std.models.hvae import HierarchicalVariationalAutoencoder
from genprior_std.models.iwae import ImportanceWeightedAutoencoder
from genprior_std.models.ncrp_vae import NestedCrpAutoencoder
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.networks.gated_mlp_decoder import GatedMlpDecoder
from genprior_std.networks.gated_mlp_encoder import GatedMlpEncoder
from genprior_std.priors.exemplar import Exemplar
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.latent_ebm import LatentEnergy
from genprior_std.priors.nested_crp import NestedCrp
from genprior_std.priors.resampled import Resampled
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.discretised_logistic import DiscretisedLogistic
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 4, 4), ())
SMALL = {"hidden": (6,)}
ONE = {"encoder": GatedMlpEncoder.Config(**SMALL), "decoder": GatedMlpDecoder.Config(**SMALL), "code_size": 3}
ONE |= {"conditioner": NoCondition.Config()}
TWO = {"encoder": GatedMlpEncoder.Config(**SMALL), "decoder": GatedMlpDecoder.Config(conditional=True, **SMALL)}
TWO |= {"inner_encoder": GatedMlpEncoder.Config(conditional=True, **SMALL), "code_size": 3, "inner_code_size": 2}
FIXED = {"prior": Gaussian.Config(), "reconstruction": Pixel.Config(metric="gaussian", reduction="sum")}
LEARNED = {"prior": VampPrior.Config(components=3, std=0.5), "reconstruction": DiscretisedLogistic.Config()}
ENERGY = {**FIXED, "prior": LatentEnergy.Config(hidden=(4,), langevin_steps=3)}
RESAMPLED = {**FIXED, "prior": Resampled.Config(hidden=(4,), draws=5, normaliser_samples=16)}
EXEMPLAR = {**FIXED, "prior": Exemplar.Config()}
TREE = {**FIXED, "prior": NestedCrp.Config(branching=2, depth=2)}
NETWORKS = {"encoder", "decoder"}
INNER = NETWORKS | {"inner_encoder", "inner_prior"}
OWN = {"prior", "reconstruction"}

CASES = {
    "vae": (VariationalAutoencoder, {**ONE, **FIXED}, {"elbo": NETWORKS}),
    "vae, all learns": (VariationalAutoencoder, {**ONE, **LEARNED}, {"elbo": NETWORKS | OWN}),
    "vae, latent_ebm": (VariationalAutoencoder, {**ONE, **ENERGY}, {"elbo": NETWORKS | {"prior"}}),
    "vae, resampled": (VariationalAutoencoder, {**ONE, **RESAMPLED}, {"elbo": NETWORKS | {"prior"}}),
    "vae, exemplar": (VariationalAutoencoder, {**ONE, **EXEMPLAR}, {"elbo": NETWORKS | {"prior"}}),
    "iwae": (ImportanceWeightedAutoencoder, {**ONE, **FIXED}, {"bound": NETWORKS}),
    "iwae, all learns": (ImportanceWeightedAutoencoder, {**ONE, **LEARNED}, {"bound": NETWORKS | OWN}),
    "iwae, exemplar": (ImportanceWeightedAutoencoder, {**ONE, **EXEMPLAR}, {"bound": NETWORKS | {"prior"}}),
    "hvae": (HierarchicalVariationalAutoencoder, {**TWO, **FIXED}, {"elbo": INNER}),
    "hvae, all learns": (HierarchicalVariationalAutoencoder, {**TWO, **LEARNED}, {"elbo": INNER | OWN}),
    "hvae, exemplar": (HierarchicalVariationalAutoencoder, {**TWO, **EXEMPLAR}, {"elbo": INNER | {"prior"}}),
    "ncrp_vae": (NestedCrpAutoencoder, {**ONE, **TREE, "warmup": 0}, {"network": NETWORKS, "tree": {"prior"}}),
    "ncrp_vae, sigma learns": (
        NestedCrpAutoencoder,
        {**ONE, **TREE, "warmup": 0, "reconstruction": DiscretisedLogistic.Config()},
        {"network": NETWORKS | {"reconstruction"}, "tree": {"prior"}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_phase_moves_exactly_what_the_paper_moves(case):
    kind, settings, expected = CASES[case]
    model = build_model(kind.Config(**settings), INFO, 0).train()
    modules = dict(model.named_children())
    optimisers = {n: torch.optim.SGD(m.parameters(), lr=0.01) for n, m in modules.items() if list(m.parameters())}
    x = 2 * torch.rand(6, *INFO.image, generator=torch.Generator().manual_seed(1)) - 1
    assert [phase.name for phase in model.phases()] == list(expected)
    for phase in model.phases():
        before = {n: {k: t.clone() for k, t in m.state_dict().items()} for n, m in modules.items()}
        torch.manual_seed(2)
        run_phase(phase, Batch(x, torch.zeros(6, dtype=torch.int64)), modules, optimisers)
        moved = {
            n for n, s in before.items() if any(not torch.equal(t, modules[n].state_dict()[k]) for k, t in s.items())
        }
        assert moved == expected[phase.name]


def test_a_likelihood_says_whether_it_is_a_density_of_pixels():
    binary = INFO._replace(binary=True)
    coins = {"reconstruction": Pixel.Config(metric="bernoulli", reduction="sum")}
    for kind, parts in ((VariationalAutoencoder, ONE), (HierarchicalVariationalAutoencoder, TWO)):
        for given, density in ((FIXED, True), (LEARNED, False), ({**FIXED, **coins}, False)):
            model = build_model(kind.Config(**{**parts, **given}), binary, 0)
            assert model.density == density and model.normalised
        squares = {**parts, **FIXED, "reconstruction": Pixel.Config(reduction="sum")}
        model = build_model(kind.Config(**squares), binary, 0)
        assert not model.density and not model.normalised
