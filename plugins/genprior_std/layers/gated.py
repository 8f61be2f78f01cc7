"""Gated layers, and the networks of the VampPrior's paper that use them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, hardtanh

from genprior import Posterior
from genprior_std.layers.posterior import GaussianPosterior, PosteriorForm, posterior_from, posterior_layer
from genprior_std.layers.stacked import StackedConvolution, StackedLinear

__all__ = ["GatedConvolution", "GatedDense", "GatedMlp", "PosteriorHead", "he_normal"]

LOG_VARIANCES = (-6.0, 2.0)
"""Lower and upper bound of a log variance."""


@torch.no_grad()
def he_normal(layer: nn.Linear) -> nn.Linear:
    """Draw the weights of `layer` from N(0, 2 / inputs), keep its bias, and return it.

    References:
        He et al., Delving Deep into Rectifiers, 2015, equation 10; the published code of VAE with a VampPrior uses
        it for every fully connected layer.
    """
    nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
    return layer


class GatedDense(nn.Module):
    """A gated fully connected layer: out = (W h + b) * sigmoid(V h + c).

    Both products are one layer of twice the width, W above V; the weights are initialised from N(0, 2 / inputs).

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, section 5 (the gating mechanism of Dauphin et al., 2016).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the layer.

        Args:
            inputs: input width.
            outputs: output width.
        """
        super().__init__()
        self.both = he_normal(StackedLinear(inputs, (outputs, outputs)))

    def forward(self, h: Tensor) -> Tensor:
        """[n, outputs] from h [n, inputs]."""
        return glu(self.both(h), dim=1)


class GatedConvolution(nn.Module):
    """A gated convolution: out = (W * x + b) sigmoid(V * x + c), the same side at stride 1, half at 2.

    Both are one convolution of twice the channels, W above V, with torch's default initialisation.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, section 5 (the gating mechanism of Dauphin et al., 2016).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        """Make the layer.

        Args:
            inputs: input channels.
            outputs: output channels.
            kernel: side of the kernel, odd.
            stride: 1 or 2.
        """
        super().__init__()
        self.both = StackedConvolution(inputs, (outputs, outputs), kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [n, outputs, h / stride, w / stride] from maps x [n, inputs, h, w]."""
        return glu(self.both(x), dim=1)


class GatedMlp(nn.Module):
    """A stack of gated layers; with a condition, two streams that are joined after the first layer.

    Without a condition: x - w1 - w2 - ...; with one: [x - w1, known - w1] - w2 - ..., as in q(z1 | x, z2) and
    p(x | z1, z2) of the hierarchical VAE.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, section 5 (300 units in each layer).
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], known: int = 0) -> None:
        """Make the layers.

        Args:
            inputs: width of x.
            hidden: the widths w1, w2 ..., at least one.
            known: width of the condition; 0 for a single stream.
        """
        super().__init__()
        self.first = GatedDense(inputs, hidden[0])
        self.first_known = GatedDense(known, hidden[0]) if known else None
        widths = (2 * hidden[0] if known else hidden[0], *hidden[1:])
        self.rest = nn.Sequential(*(GatedDense(*pair) for pair in zip(widths, widths[1:], strict=False)))
        self.width = widths[-1]
        """Output width."""

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """[n, width] from x [n, inputs] and known [n, k], which a single stream ignores."""
        h: Tensor = self.first(x)
        if self.first_known is not None:
            h = torch.cat([h, self.first_known(known)], dim=1)
        joined: Tensor = self.rest(h)
        return joined


class PosteriorHead(nn.Module):
    """The last layer of an encoder: a linear mean, and a linear log variance that a hard tanh keeps in [-6, 2].

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017; the range is that of its published code.
    """

    def __init__(self, inputs: int, code: int, form: PosteriorForm = "gaussian") -> None:
        """Make the layer; the weights are initialised from N(0, 2 / inputs).

        Args:
            inputs: input width.
            code: d.
            form: a Gaussian, a point (the mean only), or a softmax.
        """
        super().__init__()
        self.form: PosteriorForm = form
        self.linear = he_normal(posterior_layer(form, inputs, code))

    def forward(self, h: Tensor) -> Posterior:
        """The posterior of codes [n, d] given h [n, inputs]."""
        out: Tensor = self.linear(h)
        if self.form != "gaussian":
            return posterior_from(self.form, out)
        mean, log_variance = out.chunk(2, dim=1)
        return GaussianPosterior(mean, hardtanh(log_variance, *LOG_VARIANCES))
