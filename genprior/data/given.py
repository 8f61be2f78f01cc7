"""Values that Python passes: arrays and tensors in a form that is computed with, and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genprior.errors import DataError, GenpriorError

__all__ = ["RANGES", "given_array", "given_tensor", "pair_of_numbers"]

RANGES = ((0, 1), (-1, 1))
"""The values of black and white that floating-point images may have."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def given_array(given: Tensor | np.ndarray, what: str, error: type[GenpriorError] = DataError) -> np.ndarray:
    """An array or tensor as a NumPy array of this machine's byte order; bfloat16 becomes float32.

    Args:
        given: dense, with numbers in it.
        what: the beginning of messages, with its verb, such as `images are`.
        error: the class of the error.

    Raises:
        GenpriorError: of the class `error`; it has no values, or no numbers, or a dtype that is not computed with.
    """
    if isinstance(given, Tensor):
        host = _dense(given, what, error).detach().cpu()
        return (host.float() if host.dtype == torch.bfloat16 else host).numpy()
    if given.dtype.kind not in "bufi":
        raise error(f"{what} {given.dtype} {list(given.shape)}; an array of numbers is needed")
    if given.dtype.kind == "f" and given.dtype.itemsize > 8:  # NumPy's longdouble, which PyTorch does not have
        return given.astype(np.float64)
    return given if given.dtype.isnative else given.astype(given.dtype.newbyteorder("="))


def given_tensor(given: Tensor | np.ndarray, what: str, error: type[GenpriorError] = DataError) -> Tensor:
    """An array or tensor as a tensor, whatever the strides and byte order of the array; see `given_array`."""
    if isinstance(given, Tensor):
        return _dense(given, what, error)
    # A copy of what PyTorch cannot share: negative strides, and arrays that are not to be written.
    return torch.from_numpy(np.require(given_array(given, what, error), requirements=["C", "W"]))


def _dense(x: Tensor, what: str, error: type[GenpriorError]) -> Tensor:
    if x.is_meta:
        raise error(f"{what} a tensor on the device 'meta', which has no values; give one with values")
    if x.layout is not torch.strided or x.is_nested:
        layout = "nested" if x.is_nested else str(x.layout).removeprefix("torch.")
        raise error(f"{what} a tensor of the layout {layout}; give a dense one, as its to_dense() or stack() makes")
    if x.is_quantized or x.is_complex() or (x.is_floating_point() and x.dtype not in _FLOATS):
        kind = str(x.dtype).removeprefix("torch.")
        raise error(f"{what} {kind} {list(x.shape)}; give uint8, float16, bfloat16, float32 or float64")
    return x


def pair_of_numbers(given: Any) -> tuple[float, float] | None:
    """Two numbers of a sequence or array; None where it is anything else."""
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | np.ndarray | Tensor):
        return None
    try:
        low, high = (float(each) for each in given)
    except (TypeError, ValueError, RuntimeError):
        return None
    return low, high
