"""What a network says of itself by class methods, held against what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genprior.parts import Posterior
from genprior.testing.report import Contract

__all__ = ["check_posterior_of", "check_told"]


def check_posterior_of(contract: Contract, config: Any, q: Posterior) -> None:
    """A posterior is of the class that the encoder's `posterior_of` says."""
    says = config.part.posterior_of(config)
    contract.require(
        isinstance(q, says),
        "posterior_of(config)",
        f"{says.__name__}, and forward gives a {type(q).__name__}",
        "the posterior is of the class that posterior_of says, by which models choose their encoders",
        "return the class that forward gives from posterior_of(cls, config)",
    )


def check_told(
    contract: Contract, called: str, part: Any, given: tuple[Tensor, Tensor], use: Callable[..., Tensor]
) -> None:
    """What is known has an effect if a network says that it looks at it, and none otherwise.

    Args:
        contract: gathers what is broken.
        called: what `use` does, for the report.
        part: an encoder or a decoder, in evaluation mode.
        given: images or codes, and what is known, [n, k] with rows that differ; k = 0 tells nothing.
        use: computes a tensor from the part and these two.
    """
    x, told = given
    if not told.shape[1]:
        return
    with torch.no_grad():
        same = torch.equal(use(part, x, told), use(part, x, told.roll(1, 0)))
    says = type(part).sees_known(part.config)
    contract.require(
        same != says,
        f"{called}, with other rows of known",
        f"{'the same' if same else 'other'} numbers, and sees_known(config) is {says}",
        "sees_known says whether a part of these settings looks at what is known, so that models can refuse it in time",
        "return False from sees_known(cls, config) where known is not used, and True where it is",
    )
