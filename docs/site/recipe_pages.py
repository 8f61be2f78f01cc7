"""Pages of the recipes, with their rows, their changes and the results that the documentation has of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from page_links import DOCS, ROOT, links, relative
from page_text import cell, plain, sections, slug

COMMAND = re.compile(r"genprior (train|check|show|bench|figure|sample|priors)\b([^`\n]*)")


class Result(NamedTuple):
    """A section of a page that begins with the command of a recipe."""

    page: str
    heading: str
    command: str
    alone: bool
    """Whether the section's commands train only this recipe; then its table and its pictures are of this recipe."""
    table: str
    images: list[str]


def recipe_files() -> list[Path]:
    """The recipes."""
    return sorted((ROOT / "recipes").rglob("*.toml"))


def name_of(path: Path) -> str:
    """The name of a recipe, such as `gans/began`."""
    return path.relative_to(ROOT / "recipes").with_suffix("").as_posix()


def recipe_pages() -> dict[str, str]:
    """A page for each recipe, and a table of them all."""
    results = measured()
    rows, made = [], {}
    for path in recipe_files():
        name, text = name_of(path), path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
        place = f"recipes/{name}.md"
        made[place] = recipe_page(name, text, tables, results.get(name, []), place)
        has, number = "yes" if results.get(name) else "", len(tables.get("row", [1]))
        data = tables.get("data", {}).get("name", "")
        rows.append(f"| [`{name}`](recipes/{name}.md) | {cell(tables['title'])} | {number} | `{data}` | {has} |")
    made["all_recipes.md"] = (
        "# Every recipe\n\nMade from the files in `recipes` when this site is built. `genprior recipes` lists them, "
        "and `genprior recipes copy NAME` copies one.\n\n| recipe | what it compares | rows | data | measured |\n"
        "|---|---|---:|---|---|\n" + "\n".join(rows) + "\n"
    )
    return made


def recipe_page(name: str, text: str, tables: Mapping[str, Any], results: list[Result], place: str) -> str:
    """The page of a recipe."""
    lines = [f"# `{name}`", f"**{plain(tables['title'])}**"]
    header = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        header.append(line[1:].removeprefix(" "))
    words, commands = [], []
    for line in header:
        (commands if line.startswith("  ") or (commands and line.strip() and line.startswith(" ")) else words).append(
            line
        )
    prose = [" ".join(each.split()) for each in "\n".join(words).split("\n\n")]
    lines += [plain(each) for each in prose if each]
    commands = [each.strip() for each in commands if each.strip()] or [f"genprior train {name}"]
    lines.append("```bash\n" + "\n".join(re.sub(r"\s{2,}(?=\S)", "  # ", each, count=1) for each in commands) + "\n```")
    lines += rows_and_changes(tables, text)
    for result in results:
        lines += shown(result, place)
    if not results:
        lines += ["## Result", "The pages have no result of this recipe."]
    lines += ["## The recipe", f"`genprior recipes copy {name}` copies it.", f"````toml\n{text}````"]
    return "\n\n".join(lines) + "\n"


def rows_and_changes(tables: Mapping[str, Any], text: str) -> list[str]:
    """The tables of the rows and of the changes of a recipe."""
    lines = ["## Rows"]
    if "row" in tables:
        body = [
            f"| {cell(row['label'])} | {', '.join(f'`{each}`' for each in row.get('changes', []))} |"
            for row in tables["row"]
        ]
        lines.append("| row | changes |\n|---|---|\n" + "\n".join(body))
    else:
        lines.append("One row: the recipe as it is.")
    changes = tables.get("change", {})
    if changes:
        in_rows = {each for row in tables.get("row", []) for each in row.get("changes", [])}
        body = []
        for change, content in changes.items():
            said = re.search(rf"^\[change\.{re.escape(change)}[.\]][^#\n]*#\s*(.*)$", text, re.M)
            sets = ", ".join(f"`{each}`" for each in flat(content))
            kind = "in rows" if change in in_rows else f"`--with {change}`"
            body.append(f"| `{change}` | {kind} | {cell(said[1]) if said else ''} | {sets} |")
        lines += ["## Changes", "| change | where | what | sets |\n|---|---|---|---|\n" + "\n".join(body)]
    return lines


def flat(table: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """The keys that a change sets, as `run.steps = 800`; long lists by their names."""
    for key, value in table.items():
        if isinstance(value, dict) and "name" not in value:
            yield from flat(value, f"{at}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{at}{key} = {', '.join(str(each.get('name')) for each in value)}"
        else:
            item = tomlkit.inline_table() if isinstance(value, dict) else None
            if item is not None:
                item.update(value)
            yield f"{at}{key} = {(item if item is not None else tomlkit.item(value)).as_string()}".replace("|", "\\|")


def shown(result: Result, place: str) -> list[str]:
    """A result on the page of its recipe."""
    anchor = slug(result.heading)
    link = relative(f"{result.page}#{anchor}", place)
    lines = [f"## Result: {result.heading}", f"```bash\n{result.command}\n```"]
    if result.alone and result.table:
        lines.append(links(result.table, f"docs/{result.page}", place))
    for image in result.images if result.alone else []:
        lines.append(links(image, f"docs/{result.page}", place))
    return [
        *lines,
        f"How it was measured, and what it shows: [{result.page.removesuffix('.md')}, {result.heading}]({link}).",
    ]


def measured() -> dict[str, list[Result]]:
    """By recipe: the sections of the pages that begin with the command that trained it."""
    found: dict[str, list[Result]] = {}
    for page in ("results.md", "priors.md"):
        for heading, body in sections((DOCS / page).read_text(encoding="utf-8")):
            opening = re.match(r"\s*((?: {4}.*\n?)+)", body)
            if not opening or "genprior" not in opening[1]:
                continue
            commands = re.sub(r"\\\n\s*", "", opening[1])
            of_opening = [name for line in commands.splitlines() for name in recipes_of(line)]
            everywhere = {name for name in recipes_of(body)}
            for name in dict.fromkeys(of_opening):
                mine = "\n".join(line.strip() for line in commands.splitlines() if name in recipes_of(line))
                table = re.search(r"(?:^\|.*\n)+", body[opening.end() :], re.M)
                images = re.findall(r"^!\[[^\]]*\]\([^)]*\)", body, re.M)
                result = Result(page, heading, mine, everywhere == {name}, table[0] if table else "", images)
                found.setdefault(name, []).append(result)
    return found


def recipes_of(text: str) -> list[str]:
    """The recipes that the training commands of a text name; `genprior priors` without one means `priors`."""
    found = []
    for command, rest in COMMAND.findall(text):
        named = re.match(r"\s+(?:recipes/)?([\w/]+?)(?:\.toml)?(?=\s|$)", rest)
        if command == "train" and named and (ROOT / "recipes" / f"{named[1]}.toml").exists():
            found.append(named[1])
        elif command == "priors" and (not named or named[1] == "priors"):
            found.append("priors")
    return found
