"""Every setting of a standard part is used: some recipe sets it, or a test tries another value than its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from genprior_std.parts import PARTS

from .settings_in_use import named_in, read_tests, set_by_recipe, settings_of

ROOT = Path(__file__).parents[2]
RECIPES = [set_by_recipe(path) for path in sorted((ROOT / "recipes").rglob("*.toml"))]
TESTS = [read_tests(path) for path in sorted((ROOT / "tests").rglob("*.py")) if path.parent != Path(__file__).parent]
RETIRED = [(part, key, value) for part in PARTS for key, value in part.Config.retired.items()]


def id_of(part: Any) -> str:
    return f"{part.kind}-{part.name}"


def test_recipes_and_tests_are_read():
    assert len(RECIPES) == 32 and all(RECIPES)
    table_3 = set_by_recipe(ROOT / "recipes" / "table3_ablation.toml")
    base, merged, nested = (
        ("encoder", "residual", "width"),
        ("critic", "code_mlp", "hidden"),
        ("model", "aae", "improves.prior"),
    )
    assert {base, merged, nested, ("score", "fid", "samples"), ("dataset", "digits", "size")} <= table_3
    assert ("decoder", "residual", "conditional") not in table_3


@pytest.mark.parametrize("part", PARTS, ids=id_of)
def test_every_setting_is_set_by_a_recipe_or_tried_by_a_test(part):
    unused = [
        setting.key
        for setting, field in settings_of(part).items()
        if not any(setting in recipe for recipe in RECIPES)
        and not any(named_in(test, setting, field, part) for test in TESTS)
    ]
    assert unused == [], "let a recipe set it, test what another value does, or make it a constant (see `retired`)"


def mistakes_of(part, key, value):
    """What is wrong with a setting, whatever is missing beside it."""
    try:
        part.Config(**{key: value})
    except ValidationError as error:
        return [each["msg"] for each in error.errors() if each["type"] != "missing"]
    return []


@pytest.mark.parametrize(("part", "key", "value"), RETIRED, ids=[f"{id_of(part)}-{key}" for part, key, _ in RETIRED])
def test_a_retired_setting_is_taken_with_its_value_alone(part, key, value):
    assert key not in part.Config.model_fields
    assert mistakes_of(part, key, value) == []
    other = not value if isinstance(value, bool) else value + 1
    (mistake,) = mistakes_of(part, key, other)
    assert f"'{key}' = {other}, but this setting was removed: its value is always {value}" in mistake
