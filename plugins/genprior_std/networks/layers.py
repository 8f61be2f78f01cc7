"""What several networks share: conditions as inputs, image sizes, fully connected layers, pixels as outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from genprior import Batch, PlanError

__all__ = [
    "LEAK",
    "Activation",
    "PixelTanh",
    "Start",
    "activation",
    "divided",
    "doublings",
    "fully_connected",
    "glorot",
    "logit_of_mean",
    "with_known",
    "with_known_maps",
]

LEAK = 0.2
"""Slope of a leaky ReLU below zero; the paper gives none, and 0.2 is the slope of DCGAN."""

Activation = Literal["relu", "tanh", "leaky_relu"]

Start = Literal["default", "glorot"]
"""Where fully connected layers start: torch's own draw, or Glorot's uniform weights with biases of zero."""

FADED = 1e-3
"""How near to black or to white a decoder may start, as a probability; the code of IWAE clips there."""


class PixelTanh(nn.Module):
    """Pixels x = tanh(s u) in [-1, 1], in at least single precision.

    With s = 1/2 the probability of a white pixel, p = (x + 1) / 2, is the sigmoid of u. bfloat16 knows no number
    between 0.996 and 1, so in it the tanh of anything beyond 3.5 would be 1, and p a certainty.
    """

    def __init__(self, scale: float = 1.0) -> None:
        """Keep the scale.

        Args:
            scale: s.
        """
        super().__init__()
        self.scale = scale

    def forward(self, u: Tensor) -> Tensor:
        """Pixels of the shape of u; single precision where u is of half precision, else the dtype of u."""
        u = u.to(torch.promote_types(u.dtype, torch.float32))
        return (u if self.scale == 1 else self.scale * u).tanh()

    def extra_repr(self) -> str:
        """The scale, for `print`."""
        return f"scale={self.scale}"


def activation(name: Activation) -> nn.Module:
    """The activation called `name`; in place where autograd needs no more than its result."""
    if name == "relu":
        return nn.ReLU(inplace=True)
    if name == "leaky_relu":
        return nn.LeakyReLU(LEAK, inplace=True)
    return nn.Tanh()


def with_known(z: Tensor, known: Tensor) -> Tensor:
    """Codes or flat images [n, d] with the condition [n, k] behind them: [n, d + k]."""
    return torch.cat([z, known], dim=1) if known.shape[1] else z


def with_known_maps(x: Tensor, known: Tensor) -> Tensor:
    """Images [n, c, h, w] with the condition [n, k] behind them as k constant maps: [n, c + k, h, w]."""
    if not known.shape[1]:
        return x
    maps = known[:, :, None, None].expand(-1, -1, *x.shape[2:])
    # The constant maps have no memory format of their own, so without this a channels-last batch would lose its.
    if x.is_contiguous(memory_format=torch.channels_last):
        maps = maps.contiguous(memory_format=torch.channels_last)
    return torch.cat([x, maps], dim=1)


def doublings(part: str, image: tuple[int, int, int], instead: str) -> int:
    """How often 4 x 4 must be doubled to be the image: k for sides of 4 * 2^k.

    Args:
        part: what asks, for the message.
        image: (c, h, w).
        instead: a part that takes any size, for the message.

    Raises:
        PlanError: the image is not square, or its side is not 4, 8, 16, 32, 64 ...
    """
    _, h, w = image
    k = (h // 4).bit_length() - 1
    if h != w or k < 0 or h != 4 << k:
        near = min((4 << i for i in range(16)), key=lambda side: abs(side - max(h, w)))
        raise PlanError(
            f"{part} was asked to take images of {h} x {w} pixels, but it goes from 4 x 4 in factors of two; "
            f"possible are square images with a side of 4, 8, 16, 32, 64, 128 ... "
            f"Set the data set's `size = {near}`, or use {instead}, which takes any size"
        )
    return k


def fully_connected(inputs: int, hidden: tuple[int, ...], name: Activation, batch_norm: bool) -> list[nn.Sequential]:
    """Fully connected layers, each followed by its batch normalisation, if wanted, and its activation.

    A layer that is batch-normalised has no bias: the normalisation would subtract it again.

    Args:
        inputs: width of what comes in.
        hidden: width of each layer, in order.
        name: the activation.
        batch_norm: whether to normalise before the activation.

    Returns:
        One module a layer.
    """
    layers = []
    for outputs in hidden:
        norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
        layers.append(nn.Sequential(nn.Linear(inputs, outputs, bias=not batch_norm), *norm, activation(name)))
        inputs = outputs
    return layers


def divided(part: str, image: tuple[int, int, int], by: int, instead: str) -> tuple[int, int]:
    """The sides of the smallest map of a network that halves an image to 1 / `by` of its sides.

    Args:
        part: what asks, for the message.
        image: (c, h, w).
        by: a power of two.
        instead: a part that takes any size, for the message.

    Returns:
        (h / by, w / by).

    Raises:
        PlanError: a side is not divisible.
    """
    _, h, w = image
    if h % by or w % by:
        near = max(by, round(max(h, w) / by) * by)
        raise PlanError(
            f"{part} was asked to take images of {h} x {w} pixels, but it halves them to 1/{by} of their sides; "
            f"possible are sides that are multiples of {by}. "
            f"Set the data set's `size = {near}`, or use {instead}, which takes any size"
        )
    return h // by, w // by


@torch.no_grad()
def glorot(module: nn.Module, pieces: int = 1) -> None:
    """Start each fully connected layer in `module` as Glorot and Bengio do.

        W ~ uniform(-a, a),  a = sqrt(6 / (inputs + outputs)),  b = 0

    Args:
        module: holds the layers, or is one.
        pieces: how many layers of equal width, side by side, each layer stands for; a mean and a log variance are two.

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, equation 16.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            for weight in layer.weight.chunk(pieces):
                nn.init.xavier_uniform_(weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def logit_of_mean(draw: Callable[[int], Batch]) -> Tensor:
    """The logit log(p / (1 - p)) of the mean training image, p being its pixels as probabilities of white.

    The mean is that of 1000 images, or of the largest power of two that a smaller data set has; p is clipped to
    [0.001, 0.999].

    Args:
        draw: gives n different training images; raises `PlanError` where there are fewer.

    Returns:
        [c h w], in the order of an image that is flattened.

    Raises:
        PlanError: there is not one training image.

    References:
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2015 (the bias of the output in its code).
    """
    for n in (1000, *(2**k for k in range(9, 0, -1))):
        try:
            x = draw(n).x
        except PlanError:
            continue
        break
    else:
        x = draw(1).x
    p = 0.5 * (x.to(torch.promote_types(x.dtype, torch.float32)).mean(0).flatten() + 1)
    return p.logit(eps=FADED)
