"""Validates the table of a model or a fitted prior, as it stands in a recipe, without the rest of a recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import pluggy
from pydantic import BaseModel, ValidationError

from genprior.errors import PlanError
from genprior.parts import FittedPriorSpec, ModelSpec, Part, PartConfig
from genprior.recipe.mistakes import explained
from genprior.registry import GROUP, Origin, Registry, installed, load

__all__ = ["fitted_prior_settings", "model_settings"]

H = TypeVar("H", bound=BaseModel)


class _Holder(BaseModel):
    """What `[model]` of a recipe is in."""

    model: ModelSpec


class _FittedHolder(BaseModel):
    """What the table of a `fitted_prior` is in."""

    fitted_prior: FittedPriorSpec


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
    return _valid(_Holder, held, registry, "the table of the model").model


def fitted_prior_settings(table: Mapping[str, Any]) -> PartConfig:
    """The settings that the table `fitted_prior` of a recipe describes.

    Args:
        table: names an installed prior that can be fitted to codes.

    Raises:
        PlanError: lists every mistake with its path and what is possible.
    """
    held = {"fitted_prior": dict(table)}
    return _valid(_FittedHolder, held, installed(), "the table of the prior").fitted_prior


def _valid(holder: type[H], held: dict[str, Any], registry: Registry, named: str) -> H:
    try:
        return holder.model_validate(held, context={"registry": registry})
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, path))}: {text}" for path, text in explained(error, held, registry, holder)]
        raise PlanError(f"{named} is wrong:\n" + "\n".join(lines)) from error
