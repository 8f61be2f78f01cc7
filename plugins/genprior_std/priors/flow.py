"""A normalizing flow as the prior: noise through a trainable invertible network."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from genprior import Codes, DensityPrior, FittedPrior, Objectives, PartConfig, Phase, PlanError, Sizes
from genprior_std.layers.standardised_codes import StandardisedCodes

__all__ = ["Flow"]

FAMILIES = {"nsf": "NSF", "maf": "MAF", "realnvp": "RealNVP"}
"""The name of each family of flows in `zuko.flows`."""
ALONE = 0.05
"""What the first parameters of the maps of a single number are multiplied by."""


class Flow(DensityPrior, FittedPrior):
    """A normalizing flow: noise through a learned invertible network.

    e = T(z; asked) is standard normal noise, T being invertible and learned:

        log p(z | asked) = log N(T(z; asked); 0, I) + log |det dT / dz|

    It learns by maximum likelihood of the codes that it is given: in a model such as `vae`, whose loss contains
    -log p(z), it moves towards the aggregated posterior and the encoder towards it. Codes are [n, d]; with a condition
    (k > 0) the flow is conditional on `asked` [n, k].

    As a `fitted_prior` it learns by maximum likelihood of the codes of training images, with the encoder frozen. Then
    it is a flow of standardised codes: T((z - mean) / scale; asked), with log |det| smaller by sum_j log scale_j.

    The kinds: `nsf`, monotonic rational-quadratic splines, each coordinate's computed from those before it; `maf`, the
    same with affine maps; `realnvp`, affine maps of half of the coordinates, computed from the other half. A spline
    transforms only [-5, 5] and is the identity outside, so `nsf` needs codes of about unit scale when it is trained
    with a model; far from the origin it is the standard normal. `nsf` and `maf` compute a density in one pass of the
    network and a sample in d passes; `realnvp` computes either in one.

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
    joint = True
    mean: Tensor | None
    """Of the codes that it was fitted to, [d]; None, and in no checkpoint, where it is trained with the model."""
    scale: Tensor | None
    """Their standard deviations, [d]; None like `mean`."""

    class Config(PartConfig):
        """Settings of the flow."""

        kind: Literal["nsf", "maf", "realnvp"] = "nsf"
        """The family: autoregressive splines, autoregressive affine maps, or affine couplings."""
        transforms: int = Field(default=3, ge=1)
        """The number of transformations in sequence; every second one takes the coordinates in reverse order."""
        hidden: tuple[PositiveInt, ...] = Field(default=(64, 64), min_length=1)
        """Widths of the hidden layers of each transformation's network."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the flow; it is initialised near, but not at, the standard normal distribution.

        The maps of a single number without a condition have no network: zuko draws their parameters from N(0, 1),
        which is far from the identity, so they are multiplied by 0.05.
        """
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
        if sizes.code == 1 and not sizes.asked:
            with torch.no_grad():
                for parameter in self.network.parameters():
                    parameter.mul_(ALONE)
        self.register_buffer("mean", None)
        self.register_buffer("scale", None)

    def begin_fit(self, codes: Codes) -> None:
        """Standardise the codes from now on by their means and standard deviations."""
        standard = StandardisedCodes(self.sizes.code).to(codes.z)
        standard.set(codes.z)
        self.mean, self.scale = standard.mean, standard.scale

    def phases(self) -> tuple[Phase, ...]:
        """Maximum likelihood."""
        return (Phase("likelihood", self.likelihood),)

    def likelihood(self, codes: Codes) -> Objectives:
        """The negative log-likelihood of a batch of codes, -E log p(z | asked), in nats."""
        return Objectives({"network": -self.log_prob(codes.z, codes.asked).mean()})

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z = T^-1(e; asked) [n, d] with e ~ N(0, I), differentiable in the flow's parameters."""
        with torch.autocast(asked.device.type, enabled=False):
            p = self._distribution(asked)
            z: Tensor = p.rsample() if asked.shape[1] else p.rsample((len(asked),))
            if self.mean is not None and self.scale is not None:
                z = self.mean + self.scale * z
        return z.to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density log p(z | asked): [n] in nats for z [n, d] and asked [n, k]."""
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(self._dtype)
            if self.mean is None or self.scale is None:
                log_p: Tensor = self._distribution(asked).log_prob(z)
                return log_p
            log_p = self._distribution(asked).log_prob((z - self.mean) / self.scale)
            return log_p - self.scale.log().sum()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Hold a mean and a scale if the state has them, as that of a fitted flow does."""
        for name in ("mean", "scale"):
            saved = state_dict.get(prefix + name)
            if saved is None:
                setattr(self, name, None)
            elif getattr(self, name) is None:
                like = next(self.network.parameters())
                setattr(self, name, torch.empty(saved.shape, dtype=like.dtype, device=like.device))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _distribution(self, asked: Tensor) -> Any:
        """The distribution of zuko: one for each row of `asked`, or a single one without a condition."""
        return self.network(asked.to(self._dtype) if asked.shape[1] else None)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = next(self.network.parameters()).dtype
        return dtype
