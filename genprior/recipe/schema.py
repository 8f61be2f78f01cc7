"""The JSON schema of recipes with all installed parts, for completion and validation in editors.

A field that takes a part is `{"part": "<kind>"}` in pydantic's schema. Here it becomes a choice by name: for each
registered part, `if` the table has its name, `then` the table has its settings. So a validator reports a misspelt name,
a misspelt setting or a value of a wrong type as one error, at that key. A part has two definitions: `<kind>.<name>`, in
which the name is required, and `change.<kind>.<name>`, in which every key is optional, because a change is merged into
existing settings. A table of a change without a name may have the settings of any part of its kind, `any.<kind>`.

Only names are required. Other required keys are known only after a row's changes are applied; `genprior check`
validates them.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from genprior.errors import FORMAT
from genprior.recipe.plan import RunConfig
from genprior.registry import KINDS, Registry

__all__ = ["DIALECT", "TITLE", "recipe_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
_PREFIXES = ("", "change.")
"""Of the definitions of the base of a recipe, and of a change."""
_RESOLVED: dict[str, Schema] = {
    "format": {
        "type": "integer",
        "minimum": 1,
        "maximum": FORMAT,
        "description": "Of the recipe.toml of a run folder: the format of the files of the run.",
    },
    "label": {"type": "string", "minLength": 1, "description": "Of the recipe.toml of a run folder: its row."},
}
"""The keys that only a resolved row has, as `genprior show --row` prints it and as a run folder holds it."""
TITLE = "A genprior recipe"
"""The title of the schema."""


def recipe_schema(registry: Registry) -> Schema:
    """The schema of a recipe, draft 2020-12, with a definition for each registered part.

    Args:
        registry: the registry of the parts that a recipe may name.
    """
    definitions: dict[str, Schema] = {}
    for part in registry.all():
        key = f"{part.kind}.{part.name}"
        described = (part.__doc__ or "").partition("\n")[0]
        _define(definitions, key, part.Config, description=described, named=part.name)
    _define(definitions, "run", RunConfig)
    # The name of a hook is the key of its table and not required inside it, as in the definition of a change.
    named = {name: _ref(f"change.hook.{name}") for name in registry.names("hook")}
    definitions["run"]["properties"]["hooks"] |= _table(named)
    for kind in KINDS:
        named_by = {prefix: {name: f"{prefix}{kind}.{name}" for name in registry.names(kind)} for prefix in _PREFIXES}
        _define_any(definitions, kind, named_by["change."])
        # A table without a name is one of the default part, or of the part that it changes.
        definitions[kind] = _choice(named_by[""], f"any.{kind}", named=registry.default_name(kind) is None)
        definitions[f"change.{kind}"] = _choice(named_by["change."], f"any.{kind}")
    title = {"type": "string", "description": "The title of the recipe."}
    names = {"type": "array", "items": {"type": "string"}, "description": "Named changes, in order."}
    row = _table(
        {"label": {"type": "string", "minLength": 1, "description": "Names the row and its folder."}, "changes": names},
        required=["label"],
    )
    definitions["change"] = _table(_settings("change."))
    by_part = {part.name: _ref("change") for part in registry.all()} | {
        name: _table({**_settings("change."), "model": _ref(f"change.model.{name}")})
        for name in registry.names("model")
    }
    when = {**_table(by_part), "description": "Further settings for rows whose model is this part or has this part."}
    changes = {"type": "object", "additionalProperties": _table({**_settings("change."), "when": when})}
    return {
        "$schema": DIALECT,
        "title": TITLE,
        **_table(
            {
                **_RESOLVED,
                "title": title,
                **_settings(""),
                "change": {**changes, "description": "Named changes, for rows and for --with."},
                "row": {"type": "array", "items": row, "description": "The rows of the table, in order."},
            }
        ),
        # A resolved row has a label, and neither rows nor changes; no other recipe has a label or a format.
        "if": {"anyOf": [{"required": ["row"]}, {"required": ["change"]}, {"not": {"required": ["label"]}}]},
        "then": {"properties": {key: {"not": {}} for key in _RESOLVED}},
        "$defs": definitions,
    }


def _settings(prefix: str) -> dict[str, Schema]:
    """The keys of a recipe's base, or, with the prefix `change.`, of a change."""
    return {
        "run": _ref("run"),
        "data": _ref(f"{prefix}dataset"),
        "scores": {"type": "array", "items": _ref("score"), "description": "A change replaces the whole list."},
        "optimiser": {
            "type": "object",
            "additionalProperties": _ref("optimiser"),
            "description": '`default`, and for single modules, or for one in one phase ("PHASE/MODULE"), what differs.',
        },
        "model": _ref(f"{prefix}model"),
    }


def _define(
    definitions: dict[str, Schema], key: str, config: type[BaseModel], description: str = "", named: str | None = None
) -> None:
    """Add the definitions of a settings class, of a change to it, and of its nested tables."""
    schema = config.model_json_schema()
    inner = schema.pop("$defs", {})
    tables = {key: schema, **{f"{key}.{name}": each for name, each in inner.items()}}
    for prefix in ("", "change.") if named is not None else ("",):
        for name, table in tables.items():
            definitions[f"{prefix}{name}"] = _rewritten(table, key, prefix)
        own = definitions[f"{prefix}{key}"]
        own.pop("required", None)
        own.pop("title", None)
        if description:
            own["description"] = description
        if named is not None:
            own["properties"]["name"] = {"const": named, "description": "The name of the part."}
            own["required"] = ["name"] if not prefix else []


def _define_any(definitions: dict[str, Schema], kind: str, parts: dict[str, str]) -> None:
    """Add the definition of a table that may have the settings of any part of a kind.

    Args:
        definitions: holds those of the parts.
        kind: the kind.
        parts: the keys of the parts' definitions by name.
    """
    choices: dict[str, dict[str, Schema]] = {}
    for key in parts.values():
        for setting, schema in definitions[key]["properties"].items():
            # Settings that differ only in their descriptions and defaults are the same choice.
            bare = {word: value for word, value in schema.items() if word not in ("description", "default")}
            choices.setdefault(setting, {}).setdefault(json.dumps(bare, sort_keys=True), schema)
    properties = {
        setting: next(iter(each.values())) if len(each) == 1 else {"anyOf": list(each.values())}
        for setting, each in choices.items()
    }
    definitions[f"any.{kind}"] = _table(properties | {"name": {"enum": list(parts)}})


def _choice(parts: dict[str, str], unnamed: str, *, named: bool = False) -> Schema:
    """The choice by name among parts.

    Args:
        parts: the keys of the definitions of the parts by name.
        unnamed: the key of the definition for a table without a name.
        named: whether a table must have a name.
    """
    # An editor that does not read `if` suggests keys from the first entry, with which every table agrees.
    entries: list[Schema] = [{"anyOf": [_ref(unnamed), {}]}]
    for name, key in parts.items():
        table = {"type": "object", "properties": {"name": {"const": name}}, "required": ["name"]}
        entries.append({"if": table, "then": _ref(key)})
    if not named:
        entries.append({"if": {"type": "object", "not": {"required": ["name"]}}, "then": _ref(unnamed)})
    properties = {"name": {"enum": list(parts), "description": "The name of the part."}}
    return {"type": "object", "properties": properties, "allOf": entries} | ({"required": ["name"]} if named else {})


def _rewritten(schema: Any, owner: str, prefix: str) -> Any:
    """A copy that refers to parts and nested tables by the names of the definitions here, without required keys."""
    if isinstance(schema, list):
        return [_rewritten(each, owner, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    described = {key: schema[key] for key in ("description", "default") if key in schema}
    if "part" in schema:
        return {**_ref(f"{prefix}{schema['part']}"), **described}
    if "$ref" in schema:
        return {**_ref(f"{prefix}{owner}.{schema['$ref'].rpartition('/')[2]}"), **described}
    kept = {key: value for key, value in schema.items() if key not in ("default", "properties", "required", "title")}
    copy = {key: _rewritten(value, owner, prefix) for key, value in kept.items()}
    if isinstance(schema.get("properties"), dict):
        copy["properties"] = {key: _rewritten(value, owner, prefix) for key, value in schema["properties"].items()}
    return copy | ({"default": schema["default"]} if "default" in schema else {})


def _table(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    table: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return table | ({"required": required} if required else {})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
