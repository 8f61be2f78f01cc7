"""Batches that a part encodes for itself: normalised by their own statistics, which are not remembered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from genprior import Borrowed

__all__ = ["batch_norms", "own_batch_statistics"]


def batch_norms(network: Borrowed) -> list[nn.modules.batchnorm._BatchNorm]:
    """The layers of batch normalisation of a borrowed network."""
    return [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


@contextlib.contextmanager
def own_batch_statistics(network: Borrowed) -> Iterator[None]:
    """Inside the block a batch is normalised by its own statistics, and the running averages stay as they are."""
    layers = batch_norms(network)
    before = [(layer.training, layer.track_running_stats) for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.track_running_stats = True, False
        yield
    finally:
        for layer, (training, tracking) in zip(layers, before, strict=True):
            layer.training, layer.track_running_stats = training, tracking
