"""The sets on which the densities of codes are defined."""

from __future__ import annotations

from typing import Literal

__all__ = ["Support"]

Support = Literal["space", "bounded", "unit_sphere"]
"""All of R^d or a bounded part of it, with densities per volume; or the unit sphere, with densities per surface."""
