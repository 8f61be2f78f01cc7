"""Settings of the second stage, `[run.fit]`: the fit of a prior to the codes of training images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genprior.parts import OptimiserSpec, SettingsTable

__all__ = ["FitConfig"]


class FitConfig(SettingsTable):
    """The fit of a `fitted_prior` to the codes of the training images, after the model is trained and frozen."""

    steps: int = Field(2000, gt=0)
    """Steps of the fit; a prior in closed form has one, whatever their number."""
    batch: int = Field(256, gt=0)
    """Codes per step, over all ranks."""
    draws: int = Field(1, ge=1)
    """Codes drawn from the posterior of each training image; the same in every step. An encoder that gives a single
    code needs one."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of the averaged weights of the fitted prior, which then draws codes."""
    ema_share: float | None = Field(None, gt=0, le=1)
    """The largest share of the steps of the fit so far that the average is over, as `run.ema_share`."""
    clip_norm: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The largest norm of a module's gradients. No limit if not given."""
    clip_value: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The largest absolute value of an entry of a gradient. No limit if not given."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Precision of the forward passes; the networks are small, so that bf16 saves little."""
    optimiser: dict[str, OptimiserSpec] = {}
    """Optimiser settings: `default`, and those of single modules of the fitted prior; `optimiser.default` of the
    recipe if there is no default here."""
