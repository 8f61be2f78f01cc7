"""The table of a recipe's rows: gathered from the run folders, written as JSON, Markdown and HTML, with a picture."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genprior.files import write_json, write_text
from genprior.pictures import side_by_side
from genprior.runs import Run, load_run
from genprior.score import Column, columns_of

if TYPE_CHECKING:
    from genprior.recipe import Recipe

__all__ = ["Cell", "Row", "Table", "gather", "write_table"]


@dataclass(frozen=True)
class Cell:
    """A score over the seeds of a row."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None for one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """For example `7.43 +- 0.13`."""
        return f"{self.mean:.2f}" + (f" ± {self.std:.2f}" if self.std is not None else "")


@dataclass(frozen=True)
class Row:
    """A row of the table: the runs of one label."""

    label: str
    seeds: tuple[int, ...]
    scores: dict[str, Cell]
    seconds: Cell | None
    images_per_second: Cell | None


@dataclass(frozen=True)
class Table:
    """All rows that are finished, and the scores of real held-out images."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    real: dict[str, float]
    missing: tuple[str, ...] = field(default=())
    """Runs that are not finished."""

    def row(self, label: str) -> Row:
        """The row of this label."""
        return next(row for row in self.rows if row.label == label)

    def best(self, column: Column) -> set[str]:
        """The labels of the best row, and of those that cannot be told from it by two standard errors."""
        cells = {row.label: row.scores[column.key] for row in self.rows if column.key in row.scores}
        if len(cells) < 2:
            return set()
        pick = max if column.higher_is_better else min
        top = pick(cells, key=lambda label: cells[label].mean)
        return {
            label
            for label, cell in cells.items()
            if label == top or abs(cell.mean - cells[top].mean) <= 2 * math.hypot(_error(cell), _error(cells[top]))
        }

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The header and the lines of the table as texts; the best of a column stands between asterisks.

        A best row is marked only where it differs from some other row by more than two standard errors.
        """
        header = [
            "row",
            *(c.title + (" ↑" if c.higher_is_better else " ↓") for c in self.columns),
            "seconds",
            "images/s",
        ]
        best = {c.key: self.best(c) for c in self.columns}
        lines = []
        for row in self.rows:
            line = [row.label]
            for c in self.columns:
                text = str(row.scores[c.key]) if c.key in row.scores else "-"
                marked = row.label in best[c.key] and len(best[c.key]) < len(self.rows)
                line.append(f"**{text}**" if marked else text)
            line += [f"{cell.mean:,.0f}" if cell else "-" for cell in (row.seconds, row.images_per_second)]
            lines.append(line)
        if self.real:
            real = [f"{self.real[c.key]:.2f}" if c.key in self.real else "-" for c in self.columns]
            lines.append(["real, held out", *real, "", ""])
        return header, lines

    def as_json(self) -> dict[str, Any]:
        """The table for programs: every value of every seed."""
        return {
            "title": self.title,
            "columns": [column._asdict() for column in self.columns],
            "rows": [
                {
                    "label": row.label,
                    "seeds": list(row.seeds),
                    "scores": {
                        key: {"mean": cell.mean, "std": cell.std, "values": list(cell.values)}
                        for key, cell in row.scores.items()
                    },
                    "seconds": list(row.seconds.values) if row.seconds else None,
                    "images_per_second": list(row.images_per_second.values) if row.images_per_second else None,
                }
                for row in self.rows
            ],
            "real": self.real,
            "missing": list(self.missing),
        }

    def as_markdown(self) -> str:
        """The table in Markdown."""
        header, lines = self.cells()
        rule = ["---", *["---:"] * (len(header) - 1)]
        body = "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *lines])
        return f"# {self.title}\n\n{body}\n\n{self.footnote()}\n"

    def footnote(self) -> str:
        """What the numbers are."""
        seeds = sorted({len(row.seeds) for row in self.rows})
        over = f"mean ± standard deviation over {seeds[-1]} seeds" if seeds and seeds[-1] > 1 else "one seed"
        text = f"{over.capitalize()}. ↑ higher is better, ↓ lower is better."
        if any("classifier" in column.key for column in self.columns):
            text += " Classifier scores are of a network trained on this data set, not comparable with published ones."
        if self.missing:
            text += f" Not finished: {', '.join(self.missing)}."
        return text

    def as_html(self, picture: str | None = None) -> str:
        """The table as a page of its own."""
        header, lines = self.cells()

        def cell(tag: str, text: str) -> str:
            bold = text.startswith("**")
            shown = html.escape(text.strip("*"))
            return f"<{tag}>{f'<b>{shown}</b>' if bold else shown}</{tag}>"

        head = "".join(cell("th", text) for text in header)
        body = "\n".join("<tr>" + "".join(cell("td", text) for text in line) + "</tr>" for line in lines)
        image = f'<p><img src="{html.escape(picture)}" alt="samples of each row"></p>' if picture else ""
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>\n'
            "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
            "table{border-collapse:collapse}td,th{padding:.3rem .8rem;text-align:right;border-bottom:1px solid #ccc}"
            "td:first-child,th:first-child{text-align:left}img{max-width:100%}</style></head>\n"
            f"<body><h1>{html.escape(self.title)}</h1>\n<table>\n<tr>{head}</tr>\n{body}\n</table>\n"
            f"<p>{html.escape(self.footnote())}</p>\n{image}</body></html>\n"
        )


def _error(cell: Cell) -> float:
    return cell.std / math.sqrt(len(cell.values)) if cell.std is not None else 0.0


class _HasFolder(Protocol):
    @property
    def folder(self) -> Path: ...


def gather(title: str, runs: Iterable[Run], missing: Sequence[str] = ()) -> Table:
    """The table of finished runs; runs of one label are the seeds of one row."""
    by_label: dict[str, list[Run]] = {}
    columns: dict[str, Column] = {}
    real: dict[str, list[float]] = {}
    for run in runs:
        by_label.setdefault(run.label, []).append(run)
        columns |= columns_of([config.make() for config in run.plan.scores])
        for key, value in run.scores.items():
            if key.startswith("real_"):
                real.setdefault(key.removeprefix("real_"), []).append(value)
    rows = tuple(_row(label, group) for label, group in by_label.items())
    return Table(
        title, tuple(columns.values()), rows, {k: statistics.fmean(v) for k, v in real.items()}, tuple(missing)
    )


def _row(label: str, runs: Sequence[Run]) -> Row:
    keys = [key for key in runs[0].scores if not key.startswith("real_")]
    scores = {key: Cell(tuple(run.scores[key] for run in runs)) for key in keys if all(key in r.scores for r in runs)}
    return Row(label, tuple(run.seed for run in runs), scores, _fact(runs, "seconds"), _fact(runs, "images_per_second"))


def _fact(runs: Sequence[Run], key: str) -> Cell | None:
    values = [float(run.facts[key]) for run in runs if run.facts.get(key) is not None]
    return Cell(tuple(values)) if len(values) == len(runs) else None


def write_table(recipe: Recipe, jobs: Sequence[_HasFolder], folder: Path) -> Table:
    """Gather the runs of `jobs`, and write `table.json`, `.md`, `.html` and the rows side by side into `folder`.

    Args:
        recipe: for the title and the order of rows.
        jobs: whose folders to read.
        folder: where the table goes.
    """
    runs, missing = [], []
    for job in jobs:
        try:
            run = load_run(job.folder)
        except Exception:  # a folder that was never written, or is damaged: the table says that it is missing
            run = None
        if run is not None and run.finished:
            runs.append(run)
        else:
            missing.append(str(job.folder.relative_to(folder)))
    order = {plan.label: index for index, plan in enumerate(recipe.plans)}
    runs.sort(key=lambda run: (order[run.label], run.seed))
    table = gather(recipe.title, runs, missing)
    panels: dict[str, Any] = {}
    for run in runs:
        panels.setdefault(run.label, run)
    picture = None
    if panels:
        picture = "rows.png"
        side_by_side({label: run.sample(60) for label, run in panels.items()}, folder / picture)
    write_json(folder / "table.json", table.as_json())
    write_text(folder / "table.md", table.as_markdown())
    write_text(folder / "table.html", table.as_html(picture))
    return table
