"""Parts: their settings, the modules that they own and those that they borrow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError
from torch import nn

from genprior.errors import PluginError
from genprior.parts.settings_table import SettingsTable
from genprior.parts.values import Batch, Sizes

__all__ = [
    "Borrowed",
    "CommandLineText",
    "ConditionerSpec",
    "CriticSpec",
    "DatasetSpec",
    "DecoderSpec",
    "EmbedderSpec",
    "EncoderSpec",
    "GameSpec",
    "LocalPath",
    "ModelSpec",
    "ModulePart",
    "Part",
    "PartConfig",
    "PriorSpec",
    "ReconstructionSpec",
    "ScoreSpec",
    "a_kind",
    "nested_settings",
    "pick",
]


class CommandLineText(str):
    """A text that was given on the command line; a path in it is relative to the current directory."""

    __slots__ = ()


def _absolute(value: Any, info: ValidationInfo) -> Any:
    """The absolute path of a file or folder, from the recipe's folder if the validation context has it as `folder`."""
    if not isinstance(value, str | Path):
        return value
    folder = None if isinstance(value, CommandLineText) else (info.context or {}).get("folder")
    return Path(folder or "", os.path.expanduser(value)).absolute()


LocalPath = Annotated[Path, BeforeValidator(_absolute)]
"""A setting that names a file or folder of the user; relative to the folder of the recipe, and on the command line and
in Python to the current directory. It is kept as an absolute path, so that a run folder still names the same file when
it is read from another current directory."""


def _removed(key: str, given: Any, value: Any) -> PydanticCustomError:
    return PydanticCustomError(
        "removed_setting",
        "'{key}' = {given}, but this setting was removed: its value is always {value}. Leave '{key}' out, or use the "
        "version of genprior that the recipe was written for",
        {"key": key, "given": repr(given), "value": repr(value)},
    )


class PartConfig(SettingsTable):
    """The settings of a part; nest a subclass called `Config` in the part. Frozen; unknown keys are refused."""

    part: ClassVar[type[Part]]
    """The class that these settings belong to."""
    retired: ClassVar[Mapping[str, Any]] = {}
    """Removed settings, each with its fixed value; the recipes of old run folders still contain them."""
    name: str = ""
    """The part's name; set by the part that owns this configuration."""

    @model_validator(mode="before")
    @classmethod
    def _ignore_retired(cls, table: Any) -> Any:
        """Ignore a removed setting that has its fixed value; refuse another value."""
        if not isinstance(table, Mapping):
            return table
        other = [key for key in cls.retired if key in table and table[key] != cls.retired[key]]
        if other:
            # A validation error of its own, so that the message has the path and the line of the setting.
            raise ValidationError.from_exception_data(
                cls.__name__,
                [
                    {"type": _removed(key, table[key], cls.retired[key]), "loc": (key,), "input": table[key]}
                    for key in other
                ],
            )
        return {key: value for key, value in table.items() if key not in cls.retired}

    def make(self, *args: Any, **borrowed: Any) -> Any:
        """Make the part that these settings describe: `config.make(sizes)` for a part nested in another part."""
        return self.part(self, *args, **borrowed)  # type: ignore[call-arg]


def _redefined(config: type[PartConfig]) -> str:
    """A field whose name `PartConfig` uses itself; empty without one."""
    if "part" in vars(config):  # made for a base class, whose fields were looked at then
        return ""
    bases = [base for base in config.__mro__[1:] if issubclass(base, PartConfig)] or [PartConfig]
    own, inherited = (each.model_fields["name"] for each in (config, bases[0]))
    if (own.annotation, own.default) != (inherited.annotation, inherited.default):
        return "name"
    return next((name for name in ("part", "retired", "for_one_step", "make") if name in config.model_fields), "")


class Part:
    """Base of all parts. A subclass with a `name` can be registered and used by that name in a recipe."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    Config: ClassVar[type[PartConfig]] = PartConfig
    is_default: ClassVar[bool] = False
    """Whether a table without a `name` means this part; at most one part of a kind."""
    borrows: ClassVar[tuple[str, ...]] = ()
    """Roles of the model whose modules this part uses without owning them; they arrive as keyword arguments."""

    @classmethod
    def borrows_of(cls, config: Any) -> tuple[str, ...]:
        """The roles that a part with these settings borrows; `borrows` by default."""
        return cls.borrows

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give a named part its own configuration class, whose `name` is the part's.

        Raises:
            PluginError: its `Config` does not derive from `PartConfig`, or has a field with a name of `PartConfig`.
        """
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            if not (isinstance(cls.Config, type) and issubclass(cls.Config, PartConfig)):
                raise PluginError(
                    f"{cls.kind or 'part'} '{cls.name}' ({cls.__module__}.{cls.__qualname__}) has a Config that is no "
                    "table of settings: derive it from genprior.PartConfig, `class Config(PartConfig):`"
                )
            if taken := _redefined(cls.Config):
                raise PluginError(
                    f"{cls.kind or 'part'} '{cls.name}' ({cls.__module__}.{cls.__qualname__}) has a setting called "
                    f"'{taken}', which genprior.PartConfig has already"
                    + (": it is the part's name, by which recipes select it" if taken == "name" else "")
                    + ". Rename the setting"
                )
            name: Any = Literal[cls.name]
            # It has no source with docstrings, for which pydantic would search the whole stack: seconds over all parts.
            created = create_model(
                "Config",
                __base__=cls.Config,
                __module__=cls.__module__,
                __cls_kwargs__={"use_attribute_docstrings": False},
                name=(name, cls.name),
            )
            own = cast(type[PartConfig], created)
            own.model_config = cls.Config.model_config  # classes that derive from it have docstrings again
            own.__qualname__ = f"{cls.__qualname__}.Config"
            own.__doc__ = cls.Config.__doc__
            own.part = cls
            cls.Config = own

    @classmethod
    def summary(cls) -> str:
        """What the part is, in a line for lists: the first one of its docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @classmethod
    def upgrade(cls, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
        """Convert a resolved row of an older version to this version; by default the row is returned unchanged.

        It is called for every registered part before a row is validated, also for the rows of run folders. A part that
        replaces a setting of other parts converts their tables into its own.

        Args:
            recipe: the row's tables, such as `model` and `optimiser`; not modified.
        """
        return recipe


class ModulePart(Part, nn.Module):
    """A part that is a module: it may own parameters, and is moved to a device."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Hold the settings and the sizes.

        Args:
            config: this part's settings.
            sizes: every size that it may depend on.
        """
        nn.Module.__init__(self)
        self.config: Any = config
        self.sizes = sizes

    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Initialise from training images, before the first step of a run; by default this does nothing.

        Args:
            draw: returns n different training images, or all for None, drawn at random and preprocessed, on the
                part's device; `Batch.index` is their place among the training images.
        """


class Borrowed:
    """A module that a part uses and another part owns.

    It forwards calls and attributes, and is not an `nn.Module`, so it is in neither `parameters()` nor `state_dict()`
    of the part that holds it.
    """

    def __init__(self, module: nn.Module) -> None:
        """Wrap `module`."""
        self._module = module

    def __call__(self, *args: Any) -> Any:
        """Call the owner's module."""
        return self._module(*args)

    def __getattr__(self, name: str) -> Any:
        """Read an attribute of the owner's module."""
        if name.startswith("__") or "_module" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.__dict__["_module"], name)

    def is_a(self, capability: type) -> bool:
        """Whether the owner's module is of the class `capability`."""
        return isinstance(self._module, capability)


def nested_settings(value: Any) -> Iterator[PartConfig]:
    """The settings of all parts in a value, such as a row, those inside of other parts too."""
    if isinstance(value, PartConfig):
        yield value
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in type(value).model_fields]
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from nested_settings(each)


def a_kind(kind: str) -> str:
    """A kind of parts with its article."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def pick(kind: str) -> Callable[[Any, ValidationInfo], PartConfig]:
    """A validator that finds a part's `Config` by its name in the registry of the validation context."""

    def validate(value: Any, info: ValidationInfo) -> PartConfig:
        if isinstance(value, PartConfig):
            if value.part.kind != kind:
                raise ValueError(f"{a_kind(kind)} is needed here; '{value.name}' is {a_kind(value.part.kind)}")
            return value
        registry = (info.context or {}).get("registry")
        if registry is None:
            raise ValueError("a part given as a table needs a registry; use genprior.load_recipe, or pass a Config")
        config: PartConfig = registry.configure(kind, value, info.context)
        return config

    return validate


# A field of one of these types takes a table whose `name` selects the part, such as `prior = { name = "gaussian" }`.
PriorSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(pick("prior")), WithJsonSchema({"part": "prior"})]
EncoderSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(pick("encoder")), WithJsonSchema({"part": "encoder"})
]
DecoderSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(pick("decoder")), WithJsonSchema({"part": "decoder"})
]
CriticSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(pick("critic")), WithJsonSchema({"part": "critic"})]
ReconstructionSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(pick("reconstruction")), WithJsonSchema({"part": "reconstruction"})
]
ConditionerSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(pick("conditioner")), WithJsonSchema({"part": "conditioner"})
]
GameSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(pick("game")), WithJsonSchema({"part": "game"})]
ModelSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(pick("model")), WithJsonSchema({"part": "model"})]
EmbedderSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(pick("embedder")), WithJsonSchema({"part": "embedder"})
]
DatasetSpec = Annotated[
    SerializeAsAny[PartConfig], PlainValidator(pick("dataset")), WithJsonSchema({"part": "dataset"})
]
ScoreSpec = Annotated[SerializeAsAny[PartConfig], PlainValidator(pick("score")), WithJsonSchema({"part": "score"})]
