"""The registry of installed parts: (kind, name) -> class, with the origin of each.

Every plugin, the standard parts included, is an entry point of the group `genprior`. A plugin that cannot be imported
is kept as a `Broken` record, which errors and listings name; everything that does not need it still works.
"""

from __future__ import annotations

import functools
import importlib.metadata
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pluggy
from packaging.requirements import Requirement

from genprior import hookspecs, parts
from genprior.errors import NameTaken, PluginError, did_you_mean
from genprior.version import __version__

__all__ = ["GROUP", "Broken", "Origin", "Registry", "installed", "load"]

GROUP = "genprior"

KINDS: dict[str, type[parts.Part]] = {
    base.kind: base
    for base in (
        parts.Prior, parts.Encoder, parts.Decoder, parts.Critic, parts.Reconstruction, parts.Conditioner, parts.Game,
        parts.Model, parts.Dataset, parts.Score, parts.Exporter, parts.Hook,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """The plugin and package of a part."""

    plugin: str
    """The entry point's name."""
    distribution: str
    """The installed package and its version, `name version`."""

    def __str__(self) -> str:
        """For messages, for example: plugin 'ring' (genprior-ring 0.1.0)."""
        return f"plugin '{self.plugin}' ({self.distribution})"


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded."""

    origin: Origin
    reason: str
    """One line: the error."""
    details: str = ""
    """The traceback, if there is one."""


class Registry:
    """All parts that the installed plugins offer."""

    def __init__(self) -> None:
        """An empty registry; `load()` makes the full one."""
        self.manager = pluggy.PluginManager("genprior")
        self.manager.add_hookspecs(hookspecs)
        self.broken: list[Broken] = []
        self.plugins: list[Origin] = []
        self._parts: dict[tuple[str, str], type[parts.Part]] = {}
        self._origins: dict[tuple[str, str], Origin] = {}

    def add(self, plugin: object, origin: Origin) -> None:
        """Register a plugin's hooks and parts, all of them or none.

        Args:
            plugin: a module or object with `genprior.hookimpl` functions.
            origin: its entry point and package.

        Raises:
            NameTaken: a part of the same kind and name is registered already; the message names both origins.
            PluginError: a hook does not exist or has wrong arguments, or a registered object is not a part.
        """
        offered: dict[tuple[str, str], type[parts.Part]] = {}

        def register(part: type[parts.Part]) -> None:
            key = self._check(part, origin)
            taken = self._origins.get(key) or (origin if key in offered else None)
            if taken is not None:
                raise NameTaken(
                    f"{key[0]} '{key[1]}' is registered twice: by {taken} and by {origin}. "
                    "Uninstall one of the two, or rename the part in one of them."
                )
            offered[key] = part

        try:
            self.manager.register(plugin, str(origin))
            self.manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            # pluggy may have refused it before registration, or because another plugin has its name.
            if self.manager.get_plugin(str(origin)) is plugin:
                self.manager.unregister(plugin)
            raise PluginError(f"{origin} does not fit the hooks of genprior {__version__}: {error}") from error
        try:
            hook = self.manager.subset_hook_caller(
                "genprior_parts", [other for other in self.manager.get_plugins() if other is not plugin]
            )
            hook(register=register)
        except BaseException:
            self.manager.unregister(plugin)
            raise
        self.plugins.append(origin)
        self._parts.update(offered)
        self._origins.update(dict.fromkeys(offered, origin))

    @staticmethod
    def _check(part: Any, origin: Origin) -> tuple[str, str]:
        if not (isinstance(part, type) and issubclass(part, parts.Part)):
            raise PluginError(
                f"{origin} registered {part!r}, which is not a part: derive a class from genprior.Prior, ..."
            )
        base = KINDS.get(part.kind)
        if base is None or not issubclass(part, base):
            raise PluginError(f"{origin} registered {part.__name__}, which derives from none of: {', '.join(KINDS)}")
        if not part.name:
            raise PluginError(f'{origin} registered {part.__name__} without a name: add `name = "..."` to the class')
        missing = sorted(getattr(part, "__abstractmethods__", ()))
        if missing:
            raise PluginError(f"{origin} registered {part.kind} '{part.name}', which lacks: {', '.join(missing)}")
        if issubclass(part, parts.Hook):
            _check_settings_of_hook(part, origin)
        return part.kind, part.name

    def find(self, kind: str, name: str) -> type[parts.Part]:
        """The part class of this kind and name.

        Raises:
            PluginError: there is none; the message lists the possible names and the plugins that could not be loaded.
        """
        part = self._parts.get((kind, name))
        if part is None:
            message = f"there is no {kind} named '{name}'{did_you_mean(name, self.names(kind))}"
            if self.broken:
                message += ". Not loaded: " + "; ".join(f"{b.origin}: {b.reason}" for b in self.broken)
            raise PluginError(message)
        return part

    def origin(self, part: type[parts.Part]) -> Origin:
        """The plugin and package of a registered part."""
        return self._origins[part.kind, part.name]

    def names(self, kind: str) -> list[str]:
        """The names of all parts of a kind."""
        return sorted(name for part_kind, name in self._parts if part_kind == kind)

    def all(self) -> list[type[parts.Part]]:
        """All part classes, by kind and name."""
        return [self._parts[key] for key in sorted(self._parts)]

    def hooks_by_default(self) -> dict[str, parts.HookConfig]:
        """The default settings, by name, of the hooks that hear of every run."""
        hooks = (part for part in self.all() if issubclass(part, parts.Hook) and part.on_by_default)
        made = {hook.name: hook.Config() for hook in hooks}
        return {name: config for name, config in made.items() if isinstance(config, parts.HookConfig)}

    def configure(self, kind: str, table: Any, context: Mapping[str, Any] | None = None) -> parts.PartConfig:
        """Validate a recipe's table against the configuration of the part that it names.

        Raises:
            ValueError: the table names no part, or one that does not exist.
            pydantic.ValidationError: the part's own settings are wrong.
        """
        if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
            possible = ", ".join(self.names(kind))
            raise ValueError(f'a table that names a {kind} is needed, such as {{ name = "..." }}. Possible: {possible}')
        try:
            part = self.find(kind, table["name"])
        except PluginError as error:
            raise ValueError(str(error)) from error
        return part.Config.model_validate(dict(table), context={"registry": self, **(context or {})})


def _check_settings_of_hook(hook: type[parts.Hook], origin: Origin) -> None:
    """Refuse a hook that cannot be switched off, or that is on by default and cannot be made without settings.

    Raises:
        PluginError: says what to change.
    """
    if not issubclass(hook.Config, parts.HookConfig):
        raise PluginError(
            f"{origin} registered hook '{hook.name}', whose settings lack `enabled`: derive its Config from "
            "genprior.HookConfig"
        )
    required = [name for name, field in hook.Config.model_fields.items() if field.is_required()]
    if hook.on_by_default and required:
        raise PluginError(
            f"{origin} registered hook '{hook.name}', which is on by default and cannot be made without: "
            f"{', '.join(required)}. Give these settings defaults, or leave `on_by_default` False"
        )


def _origin(entry: importlib.metadata.EntryPoint) -> Origin:
    distribution = entry.dist
    label = f"{distribution.name} {distribution.version}" if distribution is not None else "unknown package"
    return Origin(entry.name, label)


def _refused_version(entry: importlib.metadata.EntryPoint) -> str | None:
    """Why the plugin's metadata excludes this version of genprior; None if it does not."""
    for line in (entry.dist.requires if entry.dist is not None else None) or ():
        requirement = Requirement(line)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        included = requirement.specifier.contains(__version__, prereleases=True)
        if requirement.name == "genprior" and applies and not included:
            return f"it requires genprior{requirement.specifier}, and this is genprior {__version__}"
    return None


def load(entries: list[importlib.metadata.EntryPoint] | None = None) -> Registry:
    """A registry of every installed plugin; a plugin that cannot be loaded is isolated and recorded.

    Args:
        entries: entry points to use instead of the installed ones.

    Raises:
        NameTaken: two plugins offer a part of one kind and name.
    """
    registry = Registry()
    plugins = entries if entries is not None else list(importlib.metadata.entry_points(group=GROUP))
    for entry in sorted(plugins, key=lambda e: (e.name != "std", e.name)):
        origin = _origin(entry)
        reason = _refused_version(entry)
        if reason:
            registry.broken.append(Broken(origin, reason))
            continue
        try:
            registry.add(entry.load(), origin)
        except NameTaken:
            raise
        except Exception as error:  # a plugin may raise anything
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, PluginError) else str(error)
            registry.broken.append(Broken(origin, reason, traceback.format_exc()))
    return registry


@functools.cache
def installed() -> Registry:
    """The registry of this process, loaded once."""
    return load()
