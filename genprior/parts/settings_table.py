"""The base of all tables of settings: frozen, no unknown keys, and each value of the type that its field states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Self, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = ["SettingsTable"]

_PLAIN = {bool, int, float, NoneType}
"""Types for which pydantic also takes values of each other, and texts."""
_CONVERTING = (BeforeValidator, PlainValidator, WrapValidator)


class SettingsTable(BaseModel):
    """A table of settings. Frozen; unknown keys are refused, and so are values of another type than the field states.

    A number is neither a boolean nor a text, and a boolean neither a number nor a text: `steps = true` would be one
    step. A whole number may be written as `1e5`. Derive from this class a table that is nested in the `Config` of a
    part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_of_the_stated_type(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        if not any(isinstance(each, _CONVERTING) for each in field.metadata):
            wrong = list(_mistakes(field.annotation, value, ()))
            if wrong:
                raise ValidationError.from_exception_data(cls.__name__, wrong)
        return value

    def for_one_step(self) -> Self:
        """The settings for the check of a recipe, which takes one step; by default these, with nested tables so.

        Override it in a table that says how much is done before the first step, so that the check does little of it.
        """
        tables = {name: getattr(self, name) for name in type(self).model_fields}
        small = {name: table.for_one_step() for name, table in tables.items() if isinstance(table, SettingsTable)}
        changed = {name: table for name, table in small.items() if table is not tables[name]}
        return self.model_copy(update=changed) if changed else self


def _mistakes(annotation: Any, value: Any, at: tuple[int | str, ...]) -> Iterator[InitErrorDetails]:
    """The places in a value that hold a boolean, a number or a text where the annotation states another of these."""
    kinds, lists, tables = _alternatives(annotation)
    if isinstance(value, bool | int | float | str):
        if (text := _wrong(kinds, value)) is not None:
            yield {"type": PydanticCustomError("stated_type", text), "loc": at, "input": value}
    elif isinstance(value, list | tuple) and len(lists) == 1:  # of several, pydantic takes the first that fits
        items = [each for each in get_args(lists[0]) if each is not ...]
        for place, item in enumerate(value if items else ()):
            yield from _mistakes(items[min(place, len(items) - 1)], item, (*at, place))
    elif isinstance(value, Mapping) and len(tables) == 1:
        for key, item in value.items():
            yield from _mistakes(get_args(tables[0])[1], item, (*at, str(key)))


class _Alternatives(NamedTuple):
    """The types of a union: all without their arguments, and those of lists and of tables."""

    kinds: frozenset[Any]
    lists: tuple[Any, ...]
    tables: tuple[Any, ...]


@cache
def _alternatives(annotation: Any) -> _Alternatives:
    every = tuple(_without_constraints(annotation))
    return _Alternatives(
        frozenset(get_origin(each) or each for each in every),
        tuple(each for each in every if get_origin(each) in (list, tuple, set, frozenset)),
        tuple(each for each in every if get_origin(each) in (dict, Mapping)),
    )


def _without_constraints(annotation: Any) -> Iterator[Any]:
    """The types of a union, each without its constraints; `Any` for one that a validator converts."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *constraints = get_args(annotation)
        if any(isinstance(each, _CONVERTING) for each in constraints):
            yield Any
        else:
            yield from _without_constraints(inner)
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from _without_constraints(each)
    else:
        yield annotation


def _wrong(kinds: frozenset[Any], value: bool | int | float | str) -> str | None:
    """What is needed in place of a value, where only these types are possible; None if the value may be right."""
    number = next((text for kind, text in ((float, "a valid number"), (int, "a valid integer")) if kind in kinds), None)
    if number is None and bool not in kinds:
        return None
    needed = " or ".join(filter(None, [number, "a valid boolean (true or false)" if bool in kinds else None]))
    if isinstance(value, bool):
        refused = bool not in kinds and Any not in kinds
    elif isinstance(value, str):
        refused = kinds <= _PLAIN
    else:
        refused = number is None and kinds <= _PLAIN
    return f"Input should be {needed}" if refused else None
