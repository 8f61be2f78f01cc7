"""Tables of optimisers and schedules: the settings that a module's has from the default, and those without effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genprior.parts import Optimiser, PartConfig, Schedule
from genprior.registry import Registry

__all__ = ["having", "inherited", "resolved", "without_foreign"]


def _chosen_by(table: Any, kind: str, registry: Registry) -> type[PartConfig] | None:
    """The settings of the part that a table selects; None if there is no such part."""
    default = registry.default_name(kind)
    name = table.get("name", default) if isinstance(table, Mapping) else default
    return registry.find(kind, name).Config if isinstance(name, str) and name in registry.names(kind) else None


def having(key: str, kind: str, registry: Registry) -> list[str]:
    """The parts of a kind that have this setting."""
    return [name for name in registry.names(kind) if key in registry.find(kind, name).Config.model_fields]


def resolved(tables: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """The tables of all optimisers, each with what it inherits.

    A module's inherits from `default`; that of a module in one phase, `<phase>/<module>`, from the module's.

    Args:
        tables: the tables of a recipe, by `default`, modules, and modules in phases.
        registry: the registry of the optimisers.
    """
    default = tables.get("default", {})
    whole = {name: inherited(default, own, registry) for name, own in tables.items()}
    for name in tables:
        phase, _, module = name.rpartition("/")
        if phase and module in whole:
            whole[name] = inherited(whole[module], tables[name], registry)
    return {"default": default} | whole


def inherited(default: Mapping[str, Any], own: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """The settings of a module's optimiser: its own, and those of `default` that it has.

    Args:
        default: the table that it inherits from, such as `optimiser.default`.
        own: its own table.
        registry: the registry of the optimisers.
    """
    whole = {**default, **own}
    chosen = _chosen_by(whole, Optimiser.kind, registry)
    if chosen is None or chosen is _chosen_by(default, Optimiser.kind, registry):
        return whole
    return {key: value for key, value in whole.items() if key in own or key in chosen.model_fields}


def without_foreign(table: Any, registry: Registry, kind: str = Optimiser.kind) -> Any:
    """The settings of an optimiser or schedule without those of other ones, which never had an effect.

    Older versions wrote all settings of all methods into the resolved recipes of run folders.

    Args:
        table: the settings.
        registry: the registry of the optimisers and schedules.
        kind: whether it is an optimiser or a schedule.
    """
    chosen = _chosen_by(table, kind, registry)
    if not isinstance(table, Mapping) or chosen is None:
        return table
    kept = {k: value for k, value in table.items() if k in chosen.model_fields or not having(k, kind, registry)}
    if kind == Optimiser.kind and "schedule" in kept:
        kept["schedule"] = without_foreign(kept["schedule"], registry, Schedule.kind)
    return kept
