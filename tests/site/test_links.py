"""Links between pages lead to files and headings that exist, on GitHub and in the site."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("*.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """A page without its code."""
    text = re.sub(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1[ \t]*$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda code: "x" * len(code[0]), text)


def anchors(file: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^ {0,3}(```+).*?^ {0,3}\1[ \t]*$", "", file.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = []
    for heading in re.findall(r"^#{1,6} +(.*?) *#* *$", text, re.M):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.append("".join(c for c in words if c.isalnum() or c in "-_ ").replace(" ", "-"))
    return found


def dead(text: str, file: Path) -> list[str]:
    """The links of a text that lead nowhere; an anchor that two headings have leads to different places."""
    found = []
    for link in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.exists() or not target.is_relative_to(ROOT):
            found.append(f"{file.name}: {link}")
        elif anchor and target.suffix == ".md" and Counter(anchors(target))[anchor] != 1:
            found.append(f"{file.name}: {link} ({Counter(anchors(target))[anchor]} headings)")
    return found


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_link_is_dead(file: Path) -> None:
    assert dead(file.read_text(encoding="utf-8"), file) == []


def test_no_link_of_the_notebook_is_dead() -> None:
    file = ROOT / "docs" / "tutorial.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert dead("\n\n".join(texts), file) == [] and any(LINK.search(text) for text in texts)


def test_dead_links_are_found(tmp_path: Path) -> None:
    text = "[a](missing.md) [b](runs.md#no-heading) `[c](code.md)` [d](runs.md#the-folder) [e](https://example.org)"
    assert dead(text, ROOT / "docs" / "x.md") == ["x.md: missing.md", "x.md: runs.md#no-heading (0 headings)"]


@pytest.mark.parametrize(
    "page", ["quick-start", "concepts", "how-to", "gallery", "coming-from-pythae", "coming-from-torch-fidelity"]
)
def test_the_readme_leads_to_every_guide(page: str) -> None:
    assert f"](docs/{page}.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
