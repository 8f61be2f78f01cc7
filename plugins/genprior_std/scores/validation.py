"""Advice for scores that need images held back from training."""

from __future__ import annotations

__all__ = ["HOLD_BACK"]

HOLD_BACK = (
    "Hold images back from training by `validation` in [data], which data sets mnist, fashion_mnist and digits have"
)
"""What to do where a score needs the split `validation`."""
