"""The length of training: epochs become steps when the number of training images is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from genprior.errors import GenpriorError, PlanError, RecipeError, whole_number
from genprior.parts import Dataset
from genprior.recipe.plan import Plan
from genprior.recipe.structure import BEYOND_TOML, fits_toml

__all__ = ["UNITS", "checked_steps", "replace_length", "with_steps"]

UNITS = (("run", "steps"), ("run", "epochs"))
"""The settings of which a recipe gives one."""


def replace_length(merged: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    """Remove from `merged` the length in steps if `table` sets it in epochs, and the other way around."""
    old, new = merged.get("run"), table.get("run")
    if isinstance(old, dict) and isinstance(new, Mapping):
        given = [key for _, key in UNITS if key in new]
        for _, key in UNITS:
            if len(given) == 1 and key not in given:
                old.pop(key, None)


def checked_steps(steps: Any) -> int:
    """The number of steps that a caller gave, as an `int`; integers of NumPy are taken too.

    Raises:
        RecipeError: it is not a whole number, below 1, or beyond 64 bits.
    """
    whole = whole_number(steps, "steps", RecipeError, least=1)
    if not fits_toml(whole):
        raise RecipeError(f"the requested number of steps is {BEYOND_TOML}; give fewer steps")
    return whole


def with_steps(plan: Plan, counted: dict[str, int] | None = None) -> Plan:
    """The plan with its epochs as steps: ceil(epochs * training images / batch); itself if it states steps.

    Images whose label `run.labels` hides count like all others.

    Args:
        plan: the plan.
        counted: numbers of training images that are known, by the settings of the data set; those that are counted here
            are added.

    Raises:
        DataError: the data set cannot be read.
        PlanError: the data set raised another exception.
        RecipeError: the steps are beyond 64 bits, which no recipe file can hold.
    """
    epochs = plan.run.epochs
    if epochs is None:
        return plan
    counted = {} if counted is None else counted
    settings = plan.data.model_dump_json()
    if settings not in counted:
        counted[settings] = _count(plan)
    # A fraction of integers: 0.1 * 30 images is 3 and not a little more. TOML writes 0.1, and so does repr.
    steps = math.ceil(Fraction(repr(epochs)) * counted[settings] / plan.run.batch)
    if not fits_toml(steps):
        raise RecipeError(f"row '{plan.label}': run.epochs = {epochs} is {BEYOND_TOML}, in steps; give fewer epochs")
    return plan.model_copy(update={"run": plan.run.model_copy(update={"steps": steps, "epochs": None})})


def _count(plan: Plan) -> int:
    try:
        dataset: Dataset = plan.data.make()
        return dataset.training_images()
    except GenpriorError:
        raise
    except Exception as error:
        raise PlanError(
            f"row '{plan.label}': data set '{plan.data.name}' raised {type(error).__name__}: {error}, while its "
            "training images were counted for run.epochs"
        ) from error
