"""Draws random numbers from given tensors, so that all of the randomness of a model is an input of its graph.

A model draws its noise inside: `torch.randn(n, d)`. Within `GivenNumbers` such a call takes the next numbers of two
tensors, standard normal ones [n, a] and uniform ones [n, b] in [0, 1), of which each image has a row. `counted` finds a
and b. Whole numbers and categories are made of uniform ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genprior.errors import PlanError

__all__ = ["Draw", "Drawing", "GivenNumbers", "counted"]

_BITS = 18
"""Bits of a whole number that are taken from one uniform number, which has 24."""
_aten = torch.ops.aten


class Draw(NamedTuple):
    """A call that draws random numbers."""

    kind: str
    """"noise" or "uniform_noise"."""
    shape: tuple[int, ...]
    """Of the numbers that it needs, in a batch of the size that was traced."""


class Drawing:
    """The draws of one computation, in order."""

    def __init__(self, draws: Sequence[Draw], more: Sequence[Draw], sizes: tuple[int, int]) -> None:
        """Find which sizes grow with the batch.

        Args:
            draws: those of a batch of `sizes[0]` images.
            more: those of a batch of `sizes[1]` images.
            sizes: two numbers of images.

        Raises:
            PlanError: the draws of an image depend on how many others there are.
        """
        if [(d.kind, len(d.shape)) for d in draws] != [(d.kind, len(d.shape)) for d in more]:
            raise PlanError("it draws other random numbers for a larger batch, so that they belong to no single image")
        self.places: list[tuple[str, int, int, tuple[int, ...]]] = []
        """Of each draw: its kind, its first column, the dimension that grows with the batch, the shape for an image,
        in which that dimension is the number of rows for an image."""
        self.widths = {"noise": 0, "uniform_noise": 0}
        for one, other in zip(draws, more, strict=True):
            grow = [i for i, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b]
            if len(grow) != 1 or any(s[grow[0]] % n for s, n in zip((one.shape, other.shape), sizes, strict=True)):
                raise PlanError("it draws random numbers that all images of a batch share")
            per_image = tuple(s // sizes[0] if i == grow[0] else s for i, s in enumerate(one.shape))
            if math.prod(per_image):
                self.places.append((one.kind, self.widths[one.kind], grow[0], per_image))
                self.widths[one.kind] += math.prod(per_image)
            else:
                self.places.append((one.kind, 0, grow[0], per_image))


class GivenNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes random numbers from tensors where torch would draw them; other operations are unchanged."""

    def __init__(self, n: int, drawing: Drawing | None = None, *, normal: Any = None, uniform: Any = None) -> None:
        """Set where numbers come from.

        Args:
            n: the number of images.
            drawing: the draws, as `counted` finds them; None draws new numbers and lists the draws.
            normal: standard normal numbers [n, a].
            uniform: numbers in [0, 1), [n, b].
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._n = n
        self._drawing = drawing
        self._given = {"noise": normal, "uniform_noise": uniform}
        self.draws: list[Draw] = []
        """The draws so far, with a `drawing` as without one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace an operation that draws."""
        kwargs = kwargs or {}
        if func is _aten._local_scalar_dense.default:
            if args[0].is_floating_point():
                raise PlanError("what it computes depends on its values")
            # A check, such as of labels. `genprior.engine.graph` compares images of other values.
            with torch.utils._python_dispatch._disable_current_modes():
                return func(*args, **kwargs)
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        rule = _RULES.get(func.overloadpacket)
        bound = {a.name: v for a, v in zip(func._schema.arguments, args, strict=False)} | kwargs
        if rule is None or bound.get("p", 1) == 0.0:
            if func.overloadpacket is _aten.native_dropout or func.overloadpacket is _aten.dropout:
                return func(*args, **kwargs)  # of evaluation mode, which drops nothing
            name = str(func.overloadpacket).removeprefix("aten.")
            raise PlanError(f"it draws by torch's '{name}', whose numbers cannot be made of a fixed number of others")
        value: Tensor = rule(self._take, bound)
        if func._schema.is_mutable:
            return bound["self"].copy_(value)
        dtype = bound.get("dtype")
        return value if dtype is None else value.to(dtype)

    def _take(self, kind: str, shape: Sequence[int], like: Any = None) -> Tensor:
        """The next numbers of a kind, of a shape."""
        shape = tuple(int(s) for s in shape)
        place = len(self.draws)
        self.draws.append(Draw(kind, shape))
        if self._drawing is None:
            return torch.randn(shape) if kind == "noise" else torch.rand(shape)
        if place >= len(self._drawing.places) or self._drawing.places[place][0] != kind:
            raise PlanError("it draws other random numbers for other values, so that there is no fixed number of them")
        _, first, grown, per_image = self._drawing.places[place]
        if not math.prod(per_image):
            return torch.zeros(shape)
        rows: Tensor = self._given[kind][:, first : first + math.prod(per_image)]
        rest = [s for i, s in enumerate(per_image) if i != grown]
        # Numbers of one image stand together: [n, rows of an image, others] -> [n x rows, others] -> their places.
        numbers = rows.reshape(self._n * per_image[grown], *rest).movedim(0, grown)
        return numbers + 0  # a copy: a part may change its noise in place


_Take = Callable[..., Tensor]


def _size(bound: dict[str, Any]) -> Any:
    return bound["size"] if "size" in bound else bound["self"].shape


def _dtype(bound: dict[str, Any], of: Tensor) -> Tensor:
    """The numbers in the dtype of the tensor that they are like."""
    like = bound.get("self")
    return of.to(like.dtype) if isinstance(like, Tensor) and bound.get("dtype") is None else of


def _normal(take: _Take, bound: dict[str, Any]) -> Tensor:
    mean, std = bound.get("mean", 0.0), bound.get("std", 1.0)
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        both: Tensor = torch.as_tensor(mean) + torch.as_tensor(std)
        moved: Tensor = take("noise", both.shape) * std + mean
        return moved
    numbers = _dtype(bound, take("noise", _size(bound)))
    return numbers if (mean, std) == (0.0, 1.0) else numbers * std + mean


def _uniform(take: _Take, bound: dict[str, Any]) -> Tensor:
    low, high = bound.get("from", 0.0), bound.get("to", 1.0)
    numbers = _dtype(bound, take("uniform_noise", _size(bound)))
    return numbers if (low, high) == (0.0, 1.0) else low + (high - low) * numbers


def _whole(take: _Take, bound: dict[str, Any]) -> Tensor:
    """Whole numbers from low to high - 1."""
    low, shape = bound.get("low", 0), _size(bound)
    number = bound["high"] - low
    if number <= 2**_BITS:
        whole = (take("uniform_noise", shape) * number).to(torch.int64).clamp(max=number - 1)
    else:
        whole = torch.zeros(tuple(shape), dtype=torch.int64)
        for _ in range(min(3, math.ceil(math.log2(number) / _BITS))):
            piece = (take("uniform_noise", shape) * 2**_BITS).to(torch.int64).clamp(max=2**_BITS - 1)
            whole = whole * 2**_BITS + piece
        whole = whole % number
    return _dtype(bound, whole + low if low else whole)


def _category(take: _Take, bound: dict[str, Any]) -> Tensor:
    """Categories of given weights [.., K]: how many sums of the first probabilities a uniform number reaches."""
    weights, number = bound["self"], bound["num_samples"]
    if number > 1 and not bound.get("replacement", False):
        raise PlanError("it draws several categories without replacement")
    sums = (weights / weights.sum(-1, keepdim=True)).cumsum(-1)
    u = take("uniform_noise", (*weights.shape[:-1], number))
    reached: Tensor = (sums.unsqueeze(-2) <= u.unsqueeze(-1)).sum(-1).clamp(max=weights.shape[-1] - 1)
    return reached


def _bernoulli(take: _Take, bound: dict[str, Any]) -> Tensor:
    p = bound["self"] if bound.get("p") is None else bound["p"]
    ones: Tensor = (take("uniform_noise", bound["self"].shape) < p).to(bound["self"].dtype)
    return ones


def _exponential(take: _Take, bound: dict[str, Any]) -> Tensor:
    return _dtype(bound, -torch.log1p(-take("uniform_noise", bound["self"].shape)) / bound.get("lambd", 1.0))


_RULES: dict[Any, Callable[[_Take, dict[str, Any]], Tensor]] = {
    _aten.randn: _normal,
    _aten.randn_like: _normal,
    _aten.normal_: _normal,
    _aten.normal: _normal,
    _aten.rand: _uniform,
    _aten.rand_like: _uniform,
    _aten.uniform_: _uniform,
    _aten.uniform: _uniform,
    _aten.randint: _whole,
    _aten.randint_like: _whole,
    _aten.multinomial: _category,
    _aten.bernoulli: _bernoulli,
    _aten.exponential_: _exponential,
}


def counted(compute: Callable[[int], object], sizes: tuple[int, int] = (5, 7)) -> Drawing:
    """The random numbers that a computation draws for each image.

    Args:
        compute: computes a batch of n images.
        sizes: two numbers of images.

    Raises:
        PlanError: it draws numbers that do not belong to single images, or that cannot be made of normal and uniform
            ones.
    """
    drawn = []
    for n in sizes:
        with GivenNumbers(n) as mode:
            compute(n)
        drawn.append(mode.draws)
    return Drawing(drawn[0], drawn[1], sizes)
