"""The registry of installed parts: (kind, name) -> class, with the origin of each.

Every plugin, the standard parts included, is an entry point of the group `genprior`. A plugin that cannot be imported
is kept as a `Broken` record, and a part that two plugins offer is usable from neither; errors and listings name both
sorts, and everything that does not need them still works.
"""

from __future__ import annotations

import functools
import importlib.metadata
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from genprior import hookspecs, parts
from genprior.errors import NameTaken, PluginError, did_you_mean
from genprior.loading import load_entry, package_of, refused_version, same_folder, stdout_to_stderr, what_was_raised
from genprior.parts.base import a_kind
from genprior.version import __version__

__all__ = ["GROUP", "Broken", "Origin", "Registry", "installed", "load"]

GROUP = "genprior"
HOOK_FUNCTIONS = [name for name in hookspecs.__all__ if name != "hookimpl"]

KINDS: dict[str, type[parts.Part]] = {
    base.kind: base
    for base in (
        parts.Prior, parts.Encoder, parts.Decoder, parts.Critic, parts.Reconstruction, parts.Conditioner,
        parts.Embedder, parts.Game, parts.Model, parts.Dataset, parts.Score, parts.Exporter, parts.Hook,
        parts.Figure, parts.Optimiser, parts.Schedule,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """The plugin and package of a part."""

    plugin: str
    """The entry point's name."""
    distribution: str
    """The installed package and its version, `name version`."""
    session: bool = False
    """Whether `genprior.register` registered it, in this process alone."""

    def __str__(self) -> str:
        """For messages, for example: plugin 'ring' (genprior-ring 0.1.0)."""
        return (
            f"this process ({self.distribution})" if self.session else f"plugin '{self.plugin}' ({self.distribution})"
        )


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
        self.clashes: dict[tuple[str, str], tuple[Origin, ...]] = {}
        """The plugins of each kind and name that more than one of them offers."""
        self._parts: dict[tuple[str, str], type[parts.Part]] = {}
        self._origins: dict[tuple[str, str], Origin] = {}

    def add(self, plugin: object, origin: Origin) -> None:
        """Register a plugin's hooks and parts, all of them or none.

        A part whose kind and name another plugin offers too is usable from neither; `find` names both.

        Args:
            plugin: a module or object with `genprior.hookimpl` functions.
            origin: its entry point and package.

        Raises:
            NameTaken: the plugin offers two parts of the same kind and name.
            PluginError: a hook does not exist or has wrong arguments, or a registered object is not a part.
        """
        offered: dict[tuple[str, str], type[parts.Part]] = {}

        def register(part: type[parts.Part]) -> None:
            key = self._check(part, origin)
            if key in offered:
                raise NameTaken(
                    f"{origin} registers {key[0]} '{key[1]}' twice: {_path(offered[key])} and {_path(part)}. "
                    "Register one of the two, or rename it."
                )
            if part.is_default and (default := self.default_name(part.kind)):
                raise PluginError(
                    f"{origin} registers {key[0]} '{key[1]}' as the one that a table without a name means, which is "
                    f"'{default}' already: leave its `is_default` False"
                )
            offered[key] = part

        _check_marks(plugin, origin)
        taken = self.manager.get_name(plugin)
        if taken is not None or self.manager.has_plugin(str(origin)):
            raise PluginError(
                f"{origin} is registered already{f', as {taken}' if taken else ''}: remove one of the two"
            )
        try:
            try:
                self.manager.register(plugin, str(origin))
                self.manager.check_pending()
            except pluggy.PluginValidationError as error:
                raise PluginError(f"{origin} does not fit the hooks of genprior {__version__}: {error}") from error
            hook = self.manager.subset_hook_caller(
                "genprior_parts", [other for other in self.manager.get_plugins() if other is not plugin]
            )
            hook(register=register)
            _check_offer(self.manager.get_hookcallers(plugin), origin, offered)
        except BaseException:
            # pluggy may have refused it before registration, or because another plugin has its name.
            if self.manager.get_plugin(str(origin)) is plugin:
                self.manager.unregister(plugin)
            raise
        self.plugins.append(origin)
        for key, part in offered.items():
            others = self.clashes.get(key) or tuple(filter(None, [self._origins.pop(key, None)]))
            if others:
                self.clashes[key] = (*others, origin)
                self._parts.pop(key, None)
            else:
                self._parts[key], self._origins[key] = part, origin

    def put(self, part: type[parts.Part], origin: Origin) -> None:
        """Register a part of this process, in place of an earlier one of its kind and name; else as `add`."""
        key = self._check(part, origin)
        others = self.clashes.get(key) or tuple(filter(None, [self._origins.get(key)]))
        if others and not others[0].session:
            raise NameTaken(f"{key[0]} '{key[1]}' is offered by {others[0]}; give {part.__name__} another name")
        self.plugins = [*(each for each in self.plugins if each not in others), origin]
        self._parts[key], self._origins[key] = part, origin

    @staticmethod
    def _check(part: Any, origin: Origin) -> tuple[str, str]:
        if not (isinstance(part, type) and issubclass(part, parts.Part)):
            raise PluginError(
                f"{origin} registered {part!r}, which is not a part: derive a class from genprior.Prior, ..."
            )
        base = KINDS.get(part.kind)
        if base is None or not issubclass(part, base):
            raise PluginError(f"{origin} registered {part.__name__}, which derives from none of: {', '.join(KINDS)}")
        if not (isinstance(part.name, str) and part.name):
            raise PluginError(f'{origin} registered {part.__name__} without a name: add `name = "..."` to the class')
        if not (isinstance(part.Config, type) and issubclass(part.Config, parts.PartConfig)):
            raise PluginError(
                f"{origin} registered {part.kind} '{part.name}', whose Config is no table of settings: derive it from "
                "genprior.PartConfig"
            )
        if vars(part.Config).get("part") != part:
            raise PluginError(
                f"{origin} registered {part.__name__}, which has the name '{part.name}' of its base class: add "
                '`name = "..."` to the body of the class'
            )
        if not isinstance(part.borrows, tuple):
            raise PluginError(
                f"{origin} registered {part.kind} '{part.name}', whose `borrows` is {part.borrows!r}: write a tuple "
                'of roles, such as ("encoder",)'
            )
        missing = sorted(getattr(part, "__abstractmethods__", ()))
        if missing:
            raise PluginError(f"{origin} registered {part.kind} '{part.name}', which lacks: {', '.join(missing)}")
        if not issubclass(part.Config, base.Config):
            lacks = next(key for key in base.Config.model_fields if key != "name")
            raise PluginError(
                f"{origin} registered {part.kind} '{part.name}', whose settings lack `{lacks}`: derive its Config from "
                f"genprior.{base.Config.__name__}"
            )
        if issubclass(part, parts.Hook) and part.on_by_default:
            _check_defaults_of_hook(part, origin)
        return part.kind, part.name

    def find(self, kind: str, name: str) -> type[parts.Part]:
        """The part class of this kind and name.

        Raises:
            NameTaken: several plugins offer it.
            PluginError: there is none; the message lists the possible names and the plugins that could not be loaded.
        """
        if (kind, name) in self.clashes:
            raise NameTaken(self.clash(kind, name))
        part = self._parts.get((kind, name))
        if part is None:
            message = f"there is no {kind} named '{name}'{did_you_mean(name, self.names(kind))}"
            message += f". If a package offers '{name}', install that package; a class of yours, genprior.register it"
            if self.broken:
                message += ". Not loaded: " + "; ".join(f"{b.origin}: {b.reason}" for b in self.broken)
            raise PluginError(message)
        return part

    def clash(self, kind: str, name: str) -> str:
        """What is wrong with a part in `clashes`, and what to do."""
        first, *others = map(str, self.clashes[kind, name])
        return (
            f"{kind} '{name}' is registered by several plugins, so none of them is used: by {first} and by "
            f"{' and by '.join(others)}. Uninstall all but one, or rename the part."
        )

    def origin(self, part: type[parts.Part]) -> Origin:
        """The plugin and package of a registered part."""
        return self._origins[part.kind, part.name]

    def offers(self, part: type[parts.Part]) -> bool:
        """Whether this very class is registered, and not only another one of its kind and name."""
        return self._parts.get((part.kind, part.name)) is part

    def names(self, kind: str) -> list[str]:
        """The names of all parts of a kind."""
        return sorted(name for part_kind, name in self._parts if part_kind == kind)

    def default_name(self, kind: str) -> str | None:
        """The name of the part that a table of this kind without a name means; None if there is none."""
        return next((name for (of, name), part in self._parts.items() if of == kind and part.is_default), None)

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
        default = self.default_name(kind)
        name = table.get("name", default) if isinstance(table, Mapping) else None
        if not isinstance(name, str):
            example, possible = f'{{ name = "{default or "..."}" }}', ", ".join(self.names(kind))
            raise ValueError(f"a table that names {a_kind(kind)} is needed, such as {example}. Possible: {possible}")
        try:
            part = self.find(kind, name)
        except (NameTaken, PluginError) as error:
            raise ValueError(str(error)) from error
        return part.Config.model_validate(dict(table), context={"registry": self, **(context or {})})


def _check_defaults_of_hook(hook: type[parts.Hook], origin: Origin) -> None:
    """Refuse a hook that is on by default and cannot be made without settings.

    Raises:
        PluginError: says what to change.
    """
    required = [name for name, field in hook.Config.model_fields.items() if field.is_required()]
    if required:
        raise PluginError(
            f"{origin} registered hook '{hook.name}', which is on by default and cannot be made without: "
            f"{', '.join(required)}. Give these settings defaults, or leave `on_by_default` False"
        )


def _path(part: type) -> str:
    return f"{part.__module__}.{part.__qualname__}"


def _check_marks(plugin: object, origin: Origin) -> None:
    """Refuse a plugin whose hook functions are not marked: pluggy would never call them.

    Raises:
        PluginError: says what to mark.
    """
    if isinstance(plugin, type) and issubclass(plugin, parts.Part):
        raise PluginError(
            f"the entry point of {origin} names the part {plugin.__name__} itself: name its module, in which a "
            "function genprior_parts, marked with @genprior.hookimpl, registers it"
        )
    routines = [name for name in dir(plugin) if name.startswith("genprior_") and callable(getattr(plugin, name))]
    marked = [name for name in routines if hasattr(getattr(plugin, name), "genprior_impl")]
    for name in routines:
        if name not in marked and (name in HOOK_FUNCTIONS or not marked):
            wrong = f"its function {name} is not marked as a hook, so it would never be called"
            if name not in HOOK_FUNCTIONS:
                raise PluginError(f"{wrong}; nor is there a hook of this name{did_you_mean(name, HOOK_FUNCTIONS)}")
            raise PluginError(f"{wrong}; write @genprior.hookimpl above it")
    if not marked:
        raise PluginError(
            "it has no hook function, so it offers nothing: write a function genprior_parts(register) that registers "
            "its parts, with @genprior.hookimpl above it"
        )


def _check_offer(hooks: Sequence[pluggy.HookCaller] | None, origin: Origin, offered: Mapping[Any, Any]) -> None:
    """Refuse a plugin without any effect, whose one hook function registers no part: raises a `PluginError`."""
    if not offered and [hook.name for hook in hooks or ()] == ["genprior_parts"]:
        raise PluginError(
            f"{origin} offers nothing: its function genprior_parts registers no part; call register(MyPart) in it, for "
            "each class"
        )


def load(entries: list[importlib.metadata.EntryPoint] | None = None) -> Registry:
    """A registry of every installed plugin; a plugin that cannot be loaded is isolated and recorded.

    What plugins print while they are loaded goes to stderr, so that it is not in the output of a command; a working
    directory that they change is changed back.

    Args:
        entries: entry points to use instead of the installed ones.
    """
    registry = Registry()
    plugins = entries if entries is not None else list(importlib.metadata.entry_points(group=GROUP))
    for entry in sorted(plugins, key=lambda e: (e.name != "std", e.name)):
        origin = Origin(entry.name, package_of(entry))
        reason = refused_version(entry)
        if reason:
            registry.broken.append(Broken(origin, reason))
            continue
        try:
            plugin = load_entry(entry)
            with stdout_to_stderr(), same_folder():
                registry.add(plugin, origin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything, also what sys.exit() and pytest.skip() raise
            registry.broken.append(Broken(origin, what_was_raised(error), traceback.format_exc()))
    return registry


@functools.cache
def installed() -> Registry:
    """The registry of this process, loaded once."""
    return load()
