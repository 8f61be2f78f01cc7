"""Uniform random numbers at the edges of their interval, which a test meets too seldom by chance.

`torch.rand` draws 0 about once in 2^24 numbers of single precision: several times in a run of an hour. Where a part
takes the logarithm of such a number, its codes are infinite, and the run ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genprior.randomness import seeded
from genprior.testing.report import Contract, describe

__all__ = ["check_finite_at_edges", "uniform_at_edges"]

ROUNDS = 2
"""Calls at the edges; a part may draw only a few numbers in each."""


def check_finite_at_edges(contract: Contract, called: str, use: Callable[[], Any], what: str) -> None:
    """Require finite results where `torch.rand` draws 0 or the largest number below 1; stops at the first failure.

    Args:
        contract: collects the failures.
        called: what `use` does, for the report.
        use: computes a tensor, or several in a tuple or list.
        what: the results in a word, such as `codes`.
    """
    for round_ in range(ROUNDS):
        with seeded("testing", "edges", round_), uniform_at_edges():
            results = contract.call(f"{called} with uniform numbers at their edges", use, optional=True)
        for result in results if isinstance(results, tuple | list) else (results,):
            bad = int((~torch.isfinite(result)).sum()) if isinstance(result, Tensor) else 0
            contract.require(
                bad == 0,
                f"{called}, where some numbers of torch.rand are 0 or the largest number below 1",
                f"{describe(result)}, of which {bad} numbers are infinite or nan",
                f"{what} are finite for every number in [0, 1) that torch.rand may draw; 0 comes about once in 2^24 "
                "draws",
                "take the logarithm of 1 - u, not of u, for u = torch.rand(...): -torch.log1p(-u) is finite; for other "
                "functions clamp u first",
            )
        if contract.failures:
            return


@contextlib.contextmanager
def uniform_at_edges() -> Iterator[None]:
    """Let `torch.rand`, `torch.rand_like` and `Tensor.uniform_` draw their extremes often.

    Inside the `with` block each number is, with probability 1/4 each, the smallest number that the call can return (0
    for `torch.rand`) or the largest (the largest number below 1); the others stay as they are drawn.
    """
    with _Edges():
        yield


class _Edges(TorchFunctionMode):
    """Changes the results of the functions that draw uniform numbers."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        drawn = func(*args, **given)
        if func in (torch.rand, torch.rand_like):
            _move(drawn, 0.0, 1.0)
        elif func is Tensor.uniform_:
            low = given.get("from", args[1] if len(args) > 1 else 0.0)
            high = given.get("to", args[2] if len(args) > 2 else 1.0)
            _move(drawn, float(low), float(high))
        return drawn


@torch.no_grad()
def _move(drawn: Any, low: float, high: float) -> None:
    """Set about half of the numbers to `low`, or to the largest number below `high`."""
    if not isinstance(drawn, Tensor) or drawn.dtype not in (torch.float32, torch.float64):
        return
    ends = torch.tensor([low, high], dtype=drawn.dtype, device=drawn.device)
    # The numbers of torch.rand are multiples of half of eps: the largest of them is the largest number below 1.
    below = torch.nextafter(ends[1], ends[0])
    which = torch.randint(4, drawn.shape, device=drawn.device)
    drawn.copy_(torch.where(which == 0, ends[0], torch.where(which == 1, below, drawn)))
