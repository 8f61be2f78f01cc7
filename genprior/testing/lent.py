"""Small modules that the contract tests lend to parts that borrow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genprior.parts import DensityPosterior, Encoder, FeatureCritic, Posterior, Sizes

__all__ = ["LentCritic", "LentEncoder"]


class LentPosterior(DensityPosterior):
    """Normal(mean, 0.7), coordinate by coordinate."""

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
    """One linear layer to the mean."""

    name = "lent_encoder"

    def __init__(self, sizes: Sizes) -> None:
        """Make the layers for these sizes."""
        super().__init__(type(self).Config(), sizes)
        c, h, w = sizes.image
        self.to_code = nn.Linear(c * h * w, sizes.code)

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x) of images [n, c, h, w]."""
        return LentPosterior(2 * self.to_code(x.flatten(1)))


class LentCritic(FeatureCritic):
    """Three linear layers with features."""

    name = "lent_critic"

    def __init__(self, sizes: Sizes) -> None:
        """Make the layers for these sizes."""
        super().__init__(type(self).Config(), sizes)
        c, h, w = sizes.image
        # The standard image critic calls its layers so; a part's default layer is then found here too.
        self.layers = nn.ModuleDict(
            {
                "conv1": nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 64), nn.LeakyReLU(0.2)),
                "conv2": nn.Sequential(nn.Linear(64, 48), nn.LeakyReLU(0.2)),
                "conv3": nn.Sequential(nn.Linear(48, 32), nn.LeakyReLU(0.2)),
            }
        )
        self.head = nn.Linear(32, 1)

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(self.layers)

    @property
    def trunk_width(self) -> int:
        """Numbers in the last layer."""
        return 32

    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        """What a layer says of images [n, c, h, w]."""
        for name, module in self.layers.items():
            x = module(x)
            if name == layer:
                break
        return x

    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        """What the last layer says, [n, 32]."""
        return self.features(x, known, "conv3")

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits [n]."""
        logits: Tensor = self.head(self.trunk(x, known)).squeeze(1)
        return logits
