"""Text of docstrings and recipes as Markdown of the site."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any


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
