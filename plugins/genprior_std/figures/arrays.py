"""The data behind figures as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genprior import DataError, TrainedRun

__all__ = ["arrays_of", "stack_of"]


def arrays_of(runs: Sequence[TrainedRun], **arrays: Any) -> dict[str, NDArray[np.generic]]:
    """Arrays for an .npz: `rows` and `seeds`, the labels and seeds of the runs, and those that are given.

    Images, uint8 tensors [..., c, h, w] with three or more axes before them or two, become [..., h, w, c].
    """
    made: dict[str, NDArray[np.generic]] = {
        "rows": np.array([run.label for run in runs]),
        "seeds": np.array([run.seed for run in runs], dtype=np.int64),
    }
    for name, each in arrays.items():
        if isinstance(each, Tensor):
            made[name] = (each.movedim(-3, -1).contiguous() if each.dtype == torch.uint8 else each).numpy()
        else:
            made[name] = np.asarray(each)
    return made


def stack_of(runs: Sequence[TrainedRun], images: Sequence[Tensor]) -> Tensor:
    """The images of all runs, [runs, ...].

    Raises:
        DataError: those of one run have another size.
    """
    for run, own in zip(runs, images, strict=True):
        if own.shape != images[0].shape:
            size, first = list(own.shape[-3:]), list(images[0].shape[-3:])
            raise DataError(
                f"row '{run.label}' has images of [c, h, w] = {size}, and row '{runs[0].label}' of {first}; a figure "
                "shows runs of one data set: give such runs, or select rows with --rows"
            )
    return torch.stack(list(images))
