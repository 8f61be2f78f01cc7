"""The reference of the public names, for mkdocstrings to fill from the docstrings."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys

from page_links import DOCS, ROOT

sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(DOCS)]

import genprior  # noqa: E402

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
