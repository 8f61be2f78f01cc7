"""Draws of a model of one level of codes, decoded a few at a time where no gradient is wanted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genprior import Batch, DataInfo
from genprior.engine.build import build_model
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.code_inference import ROWS
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.gaussian import Gaussian
from genprior_std.reconstruction.pixel import Pixel

IMAGE = (1, 4, 4)


@pytest.fixture
def model() -> Any:
    config = VariationalAutoencoder.Config(
        code_size=3,
        prior=Gaussian.Config(),
        encoder=MlpEncoder.Config(hidden=(6,), posterior="gaussian"),
        decoder=MlpDecoder.Config(hidden=(6,), batch_norm=True),
        reconstruction=Pixel.Config(metric="bernoulli", reduction="sum"),
        conditioner=NoCondition.Config(),
    )
    return build_model(config, DataInfo(IMAGE, (), binary=True), seed=0).double()


def batch_of(n: int) -> Batch:
    drawn = torch.rand(n, *IMAGE, generator=torch.Generator().manual_seed(n)) < 0.3
    return Batch(drawn.double() * 2 - 1, torch.zeros(n, dtype=torch.int64))


def decoded(model: Any) -> list[int]:
    """How many codes the decoder is given, call by call."""
    rows: list[int] = []
    model.decoder.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    return rows


@pytest.mark.parametrize("samples", [1, 7])
@pytest.mark.parametrize("n", [1, 30, 128, 129])
@torch.no_grad()
def test_the_likelihood_is_that_of_each_draw_whatever_the_pieces(n: int, samples: int, model: Any) -> None:
    batch, none = batch_of(n), torch.zeros(n, 0, dtype=torch.float64)
    model.eval()
    rows = decoded(model)
    draws = model.infer(batch).draw(samples)
    assert sum(rows) == n * samples
    assert max(rows) <= max(ROWS, n)
    white = torch.stack([(model.decoder(z, none) + 1) / 2 for z in draws.z]).clamp(1e-6, 1 - 1e-6)
    log_p = torch.distributions.Bernoulli(white).log_prob(((batch.x + 1) / 2).expand_as(white))
    torch.testing.assert_close(draws.log_likelihood, log_p.sum((2, 3, 4)))


@pytest.mark.parametrize("why", ["gradient", "training"])
def test_all_draws_are_decoded_together_where_they_belong_together(why: str, model: Any) -> None:
    model.train(why == "training")
    rows = decoded(model)
    with torch.set_grad_enabled(why == "gradient"):
        model.infer(batch_of(100)).draw(5)
    assert rows == [500]
