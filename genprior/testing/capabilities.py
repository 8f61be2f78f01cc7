"""Checks that parts have the capabilities that they state, and state those that they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genprior.parts import (
    AutoregressiveDecoder,
    CategoricalPosterior,
    DensityPosterior,
    DensityPrior,
    EnergyPrior,
    FeatureCritic,
    LeaveOneOutPrior,
    Posterior,
    TextConditioner,
    TextExporter,
)
from genprior.testing.report import Contract

__all__ = ["check_capabilities", "check_posterior_of", "check_sees_known"]

CAPABILITIES: tuple[type, ...] = (
    AutoregressiveDecoder,
    CategoricalPosterior,
    DensityPosterior,
    DensityPrior,
    EnergyPrior,
    FeatureCritic,
    LeaveOneOutPrior,
    TextConditioner,
    TextExporter,
)


def check_capabilities(contract: Contract, cls: type) -> None:
    """A class that defines the methods of a capability derives from it: models and commands look for the class.

    Args:
        contract: collects the failures.
        cls: the class of a part, or of a posterior.
    """
    defined = {name for base in cls.__mro__ for name in vars(base)}
    for capability in CAPABILITIES:
        base = capability.__bases__[0]
        if issubclass(cls, capability) or not issubclass(cls, base):
            continue
        added = sorted(_abstract(capability) - _abstract(base))
        contract.require(
            not added or not defined.issuperset(added),
            f"the class {cls.__qualname__}, which derives from genprior.{base.__name__}",
            f"it defines {', '.join(added)}, which nothing will call",
            f"a class with {', '.join(added)} states it: it derives from genprior.{capability.__name__}",
            f"derive it from genprior.{capability.__name__} in place of genprior.{base.__name__}, or leave "
            f"{', '.join(added)} out",
        )


def check_posterior_of(contract: Contract, config: Any, q: Posterior) -> None:
    """The posterior has the class that the encoder's `posterior_of` returns."""
    check_capabilities(contract, type(q))
    stated = config.part.posterior_of(config)
    contract.require(
        isinstance(q, stated),
        "posterior_of(config)",
        f"{stated.__name__}, and forward gives a {type(q).__name__}",
        "the posterior is of the class that posterior_of returns, by which models choose their encoders",
        "return the class that forward gives from posterior_of(cls, config)",
    )


def check_sees_known(
    contract: Contract, called: str, part: Any, inputs: tuple[Tensor, Tensor], use: Callable[..., Tensor]
) -> None:
    """`known` changes the result of a network exactly where its `sees_known` returns True.

    Args:
        contract: collects the broken promises.
        called: what `use` does, for the report.
        part: an encoder, a decoder or a critic, in evaluation mode.
        inputs: images or codes, and `known` [n, k] with rows that differ; with k = 0 nothing is checked.
        use: computes a tensor from the part and both inputs.
    """
    x, known = inputs
    if not known.shape[1]:
        return
    with torch.no_grad():
        same = torch.equal(use(part, x, known), use(part, x, known.roll(1, 0)))
    stated = type(part).sees_known(part.config)
    contract.require(
        same != stated,
        f"{called}, with other rows of known",
        f"{'the same' if same else 'other'} numbers, and sees_known(config) is {stated}",
        "sees_known returns whether a part with these settings uses `known`, so that models can refuse it early",
        "return False from sees_known(cls, config) where known is not used, and True where it is",
    )


def _abstract(cls: type) -> frozenset[str]:
    """The names of its abstract methods and properties."""
    return frozenset(vars(cls).get("__abstractmethods__", ()))
