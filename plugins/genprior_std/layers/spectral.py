"""Spectral normalisation of a network's layers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import ParametrizationList

__all__ = ["normalise_spectrally"]


class _InFullPrecision(nn.Module):
    """A spectral normalisation that is computed in the weight's own precision, regardless of autocast.

    In evaluation mode u and v are divided by their norms: averages of their values over steps are shorter than 1.
    """

    def __init__(self, parametrisation: nn.Module) -> None:
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, weight: Tensor) -> Tensor:
        device = weight.device.type
        if not torch.amp.is_autocast_available(device):
            return self._normalise(weight)
        with torch.autocast(device, enabled=False):
            return self._normalise(weight)

    def _normalise(self, weight: Tensor) -> Tensor:
        normalised: Tensor = self.parametrisation(weight)
        if self.training:
            return normalised
        u, v = (self.parametrisation.get_buffer(name) for name in ("_u", "_v"))
        lengths: Tensor = torch.linalg.vector_norm(u) * torch.linalg.vector_norm(v)
        return normalised * lengths


def normalise_spectrally(module: nn.Module) -> None:
    """Divide the weight of each convolution, transposed or not, and of each fully connected layer by its spectral norm.

        W = W' / sigma(W'),  sigma(W') = u^T W' v

    W' is the learned weight, as a matrix of one row for each output; sigma is its largest singular value. The unit
    vectors u and v are updated by one power iteration at each forward pass in training mode, and are fixed in
    evaluation mode. Everything is computed in the precision of W': in bfloat16 a norm would be wrong by half a percent.

    Args:
        module: holds the layers, whose weights have their initial values.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018, equation 8 and algorithm 1.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(layer)
            chain = cast(ParametrizationList, layer.get_submodule("parametrizations.weight"))
            chain[0] = _InFullPrecision(chain[0])
