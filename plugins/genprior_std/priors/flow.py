"""A normalizing flow as the prior: noise through a trainable invertible network."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from genprior import DensityPrior, PartConfig, PlanError, Sizes

__all__ = ["Flow"]

FAMILIES = {"nsf": "NSF", "maf": "MAF", "realnvp": "RealNVP"}
"""The name of each family of flows in `zuko.flows`."""


class Flow(DensityPrior):
    """A normalizing flow: e = T(z; asked) is standard normal noise, T being invertible and learned.

        log p(z | asked) = log N(T(z; asked); 0, I) + log |det dT / dz|

    It learns by maximum likelihood of the codes that it is given: in a model such as `vae`, whose loss contains
    -log p(z), it moves towards the aggregated posterior and the encoder towards it. Codes are [n, d]; with a condition
    (k > 0) the flow is conditional on `asked` [n, k].

    The kinds: `nsf`, monotonic rational-quadratic splines, each coordinate's computed from those before it; `maf`, the
    same with affine maps; `realnvp`, affine maps of half of the coordinates, computed from the other half. A spline
    transforms only [-5, 5] and is the identity outside, so `nsf` needs codes of about unit scale; far from the origin
    it is the standard normal. `nsf` and `maf` compute a density in one pass of the network and a sample in d passes;
    `realnvp` computes either in one.

    Densities and samples are computed in the precision of the parameters, never in the half precision of autocast,
    which would round the small differences of a log-determinant away.

    Raises:
        PlanError: the library zuko is not installed.

    References:
        Durkan, Bekasov, Murray and Papamakarios, Neural Spline Flows, 2019 (`nsf`); Papamakarios, Pavlakou and Murray,
        Masked Autoregressive Flow for Density Estimation, 2017 (`maf`); Dinh, Sohl-Dickstein and Bengio, Density
        Estimation Using Real NVP, 2016 (`realnvp`). The implementations are those of zuko.
    """

    name = "flow"

    class Config(PartConfig):
        """Settings of the flow."""

        kind: Literal["nsf", "maf", "realnvp"] = "nsf"
        """The family: autoregressive splines, autoregressive affine maps, or affine couplings."""
        transforms: int = Field(default=3, ge=1)
        """The number of transformations in sequence; every second one takes the coordinates in reverse order."""
        hidden: tuple[PositiveInt, ...] = Field(default=(64, 64), min_length=1)
        """Widths of the hidden layers of each transformation's network."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the flow; it is initialised near, but not at, the standard normal distribution."""
        super().__init__(config, sizes)
        try:
            import zuko  # an optional dependency, needed only for flows
        except ImportError:
            raise PlanError(
                f"prior '{self.name}' needs the library zuko, which is not installed. "
                'Install it with `pip install "genprior[flow]"`, or use another prior with a density '
                "('gaussian', 'mixture', 'vampprior')"
            ) from None
        family = getattr(zuko.flows, FAMILIES[self.config.kind])
        self.network = family(
            sizes.code, sizes.asked, transforms=self.config.transforms, hidden_features=self.config.hidden
        )

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z = T^-1(e; asked) [n, d] with e ~ N(0, I), differentiable in the flow's parameters."""
        with torch.autocast(asked.device.type, enabled=False):
            p = self._distribution(asked)
            z: Tensor = p.rsample() if asked.shape[1] else p.rsample((len(asked),))
        return z.to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density log p(z | asked): [n] in nats for z [n, d] and asked [n, k]."""
        with torch.autocast(z.device.type, enabled=False):
            log_p: Tensor = self._distribution(asked).log_prob(z.to(self._dtype))
        return log_p

    def _distribution(self, asked: Tensor) -> Any:
        """The distribution of zuko: one for each row of `asked`, or a single one without a condition."""
        return self.network(asked.to(self._dtype) if asked.shape[1] else None)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = next(self.network.parameters()).dtype
        return dtype
