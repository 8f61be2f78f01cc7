"""Pages of the site that are made when it is built: parts, recipes, the reference, sources, pages outside `docs`.

`pages` returns them all by their place in the site. Nothing is written here: `hooks.py` gives them to MkDocs, and tests
read them without it. Settings come from the classes of the parts, rows and changes from the recipes, results from the
sections of `docs/*.md` that begin with the command of a recipe, so that no page can be out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from page_links import DOCS, LINK, OUTSIDE, ROOT, links, site_target  # noqa: E402
from part_pages import file_of, part_pages, reference  # noqa: E402
from python_pages import python_pages  # noqa: E402
from recipe_pages import recipe_pages  # noqa: E402


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


def notebook(file: Path) -> str:
    """A notebook as a page: its text, its code, and no outputs."""
    blocks = []
    for each in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        text = "".join(each["source"])
        blocks.append(
            links(text, "docs/tutorial.ipynb", "tutorial.md")
            if each["cell_type"] == "markdown"
            else f"```python\n{text}\n```"
        )
    return "\n\n".join(blocks) + "\n"
