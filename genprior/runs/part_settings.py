"""Settings of a part that is chosen on the command line or in Python, and not by a recipe: figures and exporters."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from genprior.errors import PlanError, did_you_mean, meant_as_text, wrong_settings
from genprior.parts import Part, PartConfig
from genprior.registry import installed

__all__ = ["configured", "settings_table"]


def settings_table(settings: Sequence[str], example: str) -> dict[str, Any]:
    """The table of several `KEY=VALUE`; a later one replaces an earlier one of the same key.

    Args:
        settings: with TOML values; a dotted key is one of a nested table.
        example: a setting for the message.

    Raises:
        PlanError: one is no `KEY=VALUE`, or its value is not TOML.
    """
    table: dict[str, Any] = {}
    for each in settings:
        _merge(table, _setting(each, example))
    return table


def _merge(table: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        old = table.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict):
            _merge(old, value)
        else:
            table[key] = value


def _setting(text: str, example: str) -> dict[str, Any]:
    """The table of a `KEY=VALUE`.

    Raises:
        PlanError: it is none, or the value is not TOML.
    """
    key, equals, value = text.partition("=")
    try:
        if not equals or not key.strip():
            raise ValueError
        table = tomllib.loads(f"{key} = {value}")
        if not table:  # a comment
            raise ValueError
        return table
    except (ValueError, RecursionError):
        raise PlanError(
            f'--set {text}: needs KEY=VALUE with a TOML value, such as {example} or \'words=["red", "blue"]\' '
            f"(strings need double quotes, so put single quotes around the whole){meant_as_text(text)}"
        ) from None


def configured(part: type[Part], table: Mapping[str, Any], defaults: PartConfig | None = None) -> PartConfig:
    """The settings of a part.

    Args:
        part: an installed part.
        table: the settings that are given.
        defaults: other defaults than the part's own.

    Raises:
        PlanError: a setting does not exist, or has a wrong value.
    """
    possible = [key for key in part.Config.model_fields if key != "name"]
    for key in table:
        if key not in possible:
            what = did_you_mean(key, possible) if possible else "; it has no settings"
            raise PlanError(f"{part.kind} '{part.name}' has no setting '{key}'{what}")
    given = {} if defaults is None else {key: getattr(defaults, key) for key in possible}
    try:
        return part.Config.model_validate({**given, **table}, context={"registry": installed()})
    except ValidationError as error:
        raise PlanError(
            f"{part.kind} '{part.name}' refuses its settings: {wrong_settings(error)}; "
            f"`genprior parts {part.kind} {part.name}` shows them"
        ) from error
