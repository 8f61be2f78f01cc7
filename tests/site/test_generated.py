"""The pages that are made when the site is built: every part with its settings, every recipe, every public name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import genprior
from genprior import testing
from genprior.recipe.settings import settings_of
from genprior.registry import KINDS
from genprior.runs.trainer import Trainer
from genprior_std.parts import PARTS

from .pages import ROOT, SITE, module

RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    return module("generated")


@pytest.fixture(scope="module")
def made(generated: ModuleType) -> dict[str, str]:
    return generated.pages()


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_on_the_page_of_its_kind(kind: str, made: dict[str, str]) -> None:
    sections = re.split(r"^## ", made[f"parts/{kind}.md"], flags=re.M)[1:]
    assert {each.partition("\n")[0] for each in sections} == {f"`{part.name}`" for part in PARTS if part.kind == kind}
    for part in (each for each in PARTS if each.kind == kind):
        (section,) = (each for each in sections if each.startswith(f"`{part.name}`\n"))
        for setting in settings_of(part.Config):
            assert f"\n| `{setting.path}` | " in section
        assert (
            f"](../source/{part.__module__.replace('genprior_std', 'plugins/genprior_std').replace('.', '/')}.py.md)"
            in section
        )


def test_parts_name_the_recipes_that_use_them(made: dict[str, str]) -> None:
    (vampprior,) = re.findall(r"^## `vampprior`\n(.*?)(?=^## |\Z)", made["parts/prior.md"], re.M | re.S)
    assert "[vampprior_mnist](../recipes/vampprior_mnist.md)" in vampprior and "dcgan" not in vampprior
    unused = re.findall(r"^## `swiss_roll`\n(.*?)(?=^## |\Z)", made["parts/prior.md"], re.M | re.S)[0]
    assert "[aae_label_info]" in unused


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_has_a_page_with_its_rows_and_changes(path: Path, made: dict[str, str]) -> None:
    name = path.relative_to(ROOT / "recipes").with_suffix("").as_posix()
    page, text = made[f"recipes/{name}.md"], path.read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    shown = page.replace("\\", "")
    assert tables["title"] in shown and text in page
    assert f"[`{name}`](recipes/{name}.md)" in made["all_recipes.md"]
    for row in tables.get("row", []):
        assert f"\n| {' '.join(row['label'].split())} | " in shown
    for change in tables.get("change", {}):
        assert f"\n| `{change}` | " in page


def test_a_recipe_has_its_result_and_its_grid(made: dict[str, str]) -> None:
    page = made["recipes/priors.md"]
    assert "## Result: Results on handwritten digits" in page and "](../images/priors_digits.png)" in page
    table3 = made["recipes/table3_ablation.md"]
    row = next(
        line for line in (ROOT / "docs" / "results.md").read_text().splitlines() if line.startswith("| A+B+C | 7.56")
    )
    assert row in table3 and "](../results.md#table-3-on-handwritten-digits)" in table3
    assert "no result" in made["recipes/fig8_codes.md"]


def test_a_table_of_several_recipes_is_linked_and_not_copied(generated: ModuleType, made: dict[str, str]) -> None:
    shared = [each for each in module("recipe_pages").measured()["iwae_mnist"] if not each.alone]
    assert shared and shared[0].table and shared[0].table not in made["recipes/iwae_mnist.md"]


def test_the_reference_has_every_public_name(generated: ModuleType) -> None:
    named = {path.rpartition(".")[2] for paths in module("python_pages").public_names().values() for path in paths}
    assert set(genprior.__all__) - named <= {"__version__", "testing"}
    assert set(testing.__all__) <= named


def test_the_page_of_every_plugin_is_in_the_site(generated: ModuleType) -> None:
    plugins = {f"plugins/{page.parent.name}/README.md" for page in (ROOT / "plugins").glob("*/README.md")}
    assert "plugins/genprior_slurm/README.md" in plugins
    outside = module("page_links").OUTSIDE
    assert plugins <= outside.keys()
    menu = (SITE / "mkdocs.yml").read_text(encoding="utf-8")
    assert [outside[page] for page in sorted(plugins) if f"- {outside[page]}\n" not in menu] == []


@pytest.mark.parametrize(
    ("link", "file", "place", "expected"),
    [
        ("data.md#captions", "docs/runs.md", "runs.md", "data.md#captions"),
        ("docs/data.md", "README.md", "index.md", "data.md"),
        ("../README.md#add-a-prior", "docs/runs.md", "runs.md", "index.md#add-a-prior"),
        ("../recipes/gans/began.toml", "docs/gans.md", "gans.md", "recipes/gans/began.md"),
        ("../plugins/genprior_ring", "docs/parts.md", "parts.md", "genprior_ring.md"),
        ("../genprior/registry.py", "docs/architecture.md", "architecture.md", "source/genprior/registry.py.md"),
        ("tutorial.ipynb", "docs/how-to.md", "how-to.md", "tutorial.md"),
        ("images/mnist.png", "docs/results.md", "recipes/gans/began.md", "../../images/mnist.png"),
        ("https://example.org/a.md", "docs/runs.md", "runs.md", "https://example.org/a.md"),
        ("#here", "docs/runs.md", "runs.md", "#here"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    link: str, file: str, place: str, expected: str, generated: ModuleType
) -> None:
    text = f"See [it]({link}).\n\n```text\n[it]({link})\n```\n"
    assert module("page_links").links(text, file, place) == f"See [it]({expected}).\n\n```text\n[it]({link})\n```\n"


def test_every_link_of_a_generated_page_leads_to_a_page(made: dict[str, str]) -> None:
    """Pages of `docs` are tested as they are; these are those that exist in the site alone."""
    places = {*made, *(file.name for file in (ROOT / "docs").iterdir())}
    images = {f"images/{file.name}" for file in (ROOT / "docs" / "images").iterdir()}
    for place, text in made.items():
        if place.startswith(("parts/", "recipes/", "all_")):
            prose = re.sub(r"^````.*?^````", "", text, flags=re.M | re.S)
            for target in re.findall(r"\]\((?!#|https?:)([^)#\s]+)", prose):
                led = (Path("/") / Path(place).parent / target).as_posix()
                parts: list[str] = []
                for piece in led.split("/")[1:]:
                    parts = parts[:-1] if piece == ".." else [*parts, piece]
                assert "/".join(parts) in places | images, f"{place}: {target}"


def test_the_navigation_names_pages_that_exist(made: dict[str, str]) -> None:
    text = (SITE / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    named = re.findall(r"(?:- |: )(\S+\.md|\S+/)$", text, re.M)
    assert len(named) > 30
    for page in named:
        assert page in made or (ROOT / "docs" / page).exists() or any(each.startswith(page) for each in made), page


def test_the_list_for_programs_is_current() -> None:
    writer = module("write_llms")
    text = (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
    assert text == writer.written(), "run `make reference`"
    assert {f"{each}.md" for each in re.findall(r"^- \[[^\]]*\]\((.*)\.md\): \S", text, re.M)} == {
        file.name for file in (ROOT / "docs").glob("*.md")
    }


def test_the_picture_of_the_phases_is_that_of_the_model(tiny: Path, tmp_path: Path) -> None:
    drawing = module("draw_phases")
    picture = (ROOT / "docs" / "images" / "phases.svg").read_text(encoding="utf-8")
    assert picture == drawing.drawing(), "run `python docs/site/draw_phases.py`"
    trainer = Trainer(genprior.load_recipe(tiny, rows=["A+B+C"]).plans[0], 0, tmp_path)
    trainer.prepare()
    trained = {phase.name: set(phase.objectives(trainer.data.batch(0)).losses) for phase in trainer.phases}
    boxes = re.findall(r"data-phase='(\w+)' data-module='(\w+)' data-trained='(\w+)'", picture)
    assert trained == {phase: {m for p, m, t in boxes if p == phase and t == "true"} for phase in trained}
    assert {module for _, module, _ in boxes} <= set(trainer.modules)
