"""The table of rows and scores: its best rows, and its layout as JSON, Markdown and HTML."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from genprior.errors import FORMAT, RunError, did_you_mean
from genprior.parts import Column
from genprior.tables.differences import Compared, compare, explained_differences, lines_of_differences
from genprior.tables.escape import in_html
from genprior.tables.markdown import is_bold, markdown
from genprior.tables.plain_text import plain_text
from genprior.tables.rows import Cell, Layout, Row, arrow, places

__all__ = ["Cell", "Layout", "REAL", "Row", "Table", "best_first", "is_bold", "places"]

REAL = "real, held out"
"""The label of the line with the scores of real held-out images."""
FEW = 3
"""The number of seeds below which the table advises more."""
_FACT_END = re.compile(r", (?![^(]*\))")
"""Between two facts of a protocol, and not in parentheses."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@dataclass(frozen=True)
class Table:
    """Rows of scores, and the scores of real held-out images."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    real: dict[str, float]
    missing: tuple[str, ...] = field(default=())
    """Runs that are not finished or cannot be read."""
    protocols: dict[str, str] = field(default_factory=dict)
    """How each column was measured, by the column's key; columns without any number have none."""
    caveats: dict[str, str] = field(default_factory=dict)
    """Why a column cannot be compared with published numbers, by the column's key."""
    notes: tuple[str, ...] = ()
    """Notes on rows and columns."""
    unread: tuple[str, ...] = ()
    """Runs that the operating system could not read, each with what it said; a note tells of each."""
    unreadable: tuple[str, ...] = ()
    """The runs among `missing` that cannot be read, such as one whose recipe names an unknown part; a note says why."""
    against: str | None = None
    """The label of the row that differences are to; None for the best mean of each column."""

    def row(self, label: str) -> Row:
        """The row of this label.

        Raises:
            RunError: there is none; the message lists the labels.
        """
        for row in self.rows:
            if row.label == label:
                return row
        raise RunError(f"the table has no row '{label}'{did_you_mean(label, [row.label for row in self.rows])}")

    def with_differences_to(self, label: str | None) -> Table:
        """The table with the differences of each row to this one; to the best mean of each column if None.

        Raises:
            RunError: there is no row of this label.
        """
        return dataclasses.replace(self, against=None if label is None else self.row(label).label)

    def compared(self, column: Column) -> Compared | None:
        """The rows of a column compared with the best mean; None without a direction, or with fewer than two rows."""
        return self._compared.get(column.key)

    @functools.cached_property
    def _compared(self) -> dict[str, Compared]:
        compared = {column.key: compare(self.rows, column) for column in self.columns}
        return {key: each for key, each in compared.items() if each is not None}

    @functools.cached_property
    def differences(self) -> dict[str, Compared]:
        """The differences to show, by the column's key: to the row `against`, or to the best mean of each column."""
        if self.against is None:
            return self._compared
        shown = {column.key: compare(self.rows, column, self.against) for column in self.columns}
        return {key: each for key, each in shown.items() if each is not None}

    def best(self, column: Column) -> set[str]:
        """The labels of the row with the best mean, and of all rows that are not worse than it, see `compare`."""
        compared = self.compared(column)
        return set() if compared is None else compared.best

    def bold(self, column: Column) -> str | None:
        """The label of the one row that all others are worse than; None if there is none."""
        best = self.best(column)
        return next(iter(best)) if len(best) == 1 else None

    def lines_of_differences(self) -> list[list[str]]:
        """The header and the lines of the table of differences, as text; empty if no row has several seeds."""
        return lines_of_differences(self.rows, self.columns, self.differences)

    def layout(self) -> Layout:
        """The table as text. Published numbers are in a separate column beside the measured ones; marks refer to notes.

        A number is set in bold if it is better than all others of its column, see `bold`.
        """
        notes: dict[str, int] = {}

        def mark(text: str) -> str:
            return f"[{notes.setdefault(text, len(notes) + 1)}]"

        shown = [(c, any(c.key in row.published for row in self.rows), self.bold(c)) for c in self.columns]
        timed = any(row.seconds or row.images_per_second for row in self.rows)
        header = ["row"]
        for c, published, _ in shown:
            header += [c.title + arrow(c), *(["published"] if published else [])]
        header += ["seconds", "images/s"] if timed else []
        lines = []
        for row in self.rows:
            line = [row.label]
            for c, published, bold in shown:
                if c.key in row.scores:
                    line.append(f"**{row.scores[c.key]}**" if row.label == bold else str(row.scores[c.key]))
                else:
                    line.append(f"- {mark(row.empty[c.key])}" if c.key in row.empty else "-")
                if published:
                    numbers = row.published.get(c.key, ())
                    line.append("; ".join(f"{number} {mark(number.citation)}" for number in numbers) or "-")
            if timed:
                line += [f"{cell.mean:,.0f}" if cell else "-" for cell in (row.seconds, row.images_per_second)]
            lines.append(line)
        if self.real:
            real = [REAL]
            for c, published, _ in shown:
                real += [str(Cell((self.real[c.key],))) if c.key in self.real else "-", *([""] if published else [])]
            lines.append(real + [""] * (len(header) - len(real)))
        return Layout(header, lines, list(notes))

    def as_json(self) -> dict[str, Any]:
        """The table as JSON, with the values of all seeds."""
        return {
            "format": FORMAT,
            "title": self.title,
            "columns": [{"key": c.key, "title": c.title, "higher_is_better": c.higher_is_better} for c in self.columns],
            "rows": [
                {
                    "label": row.label,
                    "seeds": list(row.seeds),
                    "scores": {
                        key: {"mean": cell.mean, "std": cell.std, "values": list(cell.values)}
                        for key, cell in row.scores.items()
                    },
                    "empty": row.empty,
                    "published": {
                        key: [number.as_json() for number in numbers] for key, numbers in row.published.items()
                    },
                    "seconds": list(row.seconds.values) if row.seconds else None,
                    "images_per_second": list(row.images_per_second.values) if row.images_per_second else None,
                }
                for row in self.rows
            ],
            "real": self.real,
            "missing": list(self.missing),
            "protocols": self.protocols,
            "caveats": self.caveats,
            "notes": list(self.notes),
            "differences": {key: each.as_json() for key, each in self.differences.items()},
            "bold": {column.key: label for column in self.columns if (label := self.bold(column))},
        }

    def _repr_markdown_(self) -> str:
        """What a notebook shows of a table that a cell ends with."""
        return self.as_markdown()

    def as_markdown(self, *, heading: bool = True) -> str:
        """The table in Markdown, below its title; without a heading for a page that has one of its own."""
        header, lines, notes = self.layout()
        above = [self.footnote(), *self.numbered(notes)]
        title, second = self.title if heading else None, self.lines_of_differences()
        return markdown(title, [header, *lines], above, self.protocol(), self.notes, second)

    @staticmethod
    def numbered(notes: Sequence[str]) -> list[str]:
        """The notes of `layout`, each after its mark."""
        return [f"[{place}] {note}" for place, note in enumerate(notes, 1)]

    def protocol(self) -> list[str]:
        """The protocol of each column; columns of one protocol, as those of one score, share a line."""
        return [f"{titles}: {protocol}" for protocol, titles in self._titles_of_protocols().items()]

    def short_protocol(self) -> list[str]:
        """The protocols for a screen: what all columns have in common is in a first line, and in no other one."""
        facts = {titles: _facts(protocol) for protocol, titles in self._titles_of_protocols().items()}
        first = next(iter(facts.values()), [])
        common = [fact for fact in first if all(fact in each for each in facts.values())] if len(facts) > 1 else []
        lines = [f"all columns: {', '.join(common)}"] if common else []
        for titles, each in facts.items():
            if own := [fact for fact in each if fact not in common]:
                lines.append(f"{titles}: {', '.join(own)}")
        return lines

    def _titles_of_protocols(self) -> dict[str, str]:
        """The titles of the columns of each protocol."""
        titles: dict[str, list[str]] = {}
        for c in self.columns:
            if c.key in self.protocols:
                titles.setdefault(self.protocols[c.key], []).append(c.title)
        return {protocol: ", ".join(columns) for protocol, columns in titles.items()}

    def footnote(self) -> str:
        """The number of seeds, rows of images, direction of the scores, caveats, what bold means, unfinished runs."""
        seeds = sorted({len(row.seeds) for row in self.rows if row.seeds}) or [1]
        several = f"{seeds[0]} to {seeds[-1]}" if seeds[0] < seeds[-1] else f"{seeds[-1]}"
        compared = sum(bool(row.scores) for row in self.rows) > 1
        over = f"One seed{', so no row is better or worse' if compared else ''}."
        if seeds[-1] > 1:
            over = f"Mean ± standard deviation over {several} seeds."
        images = [row.label for row in self.rows if row.scores and not row.seeds]
        if images and len(images) == sum(bool(row.scores) for row in self.rows):
            over = "Each row is one set of images."
        elif images:
            over += f" One set of images: {', '.join(images)}."
        text = f"{over} ↑ higher is better, ↓ lower is better."
        counts: dict[float, list[str]] = {}
        for column in self.columns:
            if column.key in self.real and (count := self.real.get(f"{column.key}_images")):
                counts.setdefault(count, []).append(column.title)
        if counts:
            described = "; ".join(f"{count:,.0f} images: {', '.join(titles)}" for count, titles in counts.items())
            text += f" Line '{REAL}': {described}."
        caveats = [self.caveats[column.key] for column in self.columns if column.key in self.caveats]
        # Caveats of two scores may share a sentence, such as that on their network.
        sentences = dict.fromkeys(_SENTENCE_END.split(" ".join(caveats)))
        text += "".join(f" {sentence}" for sentence in sentences if sentence)
        if seeds[-1] > 1 and (words := explained_differences(self.differences, self.against)):
            text += f" {words}"
        if self._compared and seeds[-1] < FEW and any(row.seeds for row in self.rows):
            text += " One or two seeds seldom tell rows apart: use more, as with --seeds 0,1,2,3,4."
        if any(self.bold(column) for column in self.columns):
            text += " Bold: every other row is worse."
        if unfinished := [each for each in self.missing if each not in self.unreadable]:
            text += f" Not finished: {', '.join(unfinished)}."
        if self.unreadable:
            text += f" Cannot be read, see the notes: {', '.join(self.unreadable)}."
        return text

    def __str__(self) -> str:
        """The table as plain text, with what is below it."""
        header, lines, notes = self.layout()
        return plain_text(
            self.title,
            [header, *([cell[2:-2] if is_bold(cell) else cell for cell in line] for line in lines)],
            [self.footnote(), *self.numbered(notes), *(f"Protocol of {text}" for text in self.short_protocol())],
            [f"Note: {note}" for note in self.notes],
            second=self.lines_of_differences(),
        )

    def as_html(self, picture: str | None = None) -> str:
        """The table as an HTML page."""
        header, lines, notes = self.layout()

        def cell(text: str, place: int) -> str:
            # In the first column, a text between asterisks is a label.
            bold = is_bold(text) and place > 0
            shown = in_html(text[2:-2] if bold else text)
            return f"<td>{f'<b>{shown}</b>' if bold else shown}</td>"

        def grid(header: Sequence[str], *lines: Sequence[str]) -> str:
            head = "".join(f"<th>{in_html(text)}</th>" for text in header)
            rows = ["".join(cell(text, place) for place, text in enumerate(line)) for line in lines]
            body = "\n".join(f"<tr>{row}</tr>" for row in rows)
            return f"<table>\n<tr>{head}</tr>\n{body}\n</table>\n"

        differences = self.lines_of_differences()
        grids = grid(header, *lines) + (grid(*differences) if differences else "")
        below = "".join(f"<br>\n{in_html(text)}" for text in [*self.numbered(notes), *self.protocol(), *self.notes])
        image = f'<p><img src="{in_html(picture)}" alt="samples of each row"></p>' if picture else ""
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{in_html(self.title)}</title>\n'
            "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
            "table{border-collapse:collapse}td,th{padding:.3rem .8rem;text-align:right;border-bottom:1px solid #ccc}"
            "td:first-child,th:first-child{text-align:left}img{max-width:100%}</style></head>\n"
            f"<body><h1>{in_html(self.title)}</h1>\n{grids}"
            f"<p>{in_html(self.footnote())}{below}</p>\n{image}</body></html>\n"
        )


def _facts(protocol: str) -> list[str]:
    return _FACT_END.split(protocol)


def best_first(table: Table) -> Table:
    """The table with its rows sorted from best to worst by the first column.

    Columns without a direction are passed over. Rows without a number in the first column come after the others, sorted
    by the first column in which they have one.
    """

    def order(row: Row) -> tuple[int, float]:
        for place, column in enumerate(table.columns):
            if column.key in row.scores and column.higher_is_better is not None:
                mean = row.scores[column.key].mean
                return place, -mean if column.higher_is_better else mean
        return len(table.columns), 0.0

    return dataclasses.replace(table, rows=tuple(sorted(table.rows, key=order)))
