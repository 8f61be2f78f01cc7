"""Finds and makes the launcher that `--on` names; a package adds one by an entry point of `genprior.launchers`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from pydantic import ValidationError

from genprior.cli.completion import LAUNCHERS
from genprior.errors import LaunchError, NameTaken, PluginError, did_you_mean, in_a_sentence, wrong_settings
from genprior.launch.launchers import Launcher
from genprior.loading import load_named, package_of, refused_version

__all__ = ["launcher_of"]


def launcher_of(text: str) -> Launcher:
    """The launcher of a text of `--on`: `NAME`, `NAME={SETTING=VALUE, ...}` or `NAME.SETTING=VALUE`.

    Raises:
        LaunchError: no installed package has it, or its settings are wrong.
        NameTaken: several packages have it.
        PluginError: its package cannot be loaded, does not fit this genprior, or names something else.
    """
    name, settings = _parsed(text)
    launcher = _loaded(name, text)
    unknown = [key for key in settings if key not in launcher.Settings.model_fields]
    if unknown:
        raise LaunchError(
            f"--on {text}: launcher '{name}' has no setting '{unknown[0]}'"
            f"{did_you_mean(unknown[0], launcher.Settings.model_fields)}"
        )
    try:
        return launcher(launcher.Settings.model_validate(settings))
    except ValidationError as error:
        raise LaunchError(f"--on {text}: settings of launcher '{name}': {wrong_settings(error)}") from None


def _parsed(text: str) -> tuple[str, Mapping[str, Any]]:
    if "=" not in text:
        return text.strip(), {}
    try:
        ((name, settings),) = tomllib.loads(text).items()
        if not isinstance(settings, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise LaunchError(
            f"--on {text}: needs NAME or NAME={{SETTING=VALUE, ...}} with TOML values, such as ray or "
            "'ray={gpus=0.5}' (strings need double quotes, so put single quotes around the whole)"
        ) from None
    return name, settings


def _loaded(name: str, text: str) -> type[Launcher]:
    entries = metadata.entry_points(group=LAUNCHERS)
    named = [entry for entry in entries if entry.name == name]
    if not named:
        installed = sorted({entry.name for entry in entries})
        where = did_you_mean(name, installed).replace(" Possible: ", " Installed: ")
        raise LaunchError(
            f"--on {text}: there is no launcher named '{name}'{where}. Install the package that has it: ray is in "
            "genprior-ray and slurm in genprior-slurm; from a clone of genprior, `pip install plugins/genprior_ray` or "
            "`pip install plugins/genprior_slurm`"
        )
    if len(named) > 1:
        packages = " and by ".join(map(package_of, named))
        raise NameTaken(
            f"--on {text}: launcher '{name}' is defined {len(named)} times, so none of them is used: by {packages}. "
            "Uninstall all but one of the packages"
        )
    (entry,) = named
    package = package_of(entry)
    if reason := refused_version(entry):
        raise PluginError(f"--on {text}: launcher '{name}' of {package} cannot be used: {in_a_sentence(reason)}")
    loaded = load_named(entry, f"--on {text}: launcher '{name}' of {package}")
    if not (isinstance(loaded, type) and issubclass(loaded, Launcher)):
        raise PluginError(
            f"--on {text}: launcher '{name}' of {package} is {loaded!r}, which is not derived from genprior.Launcher. "
            "Update or uninstall that package"
        )
    return loaded
