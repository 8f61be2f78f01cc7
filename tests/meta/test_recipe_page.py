"""docs/recipe.md: its reference is that of the code and has every key, and what it says of merging is true."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from genprior import PartConfig
from genprior.recipe.early_stopping import StopConfig
from genprior.recipe.load import _TOP, load_recipe
from genprior.recipe.plan import KeepConfig, RunConfig
from genprior.registry import installed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"<!-- example -->\n```toml\n(.*?)```", PAGE, re.DOTALL)
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_recipe_reference", ROOT / "docs" / "write_recipe_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(writer: ModuleType) -> None:
    assert writer.written(PAGE, writer.standard()) == PAGE, "run `make reference`"


def test_it_names_every_table_of_a_recipe() -> None:
    tables = PAGE.split("## Tables of a recipe")[1].split("\n## ")[0]
    for key in _TOP:
        assert re.search(rf"^\\| `\[*{key}\b", tables, re.MULTILINE), key


def section(heading: str) -> str:
    return re.split(r"\n#{2,3} ", PAGE.split(f"\n{heading}\n")[1])[0]


def test_it_names_every_setting_of_training() -> None:
    nested = {"keep": KeepConfig, "stop": StopConfig}
    inner = {f"{name}.{key}" for name, config in nested.items() for key in config.model_fields}
    for key in (set(RunConfig.model_fields) - {"keep"}) | inner:
        assert f"\n| `{key}` |" in section("## Run"), key


def missing(table: dict[str, Any], heading: str, at: str = "") -> list[str]:
    """The keys of a resolved table that its section does not have; tables of other parts have sections of their own."""
    found = []
    for key, value in table.items():
        if isinstance(value, dict) and "name" not in value:
            found += missing(value, heading, f"{at}{key}.")
        elif (at or key != "name") and f"\n| `{at}{key}` |" not in section(heading):
            found.append(f"{heading}: {at}{key}")
    return found


def parts_in(config: PartConfig) -> list[PartConfig]:
    """The settings of a part, and of the parts in it."""
    inner = [getattr(config, key) for key in type(config).model_fields]
    return [config, *(part for each in inner if isinstance(each, PartConfig) for part in parts_in(each))]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_has_every_key_of_our_recipes(path: Path) -> None:
    for plan in load_recipe(path).plans:
        for top in (plan.data, plan.model, *plan.scores, *plan.run.hooks.values()):
            for config in parts_in(top):
                table = config.model_dump(mode="json", exclude_none=True)
                assert missing(table, f"### {config.part.kind} `{config.part.name}`") == []
        for own in plan.optimiser.values():
            table = own.model_dump(mode="json")
            assert missing(table, f"### optimiser `{own.name}`") == []
            assert missing(table["schedule"], f"### schedule `{table['schedule']['name']}`") == []


def test_it_has_every_standard_part_that_a_recipe_can_name() -> None:
    registry = installed()
    for part in registry.all():
        if registry.origin(part).plugin == "std" and part.kind not in ("exporter", "figure"):
            assert f"\n### {part.kind} `{part.name}`\n" in PAGE


# ---------------------------------------------------------------------------------------------------------------------
# The example and the rules
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "example.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def test_the_example_does_what_its_comments_say(example: Path) -> None:
    recipe = load_recipe(example)
    fixed, learned = recipe.plans
    assert (fixed.label, learned.label, recipe.title) == (
        "fixed prior", "learned prior", "A fixed and a learned prior on handwritten digits",
    )  # fmt: skip
    assert (fixed.model.prior.name, learned.model.prior.name) == ("gaussian", "code_generator")
    assert (fixed.model.improves.prior, learned.model.improves.prior) == (False, True)
    assert fixed.run.seeds == (0, 1) and (fixed.run.keep.last, fixed.run.keep.every) == (2, 800)
    critic = fixed.optimiser_of("code_critic")
    assert (critic.lr, critic.schedule.name, fixed.optimiser_of("encoder").lr) == (1e-3, "cosine", 2e-3)


def test_the_changes_of_the_example_merge_and_replace(example: Path) -> None:
    fixed, learned = load_recipe(example, changes=["short", "plain_critic"]).plans
    assert (fixed.run.steps, fixed.run.batch, fixed.run.hooks["pictures"].enabled) == (400, 64, False)
    assert fixed.run.hooks["pictures"].images == 1_000  # type: ignore[attr-defined]
    assert [(score.name, score.samples) for score in fixed.scores] == [("classifier_score", 1_000)]  # type: ignore[attr-defined]
    assert (learned.model.prior.name, learned.model.prior.noise) == ("code_generator", 8)
    assert fixed.model.prior.name == "gaussian" and fixed.model.encoder.width == 16
    critic = fixed.optimiser_of("code_critic").model_dump()
    assert (critic["name"], critic["lr"], critic["schedule"]["name"]) == ("sgd", 2e-3, "cosine")
    assert "betas" not in critic
    # The command line comes last.
    (row,) = load_recipe(example, changes=["short"], settings=["run.steps=7", "title='x'"], rows=["fixed prior"]).plans
    assert (row.run.steps, row.title) == (7, "x")


def test_a_name_where_there_was_none_replaces_the_table(example: Path) -> None:
    text = EXAMPLE.replace('name = "adam"\n', "").replace('name = "sgd"', 'name = "adam"')
    example.write_text(text.replace("[change.plain_critic.optimiser.code_critic]", "[change.plain.optimiser.default]"))
    before, after = (load_recipe(example, changes=each, rows=["fixed prior"]).plans[0] for each in ([], ["plain"]))
    assert (before.optimiser_of("encoder").lr, after.optimiser_of("encoder").lr) == (2e-3, 2e-4)


def test_the_page_is_linked() -> None:
    for file in ("README.md", "docs/parts.md", "docs/writing-a-plugin.md", "docs/data.md", "docs/runs.md"):
        assert re.search(r"\]\((docs/)?recipe\.md", (ROOT / file).read_text(encoding="utf-8")), file
