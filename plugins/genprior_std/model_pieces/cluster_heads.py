"""Cluster heads: trainable points in the space of codes, one for each cluster."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from genprior import ModulePart, PartConfig, Sizes

__all__ = ["ClusterHeads"]


class ClusterHeads(ModulePart):
    """The heads of K clusters, the rows w_i of W_C, [K, d], initialised from N(0, spread^2 I).

    Source: Makhzani et al., "Adversarial autoencoders", 2015, section 7.
    """

    name = "cluster_heads"

    class Config(PartConfig):
        """The number of heads and their initialisation."""

        categories: int = Field(ge=2)
        """K."""
        spread: float = Field(gt=0, allow_inf_nan=False)
        """Initial standard deviation of each number of a head."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Draw the heads; `sizes.code` is d."""
        super().__init__(config, sizes)
        self.weight = nn.Parameter(self.config.spread * torch.randn(self.config.categories, sizes.code))

    def forward(self, y: Tensor) -> Tensor:
        """W_C^T y of categories y [n, K], one-hot or soft: [n, d]."""
        return y @ self.weight

    def repulsion(self, eta: float) -> Tensor:
        """The cost sum_(i<j) max(0, eta - |w_i - w_j|), a scalar: 0 once all heads are eta apart."""
        cost: Tensor = (eta - functional.pdist(self.weight)).relu().sum()
        return cost

    def to_plane(self) -> Tensor:
        """The map P [d, 2] with the least sum_i |w_i P - c_i|^2, c_i at angle 2 pi i / K of the unit circle.

        If several are best, the one of least norm. Linearly independent heads, as K <= d random heads almost surely
        are, are mapped exactly onto their points.
        """
        heads = self.weight
        angle = torch.arange(len(heads), device=heads.device, dtype=heads.dtype) * (2 * math.pi / len(heads))
        circle = torch.stack([angle.cos(), angle.sin()], dim=1)
        plane: Tensor = torch.linalg.pinv(heads) @ circle
        return plane
