"""The parts that a module or package registers, and the settings that recipes give them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from genprior.errors import NameTaken, PluginError, visible
from genprior.loading import load_entry, package_of, same_folder, stdout_to_stderr, what_was_raised
from genprior.parts import Part, PartConfig
from genprior.parts.base import nested_settings
from genprior.recipe.load import load_recipe
from genprior.registry import GROUP, Origin, Registry, load

__all__ = ["RegisteredPart", "plugin_parts"]


class RegisteredPart(NamedTuple):
    """A part of a plugin."""

    part: type[Part]
    config: PartConfig | None
    """The settings that a recipe gives it; None if no recipe names it."""


def plugin_parts(module: str, recipes: Sequence[Path] = ()) -> list[RegisteredPart]:
    """The parts that a module registers.

    Args:
        module: a module with `genprior_parts`, a package that has such a module as its entry point, or the name of a
            plugin. It need not be installed.
        recipes: the first of their rows that names a part gives its settings.

    Raises:
        PluginError: the module cannot be imported, or registers no part, or one that another plugin has too.
        RecipeError: a recipe is invalid.
    """
    plugin, entry = _plugin(module)
    registry = load()
    origin = _registered(registry, plugin, module, entry)
    clashes = [key for key, origins in registry.clashes.items() if origin in origins]
    if clashes:
        raise NameTaken("; ".join(registry.clash(*key) for key in clashes))
    ours = [part for part in registry.all() if registry.origin(part) == origin]
    if not ours:
        raise PluginError(f"{module} registers no part; call register(MyPart) in its function genprior_parts")
    configs: dict[type[Part], PartConfig] = {}
    for path in recipes:
        for plan in load_recipe(path, registry=registry).plans:
            for config in nested_settings(plan):
                configs.setdefault(config.part, config)
    return [RegisteredPart(part, configs.get(part)) for part in ours]


def _plugin(module: str) -> tuple[Any, metadata.EntryPoint | None]:
    """The object that has the hook functions, and its entry point if it is installed."""
    for entry in metadata.entry_points(group=GROUP):
        if module == entry.name or f"{entry.module}.".startswith(f"{module}."):
            try:
                return load_entry(entry), entry
            except Exception as error:
                raise PluginError(f"{module} cannot be imported: {what_was_raised(error)}") from error
    if re.search(r"^\.|^$|[/\\:\s]|\.py$", module):
        raise PluginError(
            f"'{visible(module)}' is no name of a module, such as genprior_mine: give the module that the entry point "
            "of the package names, not its file"
        )
    try:
        with stdout_to_stderr(), same_folder():
            return importlib.import_module(module), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, also what sys.exit() raises
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and f"{module}.".startswith(f"{error.name}.")
        ):
            raise PluginError(
                f"there is no module {module}, nor a plugin of this name: give the module that the entry point of the "
                "package names, and install the package with `pip install -e .`"
            ) from error
        raise PluginError(f"{module} cannot be imported: {what_was_raised(error)}") from error


def _registered(registry: Registry, plugin: Any, module: str, entry: metadata.EntryPoint | None) -> Origin:
    """The origin of the plugin's parts, which are added to the registry if the plugin is not installed."""
    origin = Origin(module, "not installed") if entry is None else Origin(entry.name, package_of(entry))
    if origin in registry.plugins:
        return origin
    broken = [each.reason for each in registry.broken if each.origin == origin]
    try:
        if broken:
            raise PluginError(broken[0])
        registry.add(plugin, origin)
    except Exception as error:
        raise PluginError(f"{module} registers no part that can be checked: {what_was_raised(error)}") from error
    return origin
