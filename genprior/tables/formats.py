"""Writes a table to files: CSV with the values of all seeds, LaTeX for booktabs, Markdown, HTML and JSON."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from genprior.errors import RunError, refuse_newer
from genprior.parts import Column
from genprior.pictures.grids import is_side_by_side
from genprior.storage.files import to_file, write_json, write_text
from genprior.tables.escape import escaped, in_spreadsheet
from genprior.tables.rows import Row
from genprior.tables.table import Table, is_bold

__all__ = ["DIRECTIONS", "FILES", "as_csv", "as_latex", "refuse_foreign", "write_table"]

FILES = ("table.json", "table.md", "table.csv", "table.tex", "table.html")
"""The file names of a table, one for each format."""

_FIELDS = (
    "row", "score", "title", "higher_is_better", "mean", "std", "seeds", "values", "real", "empty",
    "published", "published_spread", "published_verified", "published_in", "published_differs", "protocol",
    "difference_to", "difference", "difference_error", "difference_p", "difference_seeds", "verdict",
)  # fmt: skip

DIRECTIONS = "↑ higher is better, ↓ lower is better."
"""What the arrows beside the titles of columns mean."""
_MARKS = {
    ".json": ('"title": ', '"columns": [', '"rows": [', '"missing": ['),
    ".md": ("# ", "\n\n| row |", DIRECTIONS),
    ".csv": ("row,score,title,higher_is_better,mean,std,seeds,values,",),
    ".tex": (r"\begin{table}", r"\caption{", r"$\uparrow$ higher is better, $\downarrow$ lower is better."),
    ".html": ("<!doctype html>\n<html", "<th>row</th>", DIRECTIONS),
    "priors.md": ("# ", "\n\n| row | rank |", DIRECTIONS),
    "priors.json": ('"format": ', '"ranked_by": ', '"reference": ', '"rows": ['),
    "rows.png": ("<th>row</th>", DIRECTIONS, '<img src="rows.png"'),
}
"""What every version of genprior wrote into a table of each format."""


def as_csv(table: Table) -> str:
    """The table as tidy CSV with a header: one line for each row and score.

    `values` holds the values of the seeds, separated by spaces, in the order of `seeds`; `empty` gives the reason if
    there are none. `difference` is that to the row `difference_to`, over `difference_seeds` (none if it is unpaired);
    its p-value is adjusted by Holm's method. A cell with several published numbers has one line for each of them; a
    number that was measured otherwise is left out, and `published_differs` says in what. No text is a formula for a
    spreadsheet, see `in_spreadsheet`.
    """
    text = io.StringIO()
    out = csv.DictWriter(text, _FIELDS, lineterminator="\n")
    out.writeheader()
    for row in table.rows:
        for column in table.columns:
            cell = row.scores.get(column.key)
            line = {
                "row": in_spreadsheet(row.label),
                "score": in_spreadsheet(column.key),
                "title": in_spreadsheet(column.title),
                "higher_is_better": column.higher_is_better,
                "mean": "" if cell is None else repr(cell.mean),
                "std": "" if cell is None or cell.std is None else repr(cell.std),
                "seeds": " ".join(map(str, row.seeds)),
                "values": "" if cell is None else " ".join(map(repr, cell.values)),
                "real": repr(table.real[column.key]) if column.key in table.real else "",
                "empty": "" if cell is not None else in_spreadsheet(row.empty.get(column.key, "")),
                "protocol": in_spreadsheet(table.protocols.get(column.key, "")),
            }
            line |= _difference_fields(table, row, column)
            for beside in row.published.get(column.key, ()):
                number, shown = beside.number, not beside.differences
                out.writerow(
                    line
                    | {
                        "published": repr(number.value) if shown else "",
                        "published_spread": repr(number.spread) if shown and number.spread is not None else "",
                        "published_verified": number.verified,
                        "published_in": in_spreadsheet(beside.citation),
                        "published_differs": in_spreadsheet("; ".join(beside.differences)),
                    }
                )
            if not row.published.get(column.key):
                out.writerow(line)
    return text.getvalue()


def _difference_fields(table: Table, row: Row, column: Column) -> dict[str, str]:
    """The fields of a row's difference in a column; empty where there is none."""
    compared = table.differences.get(column.key)
    each = compared.differences.get(row.label) if compared is not None else None
    if compared is None or each is None:
        return {}
    p = compared.adjusted.get(row.label)
    return {
        "difference_to": in_spreadsheet(compared.reference),
        "difference": "" if each.mean is None else repr(each.mean),
        "difference_error": "" if each.error is None else repr(each.error),
        "difference_p": "" if p is None else repr(p),
        "difference_seeds": " ".join(map(str, each.seeds)),
        "verdict": each.verdict,
    }


def as_latex(table: Table) -> str:
    r"""The table in LaTeX with the notes below it, for `\input` in a document that loads the package booktabs."""
    header, lines, notes = table.layout()

    def cell(text: str) -> str:
        return rf"\textbf{{{escaped(text[2:-2])}}}" if is_bold(text) else escaped(text)

    def line(cells: list[str]) -> str:
        # The label of a row is never bold. In braces, because a bracket at the start of a line would be read as an
        # argument of the preceding `\\`.
        return " & ".join(["{" + escaped(cells[0]) + "}", *map(cell, cells[1:])]) + r" \\"

    def tabular(header: list[str], *lines: list[str]) -> list[str]:
        return [
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *(line(cells) for cells in lines),
            r"\bottomrule",
            r"\end{tabular}",
        ]

    differences = table.lines_of_differences()
    below = [table.footnote(), *table.numbered(notes), *table.protocol()]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs} in the preamble of the document.",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(table.title)}}}",
            *tabular(header, *lines),
            *(["", r"\medskip", *tabular(*differences)] if differences else []),
            "",
            r"\medskip\footnotesize\raggedright",
            *(escaped(text) + r"\par" for text in below),
            r"\end{table}",
            "",
        ]
    )


def write_table(table: Table, folder: Path, names: Sequence[str] = FILES, picture: str | None = None) -> None:
    """Write a table into a folder.

    Args:
        table: the table.
        folder: where to write it; created if it does not exist.
        names: which of `FILES` to write.
        picture: an image file in the folder to show on the HTML page.

    Raises:
        RunError: a file of that name is there that genprior did not write; nothing is written.
        OSError: the files cannot be written.
    """
    refuse_foreign(folder, names)
    texts = {
        "table.md": table.as_markdown(),
        "table.csv": as_csv(table),
        "table.tex": as_latex(table),
        "table.html": table.as_html(picture),
    }
    for name in names:
        if name in texts:
            write_text(folder / name, texts[name])
        else:
            write_json(folder / name, table.as_json())


def refuse_foreign(folder: Path, names: Sequence[str] = FILES) -> None:
    """Check that no file of these names would be overwritten that genprior did not write.

    A table is recognised by its content, so that the tables of older versions are recognised as well; `rows.png` by its
    metadata, or, of older versions, by the page `table.html` that shows it.

    Raises:
        RunError: the folder holds such a file, or a damaged table, or is a file.
        NewerFormat: a newer genprior wrote the table.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"the table cannot be written into {folder}: it is a file; give another --out")
    for name in names:
        path = folder / name
        is_picture = name == "rows.png"
        if is_picture and path.is_file():
            with to_file("read", path):
                content = path.read_bytes()
            if is_side_by_side(content):
                continue
        shown = folder / "table.html" if is_picture else path
        marks = _MARKS.get(name) or _MARKS[path.suffix]
        with to_file("read", shown):
            text = shown.read_bytes().decode("utf-8", "replace") if shown.is_file() else ""
        if path.is_symlink() or path.exists():
            if not path.is_file() or not all(mark in text for mark in marks):
                raise RunError(
                    f"{path} was not written by genprior, or is damaged, and would be overwritten. Nothing was "
                    "changed. Move that file, or give another --out."
                )
            if path.suffix == ".json":
                with contextlib.suppress(ValueError):  # damaged, and written anew
                    refuse_newer(json.loads(text), path)
