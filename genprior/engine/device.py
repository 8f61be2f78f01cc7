"""The device of a run."""

from __future__ import annotations

import torch

from genprior.errors import PlanError

__all__ = ["choose_device"]


def choose_device(requested: str) -> torch.device:
    """The device to run on: `auto` is CUDA if it is available.

    Raises:
        PlanError: there is no such device, or CUDA is requested but not available.
    """
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(requested)
    except RuntimeError:
        raise PlanError(f"there is no device '{requested}'. Possible: auto, cpu, cuda, cuda:0") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PlanError("--device cuda needs a GPU, but torch finds none here; use --device cpu or auto")
    return device
