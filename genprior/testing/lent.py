"""Modules that the checks lend to parts which borrow: an encoder and an image critic."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genprior.parts import DensityPosterior, Encoder, FeatureCritic, Posterior, Sizes

__all__ = ["LentCritic", "LentEncoder"]


class _GaussianPosterior(DensityPosterior):
    def __init__(self, mean: Tensor) -> None:
        self._normal = torch.distributions.Normal(mean, torch.full_like(mean, 0.7))

    @property
    def mean(self) -> Tensor:
        mean: Tensor = self._normal.mean
        return mean

    @property
    def log_variance(self) -> Tensor:
        return 2 * self._normal.stddev.log()

    def rsample(self) -> Tensor:
        z: Tensor = self._normal.rsample()
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        density: Tensor = self._normal.log_prob(z).sum(-1)  # type: ignore[no-untyped-call]
        return density


class LentEncoder(Encoder):
    """A linear encoder with a Gaussian posterior."""

    name = "lent_encoder"

    def __init__(self, sizes: Sizes) -> None:
        """Draw the weights."""
        super().__init__(type(self).Config(), sizes)
        c, h, w = sizes.image
        self.to_code = nn.Linear(c * h * w, sizes.code)

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """N(2 W x + b, 0.7^2), whatever is known."""
        return _GaussianPosterior(2 * self.to_code(x.flatten(1)))


_leaky_relu = functools.partial(nn.LeakyReLU, 0.2)


class LentCritic(FeatureCritic):
    """A critic of images: dense layers with activations, and a linear head.

    The layers have the names of the standard image critic's, so that a part's default layer is found here too.
    """

    name = "lent_critic"

    def __init__(
        self,
        sizes: Sizes,
        widths: tuple[int, ...] = (64, 48, 32),
        activation: Callable[[], nn.Module] = _leaky_relu,
    ) -> None:
        """Draw the weights of layers of these widths."""
        super().__init__(type(self).Config(), sizes)
        c, h, w = sizes.image
        self.layers = nn.ModuleDict()
        for number, (before, width) in enumerate(zip((c * h * w, *widths), widths, strict=False), start=1):
            self.layers[f"conv{number}"] = nn.Sequential(nn.Linear(before, width), activation())
        self.head = nn.Linear(widths[-1], 1)

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """The names of all layers."""
        return tuple(self.layers)

    @property
    def trunk_width(self) -> int:
        """The width of the last layer."""
        return self.head.in_features

    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """The output [n, f] of the named layer."""
        x = x.flatten(1)
        for name, module in self.layers.items():
            x = module(x)
            if name == layer:
                break
        return x

    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        """The output of the last layer."""
        return self.features(x, known, self.feature_layers[-1])

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits [n]."""
        logits: Tensor = self.head(self.trunk(x, known)).squeeze(1)
        return logits
