"""Pages of the site that are made when it is built: parts, recipes, the reference, sources, pages outside `docs`.

`pages` returns them all by their place in the site. Nothing is written here: `hooks.py` gives them to MkDocs, and tests
read them without it. Settings come from the classes of the parts, rows and changes from the recipes, results from the
sections of `docs/*.md` that begin with the command of a recipe, so that no page can be out of date.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any, NamedTuple

SITE = Path(__file__).resolve().parent
DOCS = SITE.parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(DOCS)]

import tomlkit  # noqa: E402
import write_recipe_reference as reference  # noqa: E402

import genprior  # noqa: E402
from genprior.parts import Part, PartConfig  # noqa: E402
from genprior.recipe.load import load_recipe  # noqa: E402
from genprior.registry import KINDS, Registry  # noqa: E402

OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "plugins/genprior_ring/README.md": "genprior_ring.md",
    "plugins/genprior_text/README.md": "genprior_text.md",
}
"""Pages that are not in `docs`: their file, and their place in the site."""
NO_PICTURE = (".py", ".toml", ".jinja", ".ipynb")
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"(^ {0,3}(?P<mark>```+|~~~+).*?^ {0,3}(?P=mark)[ \t]*$)", re.M | re.S)
COMMAND = re.compile(r"genprior (train|check|show|bench|figure|sample|priors)\b([^`\n]*)")


def pages() -> dict[str, str]:
    """Markdown by place in the site, with the links of the site."""
    made = {place: links(from_outside(file), file, place) for file, place in OUTSIDE.items() if (ROOT / file).exists()}
    made |= {"tutorial.md": notebook(DOCS / "tutorial.ipynb")} if (DOCS / "tutorial.ipynb").exists() else {}
    made |= part_pages(reference.standard()) | recipe_pages() | python_pages()
    return made | source_pages()


def from_outside(file: str) -> str:
    """The text of a page that is not in `docs`."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if file == "CHANGELOG.md":
        fragments = sorted((ROOT / "changelog").glob("*.md"))
        for kind in ("added", "changed", "fixed"):
            found = [" ".join(each.read_text().split()) for each in fragments if each.name.endswith(f".{kind}.md")]
            if found:
                text += f"\n## Not yet released: {kind}\n\n" + "\n".join(f"- {each}" for each in found) + "\n"
    return text


# ---------------------------------------------------------------------------------------------------------------------
# Links
# ---------------------------------------------------------------------------------------------------------------------


def links(text: str, file: str, place: str) -> str:
    """A page with its links between files of the repository as links between pages of the site.

    Args:
        text: Markdown, whose links lead from `file` to other files of the repository.
        file: the page in the repository, such as `docs/runs.md`.
        place: the page in the site, such as `runs.md`.
    """

    def moved(match: re.Match[str]) -> str:
        target = site_target(match[2], file)
        return match[0] if target is None else f"{match[1]}{relative(target, place)}{match[3]}"

    pieces = FENCE.split(text)  # text, fence, mark of the fence, text, ...
    return "".join(LINK.sub(moved, piece) if at % 3 == 0 else piece for at, piece in enumerate(pieces) if at % 3 != 2)


def relative(target: str, place: str) -> str:
    """A place of the site with its anchor, as a link on the page at another place."""
    path, hash_, anchor = target.partition("#")
    return relpath(path, Path(place).parent.as_posix() or ".") + hash_ + anchor


def site_target(link: str, file: str) -> str | None:
    """The place in the site to which a link of a file leads, with its anchor; None if it leads elsewhere."""
    if re.match(r"[a-z]+:|#|<", link):
        return None
    path, hash_, anchor = link.partition("#")
    target = normpath((Path(file).parent / path).as_posix())
    return site_place(target) + hash_ + anchor


def site_place(target: str) -> str:
    """The place in the site of a file or folder of the repository."""
    if target in OUTSIDE or f"{target}/README.md" in OUTSIDE:
        return OUTSIDE.get(target) or OUTSIDE[f"{target}/README.md"]
    if target == "docs/tutorial.ipynb":
        return "tutorial.md"
    if target.startswith("docs/") and not target.endswith((".py", ".jinja")):
        return target.removeprefix("docs/")
    if target.startswith("recipes/") and target.endswith(".toml"):
        return target.removesuffix(".toml") + ".md"
    return f"source/{target}.md"


def linked_sources() -> list[str]:
    """The files and folders of the repository that pages link and that are no page of the site."""
    found = set()
    for page in [*sorted(DOCS.glob("*.md")), *(ROOT / file for file in OUTSIDE if (ROOT / file).exists())]:
        file = page.relative_to(ROOT).as_posix()
        for _, link, _ in LINK.findall(page.read_text(encoding="utf-8")):
            target = site_target(link, file)
            if target is not None and target.startswith("source/"):
                found.add(target.partition("#")[0].removeprefix("source/").removesuffix(".md"))
    for part in reference.standard().all():
        found.add(file_of(part))
    return sorted(each for each in found if (ROOT / each).exists())


def source_pages() -> dict[str, str]:
    """A page for each linked source file, and a list for each linked folder."""
    made = {}
    for path in linked_sources():
        head = f"---\nsearch:\n  exclude: true\n---\n\n# `{path}`\n\n"
        if (ROOT / path).is_dir():
            files = sorted(
                each for each in (ROOT / path).rglob("*") if each.is_file() and "__pycache__" not in each.parts
            )
            made[f"source/{path}.md"] = head + "\n".join(f"- `{each.relative_to(ROOT).as_posix()}`" for each in files)
        else:
            language = {"py": "python", "toml": "toml", "md": "markdown"}.get(path.rpartition(".")[2], "text")
            text = (ROOT / path).read_text(encoding="utf-8")
            made[f"source/{path}.md"] = f'{head}````{language} linenums="1"\n{text}\n````\n'
    return made


# ---------------------------------------------------------------------------------------------------------------------
# Parts
# ---------------------------------------------------------------------------------------------------------------------


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


def plain(text: str) -> str:
    """Text of a docstring outside of code, in which formulas stay as they are written."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([*<>|_\[\]])", r"\\\1", piece.replace("\\", "\\\\"))
        for piece in pieces
    )


def docstring(described: Any) -> str:
    """A docstring as Markdown: formulas, which are indented, stay as they are, and References are a paragraph."""
    blocks: list[str] = []
    for block in (inspect.getdoc(described) or "").split("\n\n"):
        lines = block.splitlines()
        heading = re.fullmatch(r"(References|Raises|Args|Returns|Note|Example):", lines[0]) if lines else None
        if heading:
            blocks.append(f"**{heading[1]}.** " + plain(" ".join(line.strip() for line in lines[1:])))
        elif lines and all(line.startswith("    ") for line in lines):
            blocks.append(block)
        elif lines and lines[0].startswith("- "):
            blocks.append("\n".join(plain(line) for line in lines))
        elif any(line.startswith("    ") for line in lines[1:]):
            at = next(i for i, line in enumerate(lines) if line.startswith("    "))
            blocks += [plain(" ".join(lines[:at])), "\n".join(lines[at:])]
        else:
            blocks.append(plain(" ".join(lines)))
    return "\n\n".join(blocks)


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


# ---------------------------------------------------------------------------------------------------------------------
# Recipes
# ---------------------------------------------------------------------------------------------------------------------


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


def sections(text: str) -> Iterator[tuple[str, str]]:
    """The headings of a page below its title, each with its text up to the next heading."""
    pieces = re.split(r"^#{2,4} (.*)$", text, flags=re.M)
    yield from zip(pieces[1::2], pieces[2::2], strict=True)


def cell(text: str) -> str:
    """Text in the cell of a table."""
    return plain(" ".join(text.split())).replace("\\\\|", "\\|")


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


# ---------------------------------------------------------------------------------------------------------------------
# Python and the notebook
# ---------------------------------------------------------------------------------------------------------------------

GROUPS = {
    "train": ("Training, runs and recipes", ()),
    "parts": ("Base classes of parts", ("parts", "hookspecs")),
    "engine": ("Steps, sampling and fits", ("engine", "randomness")),
    "data": ("Images and files", ("data", "storage")),
    "scores": ("Scores, tables and pictures", ("scoring", "tables", "pictures")),
    "errors": ("Errors", ("errors",)),
    "testing": ("Contract tests", ("testing",)),
}
"""The pages of the reference: their titles, and the rooms whose public names they have; the first has all others."""


def python_pages() -> dict[str, str]:
    """The reference of the public names, for mkdocstrings to fill from the docstrings."""
    made = {}
    for page, (title, _) in GROUPS.items():
        said = (
            "`genprior.testing`: what plugins test themselves with."
            if page == "testing"
            else "Public names of `genprior`."
        )
        body = "\n\n".join(f"::: {place}\n    options:\n      heading_level: 2" for place in public_names()[page])
        made[f"reference/{page}.md"] = f"# {title}\n\n{said}\n\n{body}\n"
    return made


@functools.cache
def public_names() -> dict[str, list[str]]:
    """By page: the full path, where it is defined, of every public name of `genprior` and `genprior.testing`."""
    found: dict[str, list[str]] = {page: [] for page in GROUPS}
    rooms = {room: page for page, (_, names) in GROUPS.items() for room in names}
    for owner, names in (
        ("genprior", genprior.__all__),
        ("genprior.testing", importlib.import_module("genprior.testing").__all__),
    ):
        for name in names:
            each = getattr(importlib.import_module(owner), name)
            home = owner if owner != "genprior" else genprior._HOME.get(name, owner)
            if inspect.isclass(each) or inspect.isfunction(each):
                home = each.__module__
            page = rooms.get(home.split(".")[1], "train") if "." in home else None
            if page is not None and not inspect.ismodule(each) and f"{home}.{name}" not in found[page]:
                found[page].append(f"{home}.{name}")
    return found


def notebook(file: Path) -> str:
    """A notebook as a page: its text, its code, and no outputs."""
    import json

    blocks = []
    for each in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        text = "".join(each["source"])
        blocks.append(
            links(text, "docs/tutorial.ipynb", "tutorial.md")
            if each["cell_type"] == "markdown"
            else f"```python\n{text}\n```"
        )
    return "\n\n".join(blocks) + "\n"
