"""The core refers to no standard part, neither by its name nor by one of its settings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import genprior
from genprior_std.parts import PARTS

CORE = Path(genprior.__file__).parent
FILES = sorted(CORE.rglob("*.py"))
NAMES = {part.name for part in PARTS}
SETTINGS = {name for part in PARTS for name in part.Config.model_fields}
WORDS = {"folder", "label", "nearest", "none", "step"}
"""Names of standard parts that are also words of the core's own: keys, the end of an empty list, an interpolation."""


def constant(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def names_parts(tree: ast.AST) -> list[str]:
    """Where a text is exactly the name of a standard part; a message that recommends one has more words in it."""
    return [
        f"line {node.lineno}: the standard part '{node.value}'"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES - WORDS
    ]


def compares_names(tree: ast.AST) -> list[str]:
    """Where something called a name is compared with the name of a standard part, whatever else the word means."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            texts = {constant(each) for side in sides for each in ast.walk(side)} & NAMES
            if texts and any(ast.unparse(side).endswith("name") for side in sides):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def looks_for_settings(tree: ast.AST) -> list[str]:
    """Where `getattr` or `hasattr` looks whether another object has a setting that some standard part has."""
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr")
        if len(node.args) > 1 and constant(node.args[1]) in SETTINGS and ast.unparse(node.args[0]) != "self"
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_file_of_the_core_knows_a_standard_part(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert names_parts(tree) + compares_names(tree) + looks_for_settings(tree) == []


@pytest.mark.parametrize(
    ("find", "code", "found"),
    [
        (names_parts, 'x = {".png": "label_grid"}', 1),
        (names_parts, "raise Error(\"use 'grid' for one label\")", 0),
        (names_parts, 'row["label"]', 0),
        (compares_names, 'config.name == "none"', 1),
        (compares_names, 'name in ("folder", "other")', 1),
        (compares_names, 'key == "label"', 0),
        (looks_for_settings, 'getattr(score.config, "samples", None)', 1),
        (looks_for_settings, 'getattr(self, "prior", None)', 0),
        (looks_for_settings, 'hasattr(signal, "pthread_sigmask")', 0),
    ],
)
def test_the_rules_find_what_they_are_for(find, code, found) -> None:
    assert len(find(ast.parse(code))) == found
