from __future__ import annotations

import copy
import importlib.util
import json
import random
import re
import tomllib
from pathlib import Path

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genprior.errors import RecipeError
from genprior.recipe.load import load_recipe
from genprior.recipe.schema import DIALECT, recipe_schema
from genprior.registry import installed

ROOT = Path(__file__).parents[2]
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KEYWORDS = {
    "$defs", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "const", "default", "description", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maxLength", "maximum", "minItems", "minLength",
    "minimum", "multipleOf", "not", "pattern", "prefixItems", "properties", "required", "title", "type", "format",
    "oneOf", "if", "then",
}  # fmt: skip


@pytest.fixture(scope="module")
def schema():
    return recipe_schema(installed())


def wrong(schema, value, root, at="$"):
    """The places where `value` breaks `schema`: a validator for the keywords of draft 2020-12 that we use."""
    if "$ref" in schema:
        yield from wrong(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root, at)
    for each in schema.get("allOf", []):
        yield from wrong(each, value, root, at)
    if "if" in schema and not list(wrong(schema["if"], value, root, at)):
        yield from wrong(schema["then"], value, root, at)
    if "not" in schema and not list(wrong(schema["not"], value, root, at)):
        yield f"{at}: is what it must not be"
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
    for key in ("additionalProperties", "items", "not", "if", "then"):
        if isinstance(schema.get(key), dict):
            yield from subschemas(schema[key])
    for key in ("$defs", "properties"):
        for each in schema.get(key, {}).values():
            yield from subschemas(each)
    for key in ("allOf", "anyOf", "oneOf", "prefixItems"):
        for each in schema.get(key, []):
            yield from subschemas(each)


def test_every_registered_part_has_its_entry(schema):
    parts = installed().all()
    assert len(parts) > 30
    for part in parts:
        key = f"{part.kind}.{part.name}"
        for prefix in ("", "change."):
            choice = schema["$defs"][f"{prefix}{part.kind}"]
            named = {"type": "object", "properties": {"name": {"const": part.name}}, "required": ["name"]}
            assert part.name in choice["properties"]["name"]["enum"]
            assert {"if": named, "then": {"$ref": f"#/$defs/{prefix}{key}"}} in choice["allOf"]
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
    recipes = sorted((ROOT / "recipes").rglob("*.toml"))
    assert recipes
    for path in recipes:
        assert list(wrong(schema, tomllib.loads(path.read_text(encoding="utf-8")), schema)) == [], path


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("[run]\nstepz = 3", "$.run: unknown key stepz"),
        ("[run]\nsteps = 0", "$.run.steps: exclusiveMinimum"),
        ("[data]\nsize = 16", "$.data: lacks name"),
        ('[data]\nname = "digitz"', "$.data.name: is none of NAMES"),
        ("data = 'digits'", "$.data: is no object"),
        ('[model]\nname = "aae"\nprior = { sigma = 1.0 }', "$.model.prior: lacks name"),
        ('[model]\nname = "aae"\nprior = { name = "gausian" }', "$.model.prior.name: is none of NAMES"),
        ('[model]\nname = "aae"\nprior = { name = "gaussian", sgima = 1 }', "$.model.prior: unknown key sgima"),
        ('[model]\nname = "aae"\nencoder = { name = "residual", width = [] }', "$.model.encoder.width: is no integer"),
        ('[model]\nname = "aae"\nprior = "gaussian"', "$.model.prior: is no object"),
        ('scores = [{ name = "fidd" }]', "$.scores[0].name: is none of NAMES"),
        ("[optimiser.default]\nlr = -1.0", "$.optimiser.default.lr: exclusiveMinimum"),
        ('[optimiser.default]\nname = "adma"', "$.optimiser.default.name: is none of NAMES"),
        ("[optimiser.default]\nbeta = 1", "$.optimiser.default: unknown key beta"),
        ('[optimiser.default]\nname = "sgd"\nbetas = [0.5, 0.9]', "$.optimiser.default: unknown key betas"),
        ("[optimiser.encoder.schedule]\nwarm = 1", "$.optimiser.encoder.schedule: unknown key warm"),
        ('[optimiser.default.schedule]\nname = "cosin"', "$.optimiser.default.schedule.name: is none of NAMES"),
        ('[change.a.model]\nprior = { name = "nothing" }', "$.change.a.model.prior.name: is none of NAMES"),
        ("[change.a.model]\nno_such_setting = 1", "$.change.a.model: unknown key no_such_setting"),
        ("[change.a.model]\nencoder.widht = 1", "$.change.a.model.encoder: unknown key widht"),
        ("[change.a.model]\nimproves = 1", "$.change.a.model.improves: no choice fits"),
        ("[change.a]\ntitle = 'x'", "$.change.a: unknown key title"),
        ("[change.a.when.vea.model]\nbeta = 1", "$.change.a.when: unknown key vea"),
        ("[change.a.when.vae.model]\nbate = 1", "$.change.a.when.vae.model: unknown key bate"),
        ("[[row]]\nchanges = ['a']", "$.row[0]: lacks label"),
        ("titel = 'x'", "$: unknown key titel"),
    ],
)
def test_mistakes_do_not_fit(schema, line, place):
    found = [
        re.sub(r"is none of \[.*", "is none of NAMES", each) for each in wrong(schema, tomllib.loads(line), schema)
    ]
    assert found == [place]
    if importlib.util.find_spec("jsonschema") is not None:
        import jsonschema

        (error,) = jsonschema.Draft202012Validator(schema).iter_errors(tomllib.loads(line))
        assert error.json_path in place


def tables_of(table, at=()):
    """The path of each table in a recipe."""
    if isinstance(table, dict):
        yield at
    for key, each in table.items() if isinstance(table, dict) else ():
        yield from tables_of(each, (*at, key))


WHOLE = tomllib.loads((ROOT / "recipes" / "table3_ablation.toml").read_text(encoding="utf-8"))
BASE = {key: each for key, each in WHOLE.items() if key not in ("change", "row")}


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_slip_is_one_mistake_for_the_schema_as_for_genprior(schema, tmp_path, seed):
    draw = random.Random(seed)
    document = copy.deepcopy(BASE)
    path = draw.choice([each for each in tables_of(document) if each not in ((), ("optimiser",))])
    table = document
    for key in path:
        table = table[key]
    key = draw.choice([each for each in table if not isinstance(table[each], dict)] or list(table))
    value = table[key]
    slip = draw.choice(["none", "key", "value"])
    if slip == "key":  # beside the right key, because a missing one is seen only after the changes of a row
        table["".join(draw.choices("abcdefg", k=draw.randint(1, 3)))] = value
    elif slip == "value":
        # A pair of decays is wrong in two ways if it is [[]]: its first number, and the missing second one.
        table[key] = draw.choice(["no such name", [], *([[[]]] if key != "betas" else [])])
    file = tmp_path / "slip.toml"
    file.write_text(tomlkit.dumps(document), encoding="utf-8")
    try:
        load_recipe(file)
    except RecipeError as error:
        assert "a mistake" in str(error)
        assert len(list(wrong(schema, document, schema))) == 1
    else:
        assert list(wrong(schema, document, schema)) == []
        assert slip == "none" or table[key] == value or key == "steps"


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


def resolved_rows():
    """The resolved rows of our recipes, as run folders hold them."""
    for path in sorted((ROOT / "recipes").rglob("*.toml")):
        for plan in load_recipe(path).plans[:1]:
            yield path, tomllib.loads(f"format = 1\n{plan.as_toml()}")


def test_the_recipe_of_a_run_fits(schema, trained):
    files = sorted(trained.glob("*/seed-*/recipe.toml"))
    assert files
    for path in files:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        assert {"format", "label"} <= document.keys()
        assert list(wrong(schema, document, schema)) == []
        del document["format"]  # as older versions wrote it, and as `genprior show --row` prints it
        assert list(wrong(schema, document, schema)) == []
        assert list(wrong(schema, {**document, "format": 10**6}, schema)) == ["$.format: maximum"]
    for path, document in resolved_rows():
        assert list(wrong(schema, document, schema)) == [], path


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('label = "x"\nrow = []', ["label"]),
        ('label = "x"\nformat = 1\n[change.a]', ["label", "format"]),
        ("format = 1", ["format"]),
    ],
)
def test_a_recipe_with_rows_or_changes_has_no_key_of_a_resolved_one(schema, tmp_path, text, keys):
    document = tomllib.loads(text)
    assert list(wrong(schema, document, schema)) == [f"$.{key}: is what it must not be" for key in keys]
    (tmp_path / "odd.toml").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "odd.toml")
    assert all(f"unknown table '{key}'" in str(caught.value) for key in keys)
