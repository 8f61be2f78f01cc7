"""The hooks of MkDocs: adds the generated pages, moves links, lists pages that the navigation does not name.

Every page is also in the site as Markdown, beside its HTML, where `llms.txt` points to it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SITE = Path(__file__).resolve().parent
sys.path.insert(0, str(SITE))

import generated  # noqa: E402
import page_links  # noqa: E402
from mkdocs.structure.files import File  # noqa: E402

_PAGES: dict[str, str] = {}
"""The generated pages."""
_SHOWN: dict[str, str] = {}
"""The Markdown of each page of the site."""


def on_config(config: Any) -> Any:
    """List the pages of a folder that the navigation names, and under "More" those that it does not name."""
    _PAGES.clear()
    _PAGES.update(generated.pages())
    config.nav = [_filled(each) for each in config.nav]
    named = set(_places(config.nav))
    more = [each.name for each in sorted(page_links.DOCS.glob("*.md")) if each.name not in named]
    if more:
        config.nav = [*config.nav, {"More": more}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    _SHOWN.clear()
    for place, text in _PAGES.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(text: str, page: Any, config: Any, files: Any) -> str:
    """Move the links of a page of `docs`, which lead to files of the repository."""
    place = page.file.src_uri
    if page.file.generated_by is None:
        text = page_links.links(text, f"docs/{place}", place)
    _SHOWN[place] = text
    return text


def on_post_build(config: Any) -> None:
    """Write the Markdown of the pages beside their HTML."""
    for place, text in _SHOWN.items():
        file = Path(config.site_dir, place)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _filled(nav: Any) -> Any:
    """An entry of the navigation with the generated pages in the place of a folder such as `parts/`."""
    if isinstance(nav, dict):
        return {
            title: _filled([inner] if isinstance(inner, str) and inner.endswith("/") else inner)
            for title, inner in nav.items()
        }
    if isinstance(nav, list):
        return [page for each in nav for page in (_folder(each) if str(each).endswith("/") else [_filled(each)])]
    return nav


def _folder(folder: str) -> list[str]:
    return [place for place in _PAGES if place.startswith(folder)]


def _places(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [place for each in (nav.values() if isinstance(nav, dict) else nav) for place in _places(each)]
