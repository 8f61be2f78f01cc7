"""Writes the reference in `docs/recipe.md`: every key of a recipe, from the classes of the settings.

A kind of parts has a section if a recipe can name a part of it: in a table of the recipe itself, or in a setting of
another part. The words are the docstrings of the classes and of their settings.

    python docs/write_recipe_reference.py    # writes it
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from pydantic import BaseModel  # noqa: E402

from genprior.parts import Part  # noqa: E402
from genprior.recipe.plan import RunConfig  # noqa: E402
from genprior.recipe.settings import settings_of  # noqa: E402
from genprior.registry import GROUP, KINDS, Registry, load  # noqa: E402

PAGE = Path("docs", "recipe.md")
BEGIN, END = "<!-- written by docs/write_recipe_reference.py -->", "<!-- end of what is written -->"
FORMS = {
    "dataset": '`[data]`: `data = { name = "NAME", ... }`.',
    "score": '`scores = [{ name = "NAME", ... }, ...]`. A change replaces the whole list. Also `run.stop.score`.',
    "model": '`[model]`: `model = { name = "NAME", ... }`. Its parts are tables in it, such as `[model.prior]`.',
    "hook": "`[run.hooks.NAME]`, without `name`.",
    "optimiser": "`[optimiser.default]`, and `[optimiser.MODULE]` with what differs for a module.",
    "schedule": "`schedule` of an optimiser.",
}
"""Where a recipe has parts of a kind that stand in no other part."""


def standard() -> Registry:
    """The standard parts, whatever else is installed."""
    return load([EntryPoint("std", "genprior_std", GROUP)])


def reference(registry: Registry) -> str:
    """The whole reference as Markdown."""
    kinds = [kind for kind in KINDS if registry.names(kind) and kind in FORMS.keys() | places(registry).keys()]
    first = [kind for kind in FORMS if kind in kinds]
    sections = [run()]
    sections += [section(kind, registry) for kind in (*first, *(kind for kind in kinds if kind not in first))]
    headings = [each.partition("\n")[0].removeprefix("## ") for each in sections]
    contents = ", ".join(f"[{each}](#{each.lower().replace(' ', '-')})" for each in headings)
    return "\n\n".join([f"Sections: {contents}.", *sections])


def run() -> str:
    """The section on [run]."""
    return f"## Run\n\n`[run]`. {sentence(RunConfig)}\n\n{table(RunConfig)}"


def section(kind: str, registry: Registry) -> str:
    """The section on a kind of parts, with all its parts."""
    taken = places(registry).get(kind, {})
    where = "; ".join(f"`{field}` of {owner} {', '.join(names)}" for (field, owner), names in sorted(taken.items()))
    lines = [f"## {kind.capitalize()}", sentence(KINDS[kind])]
    form = FORMS.get(kind) or f"Where it stands: {where}."
    default_name = registry.default_name(kind)
    lines.append(form if default_name is None else f"{form} Without a name it is `{default_name}`.")
    for name in registry.names(kind):
        part = registry.find(kind, name)
        default = " On by default." if name in registry.hooks_by_default() and kind == "hook" else ""
        lines += [f"### {kind} `{name}`", sentence(part) + beyond(part) + default, table(part.Config)]
    return "\n\n".join(lines)


def beyond(part: type[Part]) -> str:
    """What the summary of a part says beyond its docstring, such as that a prior can be fitted to codes."""
    first = (inspect.getdoc(part) or "").partition("\n")[0]
    return part.summary().removeprefix(first)


@functools.cache
def places(registry: Registry) -> dict[str, dict[tuple[str, str], list[str]]]:
    """By kind: the settings that take a part of it, each with the kind and the names of the parts that have it."""
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for part in registry.all():
        for field, schema in part.Config.model_json_schema().get("properties", {}).items():
            for kind in KINDS:
                if f'"part": "{kind}"' in json.dumps(schema):
                    found.setdefault(kind, {}).setdefault((field, part.kind), []).append(f"`{part.name}`")
    return found


def sentence(described: Any) -> str:
    """The first paragraph of a docstring in a line."""
    return " ".join((inspect.getdoc(described) or "").partition("\n\n")[0].split())


def table(config: type[BaseModel]) -> str:
    """The settings of a class as a table."""
    settings = settings_of(config)
    if not settings:
        return "No settings."
    rows = [
        [f"`{each.path}`", each.type, each.default if each.default in ("required", "unset") else f"`{each.default}`"]
        + [each.meaning]
        for each in settings
    ]
    lines = [["setting", "type", "default", "meaning"], ["---"] * 4, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def written(page: str, registry: Registry) -> str:
    """The page with the reference of today between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference(registry)}\n{END}{after}"


def main() -> None:
    """Write the page."""
    file = ROOT / PAGE
    file.write_text(written(file.read_text(encoding="utf-8"), standard()), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
