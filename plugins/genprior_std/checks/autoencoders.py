"""Checks of autoencoders without a game and without a likelihood: each raises a PlanError for unusable parts."""

from __future__ import annotations

from typing import Any

from genprior import AutoregressiveDecoder, DensityPosterior, PartConfig, PlanError, Prior
from genprior_std.checks.trainable import learns

__all__ = ["check_decodes", "check_deterministic", "check_only_draws"]


def check_decodes(model: str, decoder: PartConfig) -> None:
    """Refuse a decoder that samples pixels, in a model that trains on the error of decoded images.

    Raises:
        PlanError: the decoder is autoregressive.
    """
    if issubclass(decoder.part, AutoregressiveDecoder):
        raise PlanError(
            f"model '{model}' trains on the error of decoded images, and decoder '{decoder.name}' samples "
            "its pixels, which passes no gradient. Use a decoder such as 'mlp' or 'residual'"
        )


def check_deterministic(model: str, encoder: Any) -> None:
    """Refuse an encoder that draws codes, in a model without a loss that keeps their spread.

    Raises:
        PlanError: the encoder's posterior has a density.
    """
    if issubclass(encoder.part.posterior_of(encoder), DensityPosterior):
        raise PlanError(
            f"model '{model}' has a deterministic encoder, since none of its losses keeps codes spread out; encoder "
            f"'{encoder.name}' draws codes from a density. Set posterior = \"point\" in the encoder's table, "
            "or use model 'wae', 'aae' or 'vae'"
        )


def check_only_draws(model: str, prior: Prior) -> None:
    """Refuse a trainable prior in a model whose losses do not use the prior.

    Raises:
        PlanError: it has parameters.
    """
    if learns(prior):
        raise PlanError(
            f"model '{model}' uses its prior only to draw new images, so prior '{prior.name}' would not learn. "
            "Use a prior without parameters, such as 'gaussian', and a fitted_prior beside it, or model 'wae', which "
            "trains its prior"
        )
