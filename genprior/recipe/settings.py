"""The settings of a part or a table in words: path, type, default and meaning, for listings and documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tomlkit
from pydantic import BaseModel

__all__ = ["Setting", "settings_of"]

_LIMITS = {
    "minimum": ">= {}", "exclusiveMinimum": "> {}", "maximum": "<= {}", "exclusiveMaximum": "< {}",
    "minItems": "at least {}", "maxItems": "at most {}", "minLength": "at least {} characters", "pattern": "like {}",
}  # fmt: skip


class Setting(NamedTuple):
    """One setting."""

    path: str
    """Its key; settings of nested tables have dotted paths."""
    type: str
    """Its type with its limits, such as `integer > 0`; a part of a kind as `a prior`."""
    default: str
    """Its default as TOML; `required` if it has none, `unset` if it may be left out."""
    meaning: str
    """Its description."""


def settings_of(config: type[BaseModel]) -> list[Setting]:
    """The settings of a class in their order, without the name of a part.

    Args:
        config: the `Config` of a part, or another table of a recipe.
    """
    schema = config.model_json_schema()
    return list(_walk(schema, "", {}, schema.get("$defs", {})))


def _walk(table: Mapping[str, Any], at: str, given: Any, definitions: Mapping[str, Any]) -> Iterator[Setting]:
    for key, field in table.get("properties", {}).items():
        if key == "name" and not at:
            continue
        default = given[key] if isinstance(given, Mapping) and key in given else field.get("default", ...)
        path = f"{at}{key}"
        # A table that may be left out is a choice between its definition and null.
        choices = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
        inner = definitions.get(choices[0].get("$ref", "").rpartition("/")[2], {}) if len(choices) == 1 else {}
        if inner.get("properties") and "anyOf" in field:
            yield Setting(path, "table", "unset", " ".join(field.get("description", "").split()))
        if inner.get("properties"):
            yield from _walk(inner, f"{path}.", default, definitions)
        else:
            shown = "required" if default is ... else "unset" if default is None else _toml(default)
            yield Setting(path, _type(field, definitions), shown, " ".join(field.get("description", "").split()))


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = [f"{tomlkit.key(key).as_string()} = {_toml(each)}" for key, each in value.items() if each is not None]
        return f"{{ {', '.join(inside)} }}" if inside else "{}"
    return json.dumps(value)


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "part" in field:
        return f"{'an' if field['part'][0] in 'aeiou' else 'a'} {field['part']}"
    if "$ref" in field:
        return _type(definitions.get(field["$ref"].rpartition("/")[2], {}), definitions)
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return " | ".join(json.dumps(each) for each in field["enum"])
    if "anyOf" in field:
        return " | ".join(_type(each, definitions) for each in field["anyOf"] if each.get("type") != "null")
    name = str(field.get("type", "any value"))
    if name == "array":
        if "prefixItems" in field:
            return f"[{', '.join(_type(each, definitions) for each in field['prefixItems'])}]"
        name = f"list of {_type(field.get('items', {}), definitions)}"
    elif name == "object":
        inside = field.get("additionalProperties")
        name = f"table of {_type(inside, definitions)}" if isinstance(inside, Mapping) else "table"
    limits = [text.format(field[key]) for key, text in _LIMITS.items() if key in field]
    return " ".join([name, ", ".join(limits)]).strip()
