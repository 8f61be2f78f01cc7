"""Random numbers of a model, given instead of drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["GivenNoise"]

_BELOW_1 = 1 - 2.0**-24


class GivenNoise(TorchFunctionMode):
    """Takes the noise of n images from a tensor where torch would draw it; other operations are unchanged.

    Inside of the block the first normal or uniform numbers that are drawn with a row for each image are the first
    columns of `values`, and so on in order. A uniform number is the Gaussian distribution function of its value:

        u = (1 + erf(v / sqrt 2)) / 2

    Numbers beyond the last column, whole numbers and categories, and numbers that images share, are drawn by torch.
    """

    def __init__(self, values: Tensor) -> None:
        """Take numbers from `values` [n, m], standard normal ones."""
        super().__init__()
        self._values = values
        self._before = self._generator()
        self.taken = 0
        """Numbers that were taken for each image."""
        self.shared: set[int] = set()
        """How many rows there were in what was drawn without a row for each image."""

    @property
    def all_given(self) -> bool:
        """Whether nothing has been drawn by torch."""
        return torch.equal(self._before, self._generator())

    def _generator(self) -> Tensor:
        on_cuda = self._values.device.type == "cuda"
        return torch.cuda.get_rng_state(self._values.device) if on_cuda else torch.get_rng_state()

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Give numbers in the place of a function that draws some."""
        kwargs = kwargs or {}
        rule = _RULES.get(func)
        if rule is None:
            return func(*args, **kwargs)
        out, moved = rule(*args, **{key: value for key, value in kwargs.items() if key != "generator"})
        n, m = self._values.shape
        width = math.prod(out.shape[1:])
        if out.ndim and len(out) != n:
            self.shared.add(len(out))
        if out.ndim == 0 or len(out) != n or self.taken + width > m:
            return func(*args, **kwargs)
        values = self._values[:, self.taken : self.taken + width].reshape(out.shape)
        self.taken += width
        return out.copy_(moved(values))


_Drawn = tuple[Tensor, Callable[[Tensor], Tensor]]
"""A tensor for numbers, and what makes them of standard normal ones."""


def _standard(values: Tensor) -> Tensor:
    return values


def _uniform(values: Tensor) -> Tensor:
    return ((1 + torch.erf(values.double() / math.sqrt(2))) / 2).clamp(max=_BELOW_1)


def _normal(mean: Any, std: Any = 1.0, size: Any = None, *, out: Any = None, **options: Any) -> _Drawn:
    """As torch.normal: of tensors, of numbers and a size, or into a tensor."""
    if out is None:
        shape = (torch.as_tensor(mean) + torch.as_tensor(std)).shape if size is None else size
        like = next((each for each in (mean, std) if isinstance(each, Tensor)), None)
        out = torch.empty(shape, **options) if like is None else like.new_empty(shape)
    return out, lambda values: mean + std * values


def _normal_in_place(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> _Drawn:
    return tensor, lambda values: mean + std * values


def _uniform_in_place(tensor: Tensor, *bounds: float, **named: float) -> _Drawn:
    low, high = (*bounds, *(named.get(key, default) for key, default in (("from", 0.0), ("to", 1.0))[len(bounds) :]))
    return tensor, lambda values: low + (high - low) * _uniform(values)


_RULES: dict[Any, Callable[..., _Drawn]] = {
    torch.randn: lambda *size, **options: (torch.empty(*size, **options), _standard),
    torch.randn_like: lambda tensor, **options: (torch.empty_like(tensor, **options), _standard),
    torch.rand: lambda *size, **options: (torch.empty(*size, **options), _uniform),
    torch.rand_like: lambda tensor, **options: (torch.empty_like(tensor, **options), _uniform),
    torch.normal: _normal,
    torch.Tensor.normal_: _normal_in_place,
    torch.Tensor.uniform_: _uniform_in_place,
}
