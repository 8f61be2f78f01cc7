"""The device and the precision of a run."""

from __future__ import annotations

import torch
import torch.distributed

from genprior.errors import PlanError

__all__ = ["choose_device", "choose_precision"]


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


def choose_precision(requested: str, device: torch.device) -> torch.dtype:
    """The precision of the forward passes.

    `auto` is bf16 if the hardware supports it (a GPU with bf16, a CPU with AMX or AVX-512 bf16), else fp32.
    """
    if requested == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = _cpu_multiplies_bf16()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if requested == "bf16" else torch.float32


def _cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16; torch has no public function for this."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check is not None and bool(check()) for check in checks)
