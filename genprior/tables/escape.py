"""Texts of recipes, files and plugins in tables: each format shows them as they are, and never as its own markup."""

from __future__ import annotations

import html
import re

from genprior.errors import visible

__all__ = ["escaped", "in_html", "in_markdown", "in_spreadsheet", "line_in_markdown", "one_line"]

_OF_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≈": r"$\approx$",
}  # fmt: skip
_LATEX = re.compile("|".join(map(re.escape, _OF_LATEX)))

# Emphasis, code, tags, cells, entities, links and the definitions of links. An underscore inside a word is plain.
_MARKDOWN = re.compile(r"[\\`*<|~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|(?<=\])[(\[:]")
# At the start of a line: a quotation, a heading, an item of a list, and a rule.
_BLOCK = re.compile(r"(?=>|#{1,6}(?:\s|$)|[+-](?:\s|$)|(?:-\s*){3,}$|=+$)")

_FORMULA = "=+-@＝＋－＠"
# A spreadsheet whose separator is a semicolon begins a cell after it.
_INNER_FORMULA = re.compile(rf'(;[\s"]*)(?=[{re.escape(_FORMULA)}])')


def one_line(text: str) -> str:
    """The text in one line: a space in the place of each run of white space, and codes of control characters."""
    return visible(" ".join(text.split()))


def escaped(text: str) -> str:
    """The text in one line, with LaTeX's special characters escaped."""
    return _LATEX.sub(lambda match: _OF_LATEX[match.group()], one_line(text))


def in_html(text: str) -> str:
    """The text with HTML's special characters escaped, and codes of control characters."""
    return html.escape(visible(text))


def in_markdown(text: str) -> str:
    """The text in one line, without the markup, links and HTML that Markdown would find in it."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def line_in_markdown(text: str) -> str:
    """The text as a line or an item of its own, where it is no quotation, heading, list or rule either."""
    text = in_markdown(text)
    return f"\\{text}" if _BLOCK.match(text) else text


def in_spreadsheet(text: str) -> str:
    """A text cell of a CSV file, in one line, that no spreadsheet takes for a formula: an apostrophe goes before one.

    References:
        OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = _INNER_FORMULA.sub(r"\1'", one_line(text))
    return f"'{text}" if text.startswith(tuple(_FORMULA)) else text
