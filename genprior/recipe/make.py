"""Makes recipes in Python, from tables with the keys of a TOML file."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel

from genprior.errors import RecipeError
from genprior.parts import PartConfig
from genprior.recipe.load import Recipe, resolve
from genprior.recipe.structure import MAX_DEPTH, excess
from genprior.registry import Registry, installed

__all__ = ["make_recipe"]


def make_recipe(
    tables: Mapping[str, Any],
    *,
    name: str = "recipe",
    changes: Sequence[str] = (),
    settings: Sequence[str] = (),
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    registry: Registry | None = None,
) -> Recipe:
    """Make a recipe from tables, without a file; it is checked like one.

    Args:
        tables: the keys of a TOML recipe (`title`, `run`, `data`, `scores`, `optimiser`, `model`, `change`, `row`). In
            the place of a part's table there may be its settings as an object, such as `Gaussian.Config(sigma=2)`.
        name: names the recipe and its default folder, `runs/<name>`.
        changes: named changes to apply to every row (`--with`).
        settings: `PATH=VALUE` with TOML values, applied last (`--set`).
        rows: labels of the rows to keep; all by default.
        seeds: seeds instead of `run.seeds`.
        registry: the registry of parts; the installed and registered parts by default.

    Raises:
        RecipeError: a value cannot stand in a recipe, the class of a settings object is not registered, or the recipe
            is invalid; the message lists all mistakes, as that of `load_recipe` does, without lines.
    """
    source = f"recipe '{name}'"
    # The path `..` has the name `..`, which is the folder above.
    if not isinstance(name, str) or name in ("", "..") or FilePath(name).name != name or not name.isprintable():
        raise RecipeError(f"name = {name!r} cannot name a folder; give a name without '/', such as \"digits\"")
    if not isinstance(tables, Mapping):
        raise RecipeError(
            f"a recipe is made from a mapping with the keys of a TOML recipe, and this is a {type(tables).__name__}; "
            "read a file with genprior.load_recipe(path)"
        )
    registry = registry or installed()
    document = _plain(tables, (), registry)
    if wrong := excess(document):
        raise RecipeError(f"{source} {wrong}")
    return resolve(
        document, {}, source, name, changes=changes, settings=settings, rows=rows, seeds=seeds, registry=registry
    )


def _plain(value: Any, at: tuple[str, ...], registry: Registry) -> Any:
    """A value as TOML would hold it; objects with settings become their tables.

    Raises:
        RecipeError: TOML has no such value, or the class of a part is not registered.
    """
    where = ".".join(at) or "the recipe"
    if len(at) > MAX_DEPTH:
        raise RecipeError(f"{where} is nested in more than {MAX_DEPTH} levels; no setting is so deep")
    if isinstance(value, PartConfig):
        return _of_part(value, at, registry)
    if isinstance(value, BaseModel):
        return {key: _plain(getattr(value, key), (*at, key), registry) for key in sorted(value.model_fields_set)}
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise RecipeError(f"{where} has the key {wrong[0]!r}; the keys of a recipe are texts")
        return {key: _plain(each, (*at, key), registry) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, (*at, str(place)), registry) for place, each in enumerate(value)]
    if isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    hint = "leave the key out for its default" if value is None else "write numbers, texts, lists and tables"
    if isinstance(value, type):
        hint = "give its settings, such as MyPrior.Config(), or a table with its name"
    raise RecipeError(f"{where} = {_shown(value)}, which a recipe cannot hold; {hint}")


def _of_part(config: PartConfig, at: tuple[str, ...], registry: Registry) -> dict[str, Any]:
    """The table of a part's settings: its name and the settings that were given."""
    part = config.part
    if not registry.offers(part):
        raise RecipeError(
            f"{'.'.join(at)} has the settings of {part.kind} '{part.name}' ({part.__module__}.{part.__qualname__}), "
            "which is not registered; call genprior.register with this class first"
        )
    given = {key: getattr(config, key) for key in type(config).model_fields if key in config.model_fields_set}
    lost = [
        key
        for key, value in given.items()
        if value is None and type(config).model_fields[key].get_default(call_default_factory=True) is not None
    ]
    if lost:
        raise RecipeError(
            f"{'.'.join((*at, lost[0]))} = None, which a recipe cannot hold, because TOML has no value for it and the "
            "default is another; give it a value"
        )
    tables = {key: _plain(value, (*at, key), registry) for key, value in given.items() if value is not None}
    return {**tables, "name": part.name}


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."
