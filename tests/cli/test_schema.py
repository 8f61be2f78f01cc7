from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from genprior.recipe.schema import DIALECT, recipe_schema
from genprior.registry import installed

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KEYWORDS = {
    "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength",
    "minimum", "multipleOf", "not", "pattern", "prefixItems", "properties", "required", "title", "type", "format",
    "oneOf",
}  # fmt: skip


@pytest.fixture(scope="module")
def schema():
    return recipe_schema(installed())


def wrong(schema, value, root, at="$"):
    """The places where `value` breaks `schema`: a validator for the keywords of draft 2020-12 that we use."""
    if "$ref" in schema:
        yield from wrong(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root, at)
    for key in ("anyOf", "oneOf"):
        if key in schema and all(list(wrong(each, value, root, at)) for each in schema[key]):
            yield f"{at}: no choice fits"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: is none of {schema['enum']}"
    kind = schema.get("type")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in TYPES and not isinstance(value, TYPES[kind]):
        yield f"{at}: is no {kind}"
        return
    if (kind == "number" and not number) or (kind == "integer" and not (number and value == int(value))):
        yield f"{at}: is no {kind}"
        return
    if number:
        checks = {
            "minimum": lambda limit: value >= limit,
            "maximum": lambda limit: value <= limit,
            "exclusiveMinimum": lambda limit: value > limit,
            "exclusiveMaximum": lambda limit: value < limit,
            "multipleOf": lambda limit: value % limit == 0,
        }
        yield from (f"{at}: {key}" for key, fits in checks.items() if key in schema and not fits(schema[key]))
    if isinstance(value, list):
        ahead = schema.get("prefixItems", [])
        for place, each in enumerate(value):
            yield from wrong(
                ahead[place] if place < len(ahead) else schema.get("items", {}), each, root, f"{at}[{place}]"
            )
        if len(value) < schema.get("minItems", 0) or len(value) > schema.get("maxItems", len(value)):
            yield f"{at}: wrong length"
    if isinstance(value, dict):
        yield from (f"{at}: lacks {key}" for key in schema.get("required", []) if key not in value)
        for key, each in value.items():
            if key in schema.get("properties", {}):
                yield from wrong(schema["properties"][key], each, root, f"{at}.{key}")
            elif schema.get("additionalProperties") is False:
                yield f"{at}: unknown key {key}"
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from wrong(schema["additionalProperties"], each, root, f"{at}.{key}")


def subschemas(schema):
    yield schema
    for key in ("additionalProperties", "items", "not"):
        if isinstance(schema.get(key), dict):
            yield from subschemas(schema[key])
    for key in ("$defs", "properties"):
        for each in schema.get(key, {}).values():
            yield from subschemas(each)
    for key in ("anyOf", "oneOf", "prefixItems"):
        for each in schema.get(key, []):
            yield from subschemas(each)


def test_every_registered_part_has_its_entry(schema):
    parts = installed().all()
    assert len(parts) > 30
    for part in parts:
        key = f"{part.kind}.{part.name}"
        assert {"$ref": f"#/$defs/{key}"} in schema["$defs"][part.kind]["anyOf"]
        base, change = schema["$defs"][key], schema["$defs"][f"change.{key}"]
        assert base["properties"].keys() == change["properties"].keys() == part.Config.model_fields.keys()
        assert base["properties"]["name"]["const"] == part.name
        assert base["required"] == ["name"] and not change.get("required")


def test_it_is_well_formed(schema):
    assert schema["$schema"] == DIALECT
    for each in subschemas(schema):
        assert each.keys() <= KEYWORDS, each
        if "$ref" in each:
            assert each["$ref"].removeprefix("#/$defs/") in schema["$defs"], each
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)


def test_no_placeholder_is_left(schema):
    assert not [each for each in subschemas(schema) if "part" in each]


def test_our_recipes_fit(schema):
    recipes = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))
    assert recipes
    for path in recipes:
        assert list(wrong(schema, tomllib.loads(path.read_text(encoding="utf-8")), schema)) == [], path


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("[run]\nstepz = 3", "$.run: unknown key stepz"),
        ("[run]\nsteps = 0", "$.run.steps: exclusiveMinimum"),
        ("[data]\nsize = 16", "$.data: no choice fits"),
        ('[data]\nname = "digitz"', "$.data: no choice fits"),
        ('[model]\nname = "aae"\nprior = { sigma = 1.0 }', "$.model: no choice fits"),
        ("[optimiser.default]\nlr = -1.0", "$.optimiser.default.lr: exclusiveMinimum"),
        ('[change.a.model]\nprior = { name = "nothing" }', "$.change.a.model: no choice fits"),
        ("[change.a.model]\nno_such_setting = 1", "$.change.a.model: no choice fits"),
        ("[change.a]\ntitle = 'x'", "$.change.a: unknown key title"),
        ("[change.a.when.vea.model]\nbeta = 1", "$.change.a.when: unknown key vea"),
        ("[change.a.when.vae.model]\nbate = 1", "$.change.a.when.vae.model: unknown key bate"),
        ("[[row]]\nchanges = ['a']", "$.row[0]: lacks label"),
        ("titel = 'x'", "$: unknown key titel"),
    ],
)
def test_mistakes_do_not_fit(schema, line, place):
    assert list(wrong(schema, tomllib.loads(line), schema)) == [place]


@pytest.mark.parametrize(
    "text",
    [
        "[change.a.model]\nencoder.width = 16\nimproves.prior = true",
        '[change.a.model]\nprior = { name = "code_generator", noise = 4 }',
        "[change.a]\nrun = { steps = 3 }\n[change.a.data]\nsize = 16",
    ],
)
def test_a_change_may_leave_out_anything(schema, text):
    assert list(wrong(schema, tomllib.loads(text), schema)) == []


def test_the_command_prints_or_writes_it(schema, call, tmp_path):
    assert json.loads(call("schema").stdout) == schema
    result = call("schema", "--out", tmp_path / "recipe.schema.json")
    assert result.stdout == f"written: {tmp_path / 'recipe.schema.json'}\n"
    assert json.loads((tmp_path / "recipe.schema.json").read_text()) == schema
