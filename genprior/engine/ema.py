"""Exponential moving averages of the weights of the generating modules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from genprior.storage.restore import refuse_other_form

__all__ = ["AveragedWeights"]


class AveragedWeights:
    """The average of modules' parameters and floating-point buffers over the steps t' <= t, weighted by decay^(t - t').

    Weights sum to 1 at every step, as in Adam's bias correction, so the initial weights do not enter the average. With
    a share the newest weights count at least 1 / (share (t + 1)), so that the average is over at most that share of the
    steps so far: without a decay the weights of step t' are about proportional to t'^(1 / share - 1), whatever the
    length of the run. Batch statistics are averaged with the weights; integer buffers are copied.

    References:
        Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024, section 3.1 (averages
        over a share of the steps so far).
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float | None, share: float | None = None) -> None:
        """Initialise with the modules' current weights.

        Args:
            modules: the modules by name.
            decay: below 1; None for an average over a share alone.
            share: of the steps so far, above 0 and at most 1; None for no limit.
        """
        self._live = dict(_tensors(modules))
        self._decay, self._share = decay, share
        self._depth = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the averages with the weights after step `step`, counted from 0."""
        weight = 0.0 if self._decay is None else (1 - self._decay) / (1 - self._decay ** (step + 1))
        if self._share is not None:
            weight = max(weight, min(1.0, 1 / (self._share * (step + 1))))
        averages, live = [], []
        for name, tensor in self._live.items():
            if tensor.is_floating_point():
                averages.append(self.tensors[name])
                live.append(tensor.detach())
            else:
                self.tensors[name].copy_(tensor)
        torch._foreach_lerp_(averages, live, weight)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the averages from a checkpoint."""
        for name, tensor in self.tensors.items():
            refuse_other_form(name, tensors[name], tensor)
            tensor.copy_(tensors[name])

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the averages in the modules inside the block, and restore the live weights after it; blocks can nest."""
        if not self._depth:
            self._swap()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._swap()

    def _swap(self) -> None:
        for name, tensor in self._live.items():
            tensor.data, self.tensors[name] = self.tensors[name], tensor.data


def _tensors(modules: Mapping[str, nn.Module]) -> Iterable[tuple[str, Tensor]]:
    for role, module in modules.items():
        for name, parameter in module.named_parameters():
            yield f"{role}.{name}", parameter
        kept = module.state_dict().keys()
        for name, buffer in module.named_buffers():
            # Buffers outside the state_dict follow from the settings, and load_state_dict would refuse them.
            if name in kept:
                yield f"{role}.{name}", buffer
