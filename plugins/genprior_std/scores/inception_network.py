"""torch-fidelity's Inception network, rearranged to compute the same numbers in about half the time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["FoldedInception", "resize_like_tensorflow"]

SIDE = 299
STEM = 4
"""Images that go through the layers before `Mixed_5b` at a time on a CPU: few enough that every activation stays below
32 MiB, from where on glibc maps and unmaps memory for each tensor."""


class FoldedInception(nn.Module):
    """`FeatureExtractorInceptionV3`, with batch norm folded into the convolutions: pool3 and the unbiased logits.

    The layers are the given network's own, run in the order in which it names them. What differs is rounding: batch
    norm in evaluation mode is an affine map and is folded in double precision; the image is resized by two matrix
    products; on a CPU, activations are channels-last, and the first layers see a few images at a time.

    References:
        Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015, https://arxiv.org/abs/1512.00567
        torch-fidelity, https://github.com/toshas/torch-fidelity
    """

    version = "folded-1"
    """To be changed with anything that could change a feature; it is part of the key of cached features."""

    def __init__(self, network: Any) -> None:
        """Take over the network's layers; the given network must not be used afterwards.

        Args:
            network: a `FeatureExtractorInceptionV3` in float32; its last layer is `fc`, and the layers before it form
                a chain.
        """
        super().__init__()
        for module in network.modules():
            if hasattr(module, "conv") and hasattr(module, "bn"):
                module.conv = fuse_conv_bn_eval(module.conv.double(), module.bn.double()).float()
                module.bn = nn.Identity()
        layers = {name: layer for name, layer in network.named_children() if name != "fc"}
        first = list(layers).index("Mixed_5b")
        self.stem = nn.Sequential(*list(layers.values())[:first])
        self.blocks = nn.Sequential(*list(layers.values())[first:])
        self.fc = network.fc
        self.requires_grad_(False)
        self.eval()

    def arranged_for(self, device: torch.device) -> FoldedInception:
        """Move to a device, in the memory format that suits it: on a CPU, channels-last."""
        on_cpu = device.type == "cpu"
        return self.to(device).to(memory_format=torch.channels_last if on_cpu else torch.contiguous_format)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, 2048] and logits [n, 1008] (without the bias) of images uint8 [n, 3, h, w]."""
        if images.device.type == "cpu":
            x = torch.cat([self._stem(part) for part in torch.split(images, STEM)])
        else:
            x = self._stem(images)
        features = self.blocks(x).flatten(1)
        return features, features @ self.fc.weight.T

    def _stem(self, images: Tensor) -> Tensor:
        # (p - 128) / 128 is exact for a byte p, and resizing leaves a constant alone, so it may come first.
        x = resize_like_tensorflow((images.to(self.fc.weight.dtype) - 128) / 128, SIDE)
        if images.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.stem(x)
        return y


def resize_like_tensorflow(x: Tensor, side: int) -> Tensor:
    """Bilinear resizing [n, c, h, w] -> [n, c, side, side] as TensorFlow 1 does it: y = W_h x W_w'.

    Row i of W_h weighs the rows floor(i h / side) and the next one by the distance to i h / side: corners are not
    aligned, pixels have no half-pixel offset, and nothing is smoothed before images are made smaller.
    """
    down, across = (_weights(size, side, x) for size in x.shape[-2:])
    return down @ (x @ across.T)


def _weights(size: int, side: int, like: Tensor) -> Tensor:
    # In float32 as torch-fidelity's clone of TensorFlow's kernel, whatever the dtype of the images.
    place = torch.arange(side, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
    low = place.long()
    share = (place - low)[:, None]
    of_low, of_high = (nn.functional.one_hot(i, size) for i in (low, (low + 1).clamp_max(size - 1)))
    return ((1 - share) * of_low + share * of_high).to(like)
