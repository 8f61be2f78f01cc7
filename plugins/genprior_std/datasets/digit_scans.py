"""The scans of handwritten digits that ship with scikit-learn, and their fixed division into training and test."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["divide_scans", "read_scans"]

_TEST = 360
_SPLIT_SEED = 0


def read_scans() -> tuple[Tensor, Tensor]:
    """Read scikit-learn's `load_digits`, in its order, with values 0..16 brought to 0..255.

    Returns:
        The scans, uint8 [1797, 1, 8, 8], and the digits that they show, int64 [1797].
    """
    # Imported here, because scikit-learn takes a second to import and a plugin is imported to be listed.
    from sklearn.datasets import load_digits

    scans = load_digits()
    levels = np.rint(scans.images * (255 / 16)).astype(np.uint8)
    return torch.from_numpy(levels)[:, None], torch.from_numpy(scans.target.astype(np.int64))


def divide_scans(digits: Tensor, split: str) -> Tensor:
    """The scans of the split `train` or `test`, drawn once and stratified by digit: 1,437 and 360.

    Args:
        digits: the digits of all scans, int64 [1797].
        split: `train` or `test`.

    Returns:
        Indices, int64, in ascending order.
    """
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(digits)), test_size=_TEST, random_state=_SPLIT_SEED, stratify=digits.numpy(), shuffle=True
    )
    return torch.from_numpy(np.sort(test if split == "test" else train))
