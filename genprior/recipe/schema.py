"""The JSON schema of recipes with all installed parts, for completion and validation in editors.

A field that takes a part is `{"part": "<kind>"}` in pydantic's schema. Here it becomes a choice among the settings of
all registered parts of that kind. A part has two definitions: `<kind>.<name>`, in which the name is required, and
`change.<kind>.<name>`, in which every key is optional, because a change is merged into existing settings.

Only names are required. Other required keys are known only after a row's changes are applied; `genprior check`
validates them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from genprior.recipe.optimiser import MethodConfig, OptimiserConfig, ScheduleConfig
from genprior.recipe.plan import RunConfig
from genprior.registry import KINDS, Registry

__all__ = ["DIALECT", "TITLE", "recipe_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
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
    _define_methods(definitions, "optimiser", OptimiserConfig)
    _define_methods(definitions, "schedule", ScheduleConfig)
    definitions["optimiser"]["properties"]["schedule"] = _ref("schedule")
    for kind in KINDS:
        for prefix in ("", "change."):
            chosen = [_ref(f"{prefix}{kind}.{name}") for name in registry.names(kind)]
            definitions[f"{prefix}{kind}"] = {"anyOf": chosen} if chosen else {"not": {}}
    title = {"type": "string", "description": "The title of the recipe."}
    names = {"type": "array", "items": {"type": "string"}, "description": "Named changes, in order."}
    row = _table(
        {"label": {"type": "string", "minLength": 1, "description": "Names the row and its folder."}, "changes": names},
        required=["label"],
    )
    by_part = {part.name: _table(_settings("change.")) for part in registry.all()} | {
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
                "title": title,
                **_settings(""),
                "change": {**changes, "description": "Named changes, for rows and for --with."},
                "row": {"type": "array", "items": row, "description": "The rows of the table, in order."},
            }
        ),
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
            "description": "`default`, and for single modules the settings that differ from it.",
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


def _define_methods(definitions: dict[str, Schema], key: str, family: type[MethodConfig]) -> None:
    """Add the definition of a family of methods: all their settings, and the choice among the sets of settings.

    A name is not required, because the tables of changes and of single modules have only what differs.
    """
    schemas = {name: each.model_json_schema()["properties"] for name, each in family.methods.items()}
    properties = {setting: each for schema in schemas.values() for setting, each in schema.items()}
    methods = "; ".join(f"{name}: {(each.__doc__ or '').rstrip('.')}" for name, each in family.methods.items())
    name = {"enum": list(schemas), "default": family.default, "description": f"The method. {methods}."}
    definitions[key] = {
        **_table({each: _rewritten(schema, key, "") for each, schema in properties.items()} | {"name": name}),
        "description": (family.__doc__ or "").partition("\n")[0],
        "anyOf": [
            _table({**dict.fromkeys(schema, {}), "name": {"const": method}}) for method, schema in schemas.items()
        ],
    }


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
