"""Settings of the part under test: read from a class or a Config, named in the headline, checked by a round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from genprior.parts import Part, PartConfig, Sizes
from genprior.parts.base import nested_settings
from genprior.testing.report import Contract, ContractError, describe

__all__ = ["check_config", "config_of", "setting_of"]


def config_of(part: PartConfig | type[Part], base: type[Part]) -> PartConfig:
    """The settings to test: those given, or the defaults of the class given.

    Raises:
        ContractError: it is not a part of this kind, has no name, is abstract, or has settings without a default.
    """
    if isinstance(part, PartConfig) and "part" not in vars(type(part)):
        settings = f"{type(part).__module__}.{type(part).__qualname__}"
        raise ContractError(
            f"{settings} are the settings of no part, because the class around them has no name of its own: add "
            f'`name = "..."` to the body of {type(part).__qualname__.rpartition(".")[0] or "that class"}.'
        )
    given: Any = part.part if isinstance(part, PartConfig) else part
    if not (isinstance(given, type) and issubclass(given, base)):
        raise ContractError(
            f"a {base.kind} is needed here: a class derived from genprior.{base.__name__}, or its Config(...). "
            f"This is {describe(part)}. Derive your class from genprior.{base.__name__}, and pass it or its settings."
        )
    cls: type[Part] = given
    label = f"{cls.__module__}.{cls.__qualname__}"
    if not cls.name:
        raise ContractError(f'{label} has no name, so no recipe can call it: add `name = "..."` to the class body.')
    if vars(cls.Config).get("part") is not cls:
        raise ContractError(
            f"{label} has the name '{cls.name}' of its base class, so no recipe can call it: add "
            '`name = "..."` to the class body.'
        )
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise ContractError(f"{cls.kind} '{cls.name}' ({label}) lacks {', '.join(missing)}: write these methods.")
    if isinstance(part, PartConfig):
        return part
    try:
        config: PartConfig = cls.Config()
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise ContractError(
            f"{cls.kind} '{cls.name}' ({label}) has settings without a default: {fields}. "
            f"Pass the settings instead of the class: {cls.__qualname__}.Config({fields}=...)"
        ) from error
    return config


def setting_of(config: PartConfig, sizes: Sizes) -> str:
    """The sizes and settings that a part was made with, for a headline."""
    c, h, w = sizes.image
    return f"image [{c}, {h}, {w}], code {sizes.code}, known {sizes.known}, asked {sizes.asked}, and {config!r}"


def check_config(contract: Contract, config: PartConfig) -> None:
    """Settings are equal after they are written as JSON and read again, as run folders and worker processes do."""
    called = f"{type(config).__qualname__}.model_validate(config.model_dump(mode='json'))"
    table = contract.call("config.model_dump(mode='json')", lambda: config.model_dump(mode="json", exclude_none=True))
    if table is None:
        return
    again = contract.call(
        called,
        lambda: type(config).model_validate(table, context={"registry": _PartsOf(config)}),
        "settings can be written to a file and read again",
    )
    if again is not None:
        contract.require(
            again == config,
            called,
            f"{again!r} in place of {config!r}",
            "settings that are written to a file and read again are the same",
            "use fields that JSON can hold: numbers, texts, booleans, tuples, nested models and parts",
        )


class _PartsOf:
    """A registry of the parts that a configuration nests, installed or not."""

    def __init__(self, config: PartConfig) -> None:
        self._parts = {(nested.part.kind, nested.part.name): nested.part for nested in nested_settings(config)}

    def configure(self, kind: str, table: Any, context: Mapping[str, Any] | None = None) -> PartConfig:
        """The settings of the nested part that `table` names."""
        return self._parts[kind, table["name"]].Config.model_validate(table, context={"registry": self})
