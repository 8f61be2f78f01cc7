"""Links between files of the repository, as links between pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath, relpath

SITE = Path(__file__).resolve().parent
DOCS = SITE.parent
ROOT = DOCS.parent
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    **{
        page.relative_to(ROOT).as_posix(): f"{page.parent.name}.md"
        for page in sorted((ROOT / "plugins").glob("*/README.md"))
    },
}
"""Pages that are not in `docs`: their file, and their place in the site."""
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"(^ {0,3}(?P<mark>```+|~~~+).*?^ {0,3}(?P=mark)[ \t]*$)", re.M | re.S)


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
