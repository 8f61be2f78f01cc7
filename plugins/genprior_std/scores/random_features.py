"""Features of a network that is never trained, for images without labels and machines without Inception weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genprior import Features, SampleContext, content_hash

__all__ = ["CAVEAT", "DESCRIPTION", "RandomExtractor", "random_features"]

SEED = 2020
"""Of the weights; every run, machine and data set has the same network."""
WIDTH = 32
"""Channels of each layer."""
GRID = 2
"""Rows and columns of places over which the last map is averaged."""
CAVEAT = "Scores of random features are of a network that was never trained, not comparable with published ones."
"""The caveat that tables show with scores of random features."""
DESCRIPTION = (
    f"untrained network of 3x3 convolutions, {WIDTH} channels, weights of seed {SEED}, leaky ReLU, halved until the "
    f"shorter side is about 4; means of each map, of the last one in {GRID} x {GRID} places"
)
"""The network in words, for the protocol below a table."""


class RandomExtractor:
    """A convolutional network with fixed random weights: it needs no labels, no download and no training.

    Layer l is a 3 x 3 convolution, replicating the edges, and a leaky ReLU of slope 0.2; the map is halved by averages
    between layers until its shorter side is about 4. All weights and biases are from N(0, 2 / (9 channels in)), so that
    activations keep their size; they are drawn by NumPy's RandomState, whose numbers never change. Features are the
    means of each layer's channels over the map, which see textures, noise and blur; of the last layer over four
    quarters of the map, which see where things are. There are no logits.

    A random network ranks models by texture, brightness and coarse layout, and knows nothing of objects.

    References:
        Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, 2020, section 5.2 (embeddings by
        networks with random weights, where ImageNet does not suit the images), https://arxiv.org/abs/2002.09797
    """

    title = "random features"
    keep = True
    batch = 100

    def __init__(self, device: torch.device) -> None:
        """Draw the weights of the first layers; those of deeper ones are drawn for the first larger image.

        Args:
            device: where it runs.
        """
        self._device = device
        self._layers: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.key = f"random-features-1-seed-{SEED}-{content_hash(self._layer(0, 3)[0], self._layer(1, WIDTH)[0])}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Features [n, 32 (levels + 3)] and logits [n, 0] of images uint8 [n, c, h, w]; grey ones are seen as RGB."""
        x = images.to(self._device).float() / 127.5 - 1
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        last = _halvings(min(x.shape[2:]))
        found = []
        with torch.autocast(self._device.type, enabled=False):
            for level in range(last + 1):
                x = functional.avg_pool2d(x, 2, ceil_mode=True) if level else x
                weights, bias = self._layer(level, x.shape[1])
                x = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), weights, bias)
                x = functional.leaky_relu(x, 0.2)
                found.append(functional.adaptive_avg_pool2d(x, GRID if level == last else 1).flatten(1))
        return Features(torch.cat(found, 1), x.new_zeros(len(x), 0))

    def _layer(self, level: int, channels: int) -> tuple[Tensor, Tensor]:
        """Weights [32, channels, 3, 3] and bias [32] of a layer, from a stream of its own."""
        if (level, channels) not in self._layers:
            fan_in = 9 * channels
            drawn = np.random.RandomState([SEED, level, channels]).standard_normal(WIDTH * (fan_in + 1))
            scaled = torch.from_numpy(drawn * math.sqrt(2 / fan_in)).float().to(self._device)
            self._layers[level, channels] = scaled[WIDTH:].view(WIDTH, channels, 3, 3), scaled[:WIDTH]
        return self._layers[level, channels]


def _halvings(side: int) -> int:
    return max(1, math.ceil(math.log2(max(side, 2) / 4)))


def random_features(context: SampleContext) -> RandomExtractor:
    """The network of random features of this context, made once."""
    return context.once("random features", lambda: RandomExtractor(context.device))
