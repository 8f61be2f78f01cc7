"""Calls the hook functions of plugins after a recipe's table was written; none of them can spoil the runs."""

from __future__ import annotations

import warnings
from pathlib import Path

from genprior.errors import GenpriorWarning
from genprior.recipe.load import Recipe
from genprior.registry import Registry, installed

__all__ = ["NAME", "tell_of_table"]

NAME = "genprior_table_written"


def tell_of_table(recipe: Recipe, folder: Path, registry: Registry | None = None) -> None:
    """Call `genprior_table_written` of each plugin; what one raises is a warning that names the plugin.

    A plugin that every row of the recipe names in `run.skip_hook_functions` is not called.

    Args:
        recipe: the recipe whose table was written.
        folder: the folder of the table.
        registry: the registry of plugins; the installed ones by default.
    """
    registry = registry or installed()
    skipped = set.intersection(*({*plan.run.skip_hook_functions} for plan in recipe.plans)) if recipe.plans else set()
    manager = registry.manager
    for origin in registry.plugins:
        own = manager.get_plugin(str(origin))
        if own is None or origin.plugin in skipped:
            continue
        others = [plugin for plugin in manager.get_plugins() if plugin is not own]
        try:
            manager.subset_hook_caller(NAME, others)(folder=folder)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything, also what sys.exit() raises
            warnings.warn(
                f"the hook function {NAME} of {origin} failed: {type(error).__name__}: {error}. The runs and "
                f"their table in {folder} are complete; with [run] skip_hook_functions = ['{origin.plugin}'] it is not "
                "called",
                GenpriorWarning,
                stacklevel=2,
            )
