"""The encoder of the VampPrior's paper: gated fully connected layers."""

from __future__ import annotations

import math

from pydantic import Field, PositiveInt
from torch import Tensor

from genprior import PartConfig, Posterior, Sizes
from genprior_std.layers.gated import GatedMlp, PosteriorHead
from genprior_std.layers.posterior import PosteriorEncoder, PosteriorForm

__all__ = ["GatedMlpEncoder"]


class GatedMlpEncoder(PosteriorEncoder):
    """Gated layers from the pixels to a Gaussian over codes, for images of any size.

    x - 300 - 300 - mean and log variance, the latter in [-6, 2]; a gated layer is (W h + b) * sigmoid(V h + c). With a
    condition there are two first layers, [x - 300, known - 300] - 300, which is q(z1 | x, z2) of the hierarchical VAE
    where `known` is z2.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, section 5 (gated layers of 300 units).
    """

    name = "gated_mlp"

    class Config(PartConfig):
        """Settings of the gated fully connected encoder."""

        hidden: tuple[PositiveInt, ...] = Field(default=(300, 300), min_length=1)
        """Widths of the hidden layers; with a condition, the first is the width of each stream."""
        conditional: bool = False
        """Whether the encoder sees `known`, through a first layer of its own."""
        posterior: PosteriorForm = "gaussian"
        """A point, a Gaussian with a diagonal covariance, a softmax (a soft category), or von Mises-Fisher (sphere)."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.
        """
        super().__init__(config, sizes)
        cfg = self.config
        self.layers = GatedMlp(math.prod(sizes.image), cfg.hidden, sizes.known if cfg.conditional else 0)
        self.to_code = PosteriorHead(self.layers.width, sizes.code, cfg.posterior)

    def forward(self, x: Tensor, known: Tensor) -> Posterior:
        """q(z | x, known) for images x [n, c, h, w] in [-1, 1] and known [n, k]."""
        posterior: Posterior = self.to_code(self.layers(x.flatten(1), known))
        return posterior
