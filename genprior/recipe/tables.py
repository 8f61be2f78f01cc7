"""Validates a model's table, as it stands in a recipe, without the rest of a recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pluggy
from pydantic import BaseModel, ValidationError

from genprior.errors import PlanError
from genprior.parts import ModelSpec, Part, PartConfig
from genprior.recipe.mistakes import explained
from genprior.registry import GROUP, Origin, installed, load

__all__ = ["model_settings"]


class _Holder(BaseModel):
    """What `[model]` of a recipe is in."""

    model: ModelSpec


class _Plugin:
    """A plugin of classes that no installed package has registered."""

    def __init__(self, parts: Collection[type[Part]]) -> None:
        self._parts = parts

    @pluggy.HookimplMarker(GROUP)
    def genprior_parts(self, register: Any) -> None:
        for part in self._parts:
            register(part)


def model_settings(table: Mapping[str, Any], parts: Collection[type[Part]] = ()) -> PartConfig:
    """The settings that the table `[model]` of a recipe describes, with all parts that it names.

    Args:
        table: names a model; a part is a table that names it, or its settings.
        parts: classes that the table may name, beside those of the installed plugins.

    Raises:
        PlanError: lists every mistake with its path and what is possible.
    """
    registry = installed()
    new = [part for part in parts if not registry.offers(part)]
    if new:
        registry = load()
        registry.add(_Plugin(new), Origin("parts=", "the caller"))
    held = {"model": dict(table)}
    try:
        model: PartConfig = _Holder.model_validate(held, context={"registry": registry}).model
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, path))}: {text}" for path, text in explained(error, held, registry)]
        raise PlanError("the table of the model is wrong:\n" + "\n".join(lines)) from error
    return model
