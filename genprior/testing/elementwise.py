"""The promise of an optimiser that is `elementwise`: modules can share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from genprior.engine.optimise import Optimisers
from genprior.parts import Optimiser, OptimiserConfig
from genprior.testing.report import Contract

__all__ = ["check_elementwise"]

MOVING = (("two",), ("one", "two"), ("one",), ("one", "two"))
"""The modules that have gradients, step by step; one begins after the other."""


def check_elementwise(contract: Contract, config: OptimiserConfig, module: Callable[[], Any]) -> None:
    """Check that an elementwise optimiser moves two modules as one for each of them does.

    Args:
        contract: where what is broken is noted.
        config: the optimiser's settings.
        module: makes a module, always with the same weights, whose `put_gradients` gives its parameters gradients.
    """
    if not cast(type[Optimiser], config.part).elementwise:
        return
    shared, alone = ({"one": module(), "two": module()} for _ in range(2))
    together = Optimisers(dict.fromkeys(shared, config), shared, len(MOVING))
    apart = {name: Optimisers({name: config}, {name: each}, len(MOVING)) for name, each in alone.items()}
    for step, names in enumerate(MOVING):
        together.set_rates(step)
        for name in names:
            shared[name].put_gradients()
        for optimiser in {id(together.of[name]): together.of[name] for name in names}.values():
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        for name in names:
            apart[name].set_rates(step)
            alone[name].put_gradients()
            apart[name].of[name].step()
            apart[name].of[name].zero_grad(set_to_none=True)
    contract.require(
        _equal(shared, alone),
        "elementwise",
        "other weights, where it moves two modules, than one optimiser for each of them gives",
        "True only if a number moves by its own gradients and the settings of its group alone",
        "leave `elementwise` False",
    )


def _equal(some: Mapping[str, nn.Module], others: Mapping[str, nn.Module]) -> bool:
    return all(
        torch.equal(one, other)
        for name in some
        for one, other in zip(some[name].parameters(), others[name].parameters(), strict=True)
    )
