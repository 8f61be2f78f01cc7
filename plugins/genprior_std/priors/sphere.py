"""The uniform distribution on the unit sphere."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from genprior import DensityPrior, PartConfig, PlanError, Sizes
from genprior_std.layers.von_mises_fisher import log_sphere_area

__all__ = ["Sphere"]


class Sphere(DensityPrior):
    """The uniform distribution on the unit sphere |z| = 1 in R^d, d >= 2, which ignores the condition.

        p(z) = Gamma(d / 2) / (2 pi^(d / 2)),    per surface of the sphere

    It has no density in space: a model trained by likelihood needs a posterior on the sphere beside it, the encoders'
    `posterior = "von_mises_fisher"`. A model that only samples it, such as `aae`, takes any posterior. The radius is 1,
    since the first layer of a decoder can scale codes by any number.

    Raises:
        PlanError: the code has a single number.

    References:
        Davidson, Falorsi, De Cao, Kipf and Tomczak, Hyperspherical Variational Auto-Encoders, 2018.
    """

    name = "sphere"
    supports = ("unit_sphere",)

    class Config(PartConfig):
        """No settings."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Check that the sphere is more than two points."""
        super().__init__(config, sizes)
        if sizes.code < 2:
            raise PlanError(
                f"prior '{self.name}' needs codes of 2 numbers or more: the sphere of code_size = {sizes.code} is two "
                "points. Set code_size to 2 or more"
            )

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes e / |e| [n, d] with e ~ N(0, I), one for each row of `asked` [n, k]."""
        dtype = torch.promote_types(asked.dtype, torch.float32)
        noise = torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=dtype)
        return normalize(noise, dim=1).to(asked.dtype)

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """The circle in equal steps, [1, columns, 2], or circles of latitude of the globe, [columns, columns, 3].

        Circle i lies at the height 1 - (2 i + 1) / columns, in the middle of a zone; all zones have the
        same area. None unless codes have 2 or 3 numbers.
        """
        if self.sizes.code not in (2, 3):
            return None
        steps = torch.arange(columns, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
        phi = 2 * math.pi / columns * steps
        circle = torch.stack([phi.cos(), phi.sin()], -1)
        if self.sizes.code == 2:
            return circle[None].to(like.dtype)
        height = (1 - (2 * steps + 1) / columns)[:, None, None].expand(-1, columns, 1)
        return torch.cat([(1 - height.square()).sqrt() * circle, height], -1).to(like.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """Minus the logarithm of the sphere's area: [n] in nats per surface for codes z [n, d] of length 1."""
        return z.new_full((len(z),), -log_sphere_area(z.shape[1]))
