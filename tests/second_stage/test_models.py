"""Every model with one code draws images from its fitted prior, and has its density."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import genprior
from genprior import Batch, DataInfo, LikelihoodModel, Model, PlanError
from genprior.engine.build import build_model
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.models.autoencoder import Autoencoder
from genprior_std.models.iwae import ImportanceWeightedAutoencoder
from genprior_std.models.ncrp_vae import NestedCrpAutoencoder
from genprior_std.models.rae import RegularisedAutoencoder
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.models.vae_gan import VaeGan
from genprior_std.models.wae import WassersteinAutoencoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.kde import KernelDensity
from genprior_std.priors.nested_crp import NestedCrp
from genprior_std.reconstruction.pixel import Pixel
from tests.small_fitted import Affine

INFO = DataInfo((1, 8, 8), ())
CODE = 3


def settings(of: type[Model]) -> dict[str, Any]:
    """Small parts for a model, with a Gaussian posterior where it takes one."""
    parts: dict[str, Any] = {
        "prior": Gaussian.Config(),
        "encoder": MlpEncoder.Config(hidden=(8,), posterior="gaussian"),
        "decoder": MlpDecoder.Config(hidden=(8,)),
        "reconstruction": Pixel.Config(metric="gaussian", sigma=0.3, reduction="sum"),
    }
    critic = MlpImageCritic.Config(hidden=(8,))
    if of is AdversarialAutoencoder:
        parts |= {"code_critic": CodeCritic.Config(hidden=(8,)), "code_game": NonSaturating.Config()}
    if of is VaeGan:
        parts |= {"image_critic": critic, "game": NonSaturating.Config()}
    if of is NestedCrpAutoencoder:
        parts["prior"] = NestedCrp.Config(branching=2, depth=2)
    if of in (Autoencoder, RegularisedAutoencoder):
        parts["encoder"] = MlpEncoder.Config(hidden=(8,))
    return parts


@pytest.mark.parametrize(
    "of",
    [
        AdversarialAutoencoder,
        VariationalAutoencoder,
        ImportanceWeightedAutoencoder,
        VaeGan,
        NestedCrpAutoencoder,
        Autoencoder,
        WassersteinAutoencoder,
        RegularisedAutoencoder,
    ],
)
def test_images_and_densities_are_those_of_the_fitted_prior(of: type[Model]) -> None:
    config = of.Config(code_size=CODE, fitted_prior=Affine.Config(), **settings(of))
    model = build_model(config, INFO, 0).eval()
    network = model.fitted_prior.network
    with torch.no_grad():
        network["m"].fill_(2)
        network["s"].fill_(-30)  # a point mass
        condition = model.condition(torch.zeros(4))
        drawn = model.draw_codes(condition)
        assert drawn is not None
        assert torch.allclose(drawn, torch.full((4, CODE), 2.0))
        decoded = model.decode(drawn, condition)
        assert decoded is not None
        assert torch.allclose(model.generate(condition), decoded, atol=1e-6)
        network["s"].zero_()
        batch = Batch(torch.rand(5, 1, 8, 8) * 2 - 1, torch.zeros(5, dtype=torch.int64))
        codes = model.draw_posterior(batch)
        assert codes is not None
        assert codes.z.shape == (5, CODE)
        assert codes.asked.shape == (5, 0)
        if isinstance(model, LikelihoodModel):
            draws = model.infer(batch).draw(2)
            normal = torch.distributions.Normal(2.0, 1.0).log_prob(draws.z).sum(-1)
            assert torch.allclose(draws.log_prior, normal, atol=1e-5)


def test_an_optional_likelihood_is_left_out_where_there_is_no_density(tmp_path: Path) -> None:
    """A row has it with the density of its fitted prior, another has none, with the reason, and one is refused."""
    model = VariationalAutoencoder
    config = model.Config(code_size=CODE, **settings(model))
    train = genprior.in_memory(torch.rand(60, 1, 8, 8), range=(0, 1))
    score = {"name": "nll", "importance_samples": 3}
    tables = {
        "run": {"steps": 2, "batch": 8, "fit": {"steps": 2, "batch": 8}, "hooks": {"pictures": {"enabled": False}}},
        "data": train,
        "optimiser": {"default": {"name": "adam", "lr": 1e-3}},
        "model": config,
        "scores": [{**score, "optional": True}, {"name": "active_units"}],
        "change": {name: {"model": {"fitted_prior": {"name": name}}} for name in ("affine", "bag")},
        "row": [{"label": name, "changes": [name]} for name in ("affine", "bag")],
    }
    table = genprior.train(genprior.make_recipe(tables), out=tmp_path)
    assert "nll" in table.row("affine").scores
    assert "nll" not in table.row("bag").scores
    assert "p(z), q(z | x) or p(x | z) of the model is not known" in table.row("bag").empty["nll"]
    assert "optional" not in table.as_markdown()
    with pytest.raises(genprior.GenpriorError, match="needs log p.z., and fitted_prior 'bag' of this model 'vae' has"):
        genprior.train(genprior.make_recipe({**tables, "scores": [score]}, rows=["bag"]), out=tmp_path / "refused")


def test_only_the_prior_of_training_must_learn_where_it_is_improved() -> None:
    parts = settings(AdversarialAutoencoder) | {"improves": {"prior": True}, "fitted_prior": KernelDensity.Config()}
    parts |= {"image_critic": MlpImageCritic.Config(hidden=(8,)), "image_game": NonSaturating.Config()}
    config = AdversarialAutoencoder.Config(code_size=CODE, **{**parts, "prior": CodeGenerator.Config()})
    assert build_model(config, INFO, 0).code_prior.name == "kde"
    with pytest.raises(PlanError, match="improves.prior = true asks for a prior that can be trained; 'gaussian' has n"):
        build_model(AdversarialAutoencoder.Config(code_size=CODE, **parts), INFO, 0)
