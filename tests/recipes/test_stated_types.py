"""Settings and published numbers of another type than stated: a boolean or a text is no number, a number no boolean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

import genprior
from genprior import LauncherSettings, RecipeError, ScoreError, SettingsTable
from genprior.recipe.plan import Plan, RunConfig
from genprior.registry import installed
from genprior.tables.protocol import Protocol
from genprior.tables.published import Published, read_published

RECIPE = Path(__file__).parents[1] / "faults" / "injection" / "recipes" / "captions.toml"
INTEGER, NUMBER, BOOLEAN = "a valid integer", "a valid number", "a valid boolean (true or false)"


class Table(SettingsTable):
    """One field of each type."""

    whole: int = Field(1, ge=0)
    real: float | None = None
    flag: bool = False
    several: tuple[int, ...] = ()
    pair: tuple[float, bool] = (1.0, True)
    named: dict[str, float] = {}
    either: int | bool = 0
    number_or_name: float | str = 0.0
    wholes: int | tuple[int, ...] = 0


@pytest.mark.parametrize(
    ("setting", "needed", "got"),
    [
        ("run.steps=true", INTEGER, "True"),
        ('run.steps="10"', INTEGER, "'10'"),
        ("run.seeds=[0, true]", INTEGER, "True"),
        ("run.ema=true", NUMBER, "True"),
        ("run.keep.last=true", INTEGER, "True"),
        ("run.labels=true", NUMBER, "True"),
        ("run.hooks.pictures.enabled=0", BOOLEAN, "0"),
        ("run.stop={score={name='fid'}, every=true}", INTEGER, "True"),
        ("data.size=true", INTEGER, "True"),
        ("optimiser.default.lr=true", NUMBER, "True"),
        ("optimiser.default.lr='1e-3'", NUMBER, "'1e-3'"),
        ("model.info_weight=true", NUMBER, "True"),
        ("model.encoder.hidden=[8, true]", INTEGER, "True"),
        ("model.improves.prior=1", BOOLEAN, "1"),
        ("model.improves.prior='yes'", BOOLEAN, "'yes'"),
    ],
)
def test_a_setting_of_another_type_is_refused(setting, needed, got):
    with pytest.raises(RecipeError) as caught:
        genprior.load_recipe(RECIPE, settings=[setting])
    assert f"(--set {setting}): input should be {needed}; got {got}" in str(caught.value)


def test_a_whole_number_in_scientific_notation_is_taken():
    plan = genprior.load_recipe(RECIPE, settings=["run.steps=1e5", "run.ema_share=1", "model.info_weight=2"]).plans[0]
    assert (plan.run.steps, plan.run.ema_share, plan.model.info_weight) == (100_000, 1.0, 2.0)


@pytest.mark.parametrize("key", ["value", "spread", "verified", "protocol.samples", "protocol.labels"])
def test_a_published_number_of_another_type_is_refused(tmp_path, key):
    fields = {"method": '"a"', "data": '"digits"', "metric": '"fid"', "value": "1.5", key: "true"}
    if key == "verified":
        fields[key] = "1"
    path = tmp_path / "expected.toml"
    path.write_text("[[number]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items()))
    with pytest.raises(ScoreError, match=rf"number 1 is not valid \({re.escape(key)}.*: Input should be a valid "):
        read_published(path)


@pytest.mark.parametrize(
    ("table", "places"),
    [
        ({"whole": True}, ["whole"]),
        ({"whole": "1"}, ["whole"]),
        ({"real": False}, ["real"]),
        ({"flag": 1}, ["flag"]),
        ({"flag": 0.0}, ["flag"]),
        ({"flag": "on"}, ["flag"]),
        ({"several": [1, True, 2, "3"]}, ["several.1", "several.3"]),
        ({"pair": [True, 1]}, ["pair.0", "pair.1"]),
        ({"named": {"a": 1.0, "b": True}}, ["named.b"]),
        ({"number_or_name": True}, ["number_or_name"]),
        ({"wholes": [True]}, ["wholes.0"]),
        ({"whole": 2.0, "real": 1, "flag": True, "several": (3.0,), "pair": (1, False), "named": {"a": 1}}, []),
        ({"either": True, "number_or_name": "1", "wholes": [1, 2], "real": None}, []),
    ],
)
def test_the_places_of_another_type(table, places):
    try:
        Table.model_validate(table)
    except ValidationError as error:
        assert sorted({".".join(map(str, each["loc"][:2])) for each in error.errors()}) == places
    else:
        assert not places


OF_THE_TYPE = {"whole": st.integers(0), "real": st.floats(allow_nan=False), "flag": st.booleans()}


@given(st.fixed_dictionaries({}, optional=OF_THE_TYPE))
def test_what_is_of_the_stated_type_is_kept(table):
    made = Table.model_validate(table)
    assert {key: getattr(made, key) for key in table} == table
    assert all(type(getattr(made, key)) is type(value) for key, value in table.items())


def _tables(config: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The classes of tables that are nested in another."""
    if config in seen:
        return
    seen.add(config)
    yield config
    for field in config.model_fields.values():
        for each in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(each, type) and issubclass(each, BaseModel):
                yield from _tables(each, seen)


def test_all_tables_of_settings_are_checked():
    seen: set[type[BaseModel]] = set()
    for config in (Plan, Published, LauncherSettings, *(part.Config for part in installed().all())):
        for table in _tables(config, seen):
            assert issubclass(table, SettingsTable), table
    assert len(seen) > 150 and {RunConfig, Protocol} < seen
