"""Layers from their definitions, parameter counts, and inputs: references for the tests of networks."""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812


def count(module):
    return sum(p.numel() for p in module.parameters())


def plain(inputs, outputs, kernel=1):
    """Parameters of a layer with a bias."""
    return outputs * inputs * kernel**2 + outputs


def normalised(inputs, outputs, kernel=1):
    """Parameters of a layer without a bias, and of the normalisation of its outputs."""
    return outputs * inputs * kernel**2 + 2 * outputs


def rows(n, width, seed=1):
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def images(n, c, h, w, seed=2):
    return rows(n, c * h * w, seed).tanh().view(n, c, h, w)


def bn(h, weight, bias):
    """Batch normalisation by the statistics of this batch."""
    axes = (0, *range(2, h.dim()))
    view = (1, -1, *[1] * (h.dim() - 2))
    h = (h - h.mean(axes, keepdim=True)) / (h.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()
    return h * weight.view(view) + bias.view(view)


def relu(h):
    return h.clamp(min=0)


def leaky(h, slope=0.2):
    return torch.where(h > 0, h, slope * h)


def elu(h):
    return torch.where(h > 0, h, h.exp() - 1)


def conv(h, s, name, **how):
    return F.conv2d(h, s[f"{name}.weight"], s.get(f"{name}.bias"), **how)


def linear(h, s, name):
    return h @ s[f"{name}.weight"].T + s.get(f"{name}.bias", 0)
