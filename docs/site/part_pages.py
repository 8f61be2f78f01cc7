"""Pages of the parts, with their settings and the recipes that use them."""

from __future__ import annotations

import functools
import inspect
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from page_links import DOCS, ROOT
from page_text import docstring, plain
from recipe_pages import name_of, recipe_files

sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(DOCS)]

import write_recipe_reference as reference  # noqa: E402

import genprior  # noqa: E402
from genprior.parts import Part, PartConfig  # noqa: E402
from genprior.recipe.load import load_recipe  # noqa: E402
from genprior.registry import KINDS, Registry  # noqa: E402


def part_pages(registry: Registry) -> dict[str, str]:
    """A page for each kind of parts, with every standard part, its settings, its file and the recipes that use it."""
    used = users()
    made = {}
    for kind in KINDS:
        names = registry.names(kind)
        if not names:
            continue
        base = KINDS[kind]
        lines = [f"# {title_of(kind)}", plain(reference.sentence(base))]
        form = reference.FORMS.get(kind)
        if form:
            lines.append(f"In a recipe: {form}")
        lines.append(f"Contract, shapes and checks: [parts](../parts.md#{kind}). ")
        lines.append(
            "\n".join(f"- [`{name}`](#{name}): {plain(registry.find(kind, name).summary())}" for name in names)
        )
        for name in names:
            lines += part_section(registry.find(kind, name), used.get((kind, name), []))
        made[f"parts/{kind}.md"] = "\n\n".join(lines) + "\n"
    listing = [f"- [{title_of(kind)}](parts/{kind}.md): {', '.join(f'`{n}`' for n in registry.names(kind))}"
               for kind in KINDS if registry.names(kind)]  # fmt: skip
    made["all_parts.md"] = (
        "# Every part and its settings\n\nMade from the classes of the standard parts when this site is built. "
        "`genprior parts` lists those that are installed, with parts of other packages.\n\n" + "\n".join(listing) + "\n"
    )
    return made


def part_section(part: type[Part], recipes: list[str]) -> list[str]:
    """The section of a part."""
    lines = [f"## `{part.name}`", docstring(part)]
    beyond = reference.beyond(part).strip()
    lines += [plain(beyond)] if beyond else []
    lines.append(reference.table(part.Config).replace("| --- | --- | --- | --- |", "|---|---|---|---|"))
    where = f"File: [`{file_of(part)}`](../source/{file_of(part)}.md)."
    if recipes:
        where += " Recipes: " + ", ".join(f"[{each}](../recipes/{each}.md)" for each in recipes) + "."
    return [*lines, where]


def title_of(kind: str) -> str:
    """The heading of a kind."""
    return {"reconstruction": "Reconstruction errors", "decoder": "Decoders", "dataset": "Data sets"}.get(
        kind, kind.capitalize() + "s"
    )


def file_of(part: type[Part]) -> str:
    """The file of a standard part in the repository."""
    return Path(inspect.getfile(part)).resolve().relative_to(ROOT).as_posix()


@functools.cache
def users() -> Mapping[tuple[str, str], list[str]]:
    """The recipes that use a part, by kind and name: in a row as it is, or under one change."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in recipe_files():
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        used: set[tuple[str, str]] = set()
        for change in [None, *tables.get("change", {})]:
            try:
                recipe = load_recipe(path, changes=[] if change is None else [change])
            except genprior.GenpriorError:  # a change that no row can take alone
                continue
            for plan in recipe.plans:
                for top in (plan.data, plan.model, *plan.scores, *plan.run.hooks.values()):
                    used |= {(each.part.kind, each.part.name) for each in parts_in(top)}
                for own in plan.optimiser.values():
                    used |= {("optimiser", own.name), ("schedule", own.schedule.name)}
        for key in used:
            found.setdefault(key, []).append(name_of(path))
    return found


def parts_in(config: PartConfig) -> list[PartConfig]:
    """The settings of a part, and of the parts in it."""
    inner = [getattr(config, key) for key in type(config).model_fields]
    return [config, *(part for each in inner if isinstance(each, PartConfig) for part in parts_in(each))]
