"""The check that `asks` of a conditioner or model states what it takes."""

from __future__ import annotations

from collections.abc import Callable

from genprior.parts import Asks
from genprior.testing.report import Contract, describe

__all__ = ["check_asks"]


def check_asks(contract: Contract, read: Callable[[], Asks], called: str, *, taken: bool, labels: int) -> None:
    """Check that `asks` states labels or categories where they are taken, and only there: scores rely on it.

    Args:
        contract: collects the failures.
        read: reads the property.
        called: the call that took labels or refused them.
        taken: whether it took them.
        labels: how many labels it was called with, from 0.
    """
    asks = contract.call("asks", read, "it states what images can be asked for by")
    if asks is None or not contract.require(
        isinstance(asks, Asks), "asks", describe(asks), "a genprior.Asks", 'return genprior.Asks("label", classes)'
    ):
        return
    states = asks.kind in ("label", "category")
    contract.require(
        # A conditioner with fewer categories than the data has classes refuses the others.
        states == taken or (states and asks.number < labels),
        "asks",
        f"{asks}, and {called} {'returns a condition' if taken else 'raises a PlanError'}",
        'the kind is "label" or "category" where classes are taken, and only there',
        'override the property asks, for example to return genprior.Asks("label", classes)',
    )
