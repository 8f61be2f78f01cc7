"""The ranking of the priors of a recipe by one score, its layout and its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genprior.errors import FORMAT
from genprior.parts import Column
from genprior.runs.draw_time import CODES
from genprior.storage.files import write_json, write_text
from genprior.tables.differences import shown_difference
from genprior.tables.formats import DIRECTIONS, refuse_foreign
from genprior.tables.markdown import markdown
from genprior.tables.paired import Difference
from genprior.tables.rows import Cell, Layout
from genprior.tables.table import Table

__all__ = ["RANKING_FILES", "Ranked", "Ranking", "ShortRanking", "write_ranking"]

RANKING_FILES = ("priors.json", "priors.md")
"""What a ranking writes beside the table."""
_ARROWS = {True: " ↑", False: " ↓", None: ""}


@dataclass(frozen=True)
class Ranked:
    """A row of the ranking."""

    label: str
    learned: str
    """How its prior is learned: `fixed`, `with the model`, `fitted afterwards`, or `no prior`."""
    seeds: tuple[int, ...] = ()
    """The seeds of its finished runs."""
    scores: Mapping[str, Cell] = field(default_factory=dict)
    """Its scores over these seeds, by the column's key."""
    empty: Mapping[str, str] = field(default_factory=dict)
    """The reason for each score that it lacks, by the column's key."""
    difference: Difference | None = None
    """Its difference to the best row; None for that row itself, and where it does not rank."""
    adjusted: float | None = None
    """The p-value of the difference by Holm's method over all rows; None if there is no p-value."""
    parameters: int | None = None
    """The parameters of its prior; None if they are not recorded."""
    training: Cell | None = None
    """Seconds of training over seeds, of the first stage and of the fit together; None if they are not known."""
    drawing: float | None = None
    """Seconds to draw 10,000 codes; None if they could not be measured."""
    reason: str = ""
    """Why runs of it are missing or it does not rank; empty for a complete row."""


@dataclass(frozen=True)
class Ranking:
    """Rows from best to worst by one column; those that do not rank come last."""

    title: str
    column: Column
    """What is ranked by."""
    columns: tuple[Column, ...]
    """The other columns."""
    rows: tuple[Ranked, ...]
    hardware: str
    """Where the drawing was timed."""
    protocols: tuple[str, ...] = ()
    """How each column was measured."""
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Runs that the operating system could not read, each with what it said."""

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """The rows that rank, the best one first."""
        return tuple(row for row in self.rows if self.column.key in row.scores)

    def short(self, page: Path) -> ShortRanking:
        """The ranking with the columns that a terminal has room for; `page` is the file with all of them."""
        return ShortRanking(self, page)

    def layout(self, *, short: bool = False) -> Layout:
        """The ranking as text, cell by cell; marks refer to notes.

        Args:
            short: leave out the scores that are not of the prior alone, p-values, parameters and times of drawing.
        """
        marks: dict[str, int] = {}

        def marked(shown: str, text: str) -> str:
            return f"{shown} [{marks.setdefault(text, len(marks) + 1)}]" if text else shown

        others = [c for c in self.columns if c.of_prior or not short]
        score, *titles = [c.title + _ARROWS[c.higher_is_better] for c in (self.column, *others)]
        if short:
            header = ["row", "rank", score, "difference", "verdict", "prior is learned", *titles, "s to train"]
        else:
            header = ["row", "rank", "prior is learned", "seeds", score, "difference", "p (Holm)", "verdict", *titles]
            header += ["parameters", "s to train", f"s per {CODES:,} codes"]
        lines, ranked = [], self.ranked
        for place, row in enumerate(self.rows, 1):
            ranks, difference = place <= len(ranked), row.difference
            first = [row.label, str(place) if ranks else "-"]
            compared = [str(row.scores[self.column.key]) if ranks else "-", shown_difference(difference)]
            verdict = "does not rank" if not ranks else "best" if difference is None else difference.verdict
            verdict = marked(verdict, row.reason)
            cells = [
                str(row.scores[c.key]) if c.key in row.scores else marked("-", row.empty.get(c.key, "")) for c in others
            ]
            training = "-" if row.training is None else f"{row.training.mean:,.1f}"
            if short:
                lines.append([*first, *compared, verdict, row.learned, *cells, training])
                continue
            line = [*first, row.learned, str(len(row.seeds)), *compared]
            line += ["-" if row.adjusted is None else f"{row.adjusted:.3f}", verdict, *cells]
            line += ["-" if row.parameters is None else f"{row.parameters:,}", training]
            lines.append([*line, "-" if row.drawing is None else f"{row.drawing:.2g}"])
        return Layout(header, lines, list(marks))

    def footnote(self) -> str:
        """What the columns mean, and how many comparisons were made."""
        text = self.footnote_of_ranks()
        if not self.ranked:
            return text
        if count := sum(row.adjusted is not None for row in self.rows):
            text += f" Each of the {count} comparisons errs in 5 % of cases; p (Holm) is adjusted for their number."
        text += f" Seconds to train: first stage and fit together. Seconds per {CODES:,} codes: median of 3, measured "
        return f"{text}now on the CPU of this machine ({self.hardware})."

    def footnote_of_ranks(self) -> str:
        """What the score, the difference and the verdict of a row mean."""
        text = f"Ranked by {self.column.title}. {DIRECTIONS} Mean ± standard deviation over seeds."
        if not self.ranked:
            return f"{text} No row ranks."
        text += f" Difference: to the best mean, that of '{self.ranked[0].label}', over the seeds that both have, ± "
        text += "standard error. Better, worse: the 95 % interval of the paired difference by Student's t excludes 0. "
        text += "This rule takes each comparison alone; tables of runs adjust theirs for all rows, by Holm's method."
        if len({row.seeds for row in self.ranked}) > 1:
            text += " Rows have different seeds, so their means are of different runs."
        return text

    @staticmethod
    def numbered(notes: Sequence[str]) -> list[str]:
        """The notes of `layout`, each after its mark."""
        return Table.numbered(notes)

    def protocol(self) -> list[str]:
        """How each column was measured."""
        return list(self.protocols)

    def as_markdown(self) -> str:
        """The ranking in Markdown."""
        header, lines, notes = self.layout()
        return markdown(
            self.title, [header, *lines], [self.footnote(), *self.numbered(notes)], self.protocols, self.notes
        )

    def as_json(self) -> dict[str, Any]:
        """The ranking as JSON, with the values of all seeds."""
        ranked = self.ranked
        return {
            "format": FORMAT,
            "title": self.title,
            "ranked_by": self.column.key,
            "higher_is_better": self.column.higher_is_better,
            "reference": ranked[0].label if ranked else None,
            "rows": [
                {
                    "label": row.label,
                    "rank": place if place <= len(ranked) else None,
                    "learned": row.learned,
                    "seeds": list(row.seeds),
                    "scores": {
                        key: {"mean": cell.mean, "std": cell.std, "values": list(cell.values)}
                        for key, cell in row.scores.items()
                    },
                    "empty": dict(row.empty),
                    "difference": None
                    if row.difference is None
                    else {**dataclasses.asdict(row.difference), "p_holm": row.adjusted},
                    "parameters": row.parameters,
                    "seconds_to_train": None if row.training is None else list(row.training.values),
                    "seconds_to_draw": row.drawing,
                    "reason": row.reason,
                }
                for place, row in enumerate(self.rows, 1)
            ],
            "codes_drawn": CODES,
            "drawn_on": self.hardware,
            "protocols": list(self.protocols),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ShortRanking:
    """A ranking for the console: what decides, and the name of the page with all else."""

    ranking: Ranking
    page: Path
    """The file with all columns and the protocols."""

    @property
    def title(self) -> str:
        """The title of the ranking."""
        return self.ranking.title

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of the ranking."""
        return self.ranking.notes

    def layout(self) -> Layout:
        """The columns that a terminal has room for, as text."""
        return self.ranking.layout(short=True)

    @staticmethod
    def lines_of_differences() -> list[list[str]]:
        """None: the ranking has a column of them."""
        return []

    def footnote(self) -> str:
        """What the columns mean, and where all others are."""
        text = f"{self.ranking.footnote_of_ranks()} Seconds to train: first stage and fit together."
        return f"{text} All scores, p-values, parameters, times and protocols: {self.page}"

    @staticmethod
    def numbered(notes: Sequence[str]) -> list[str]:
        """The notes of `layout`, each after its mark."""
        return Table.numbered(notes)

    @staticmethod
    def short_protocol() -> list[str]:
        """None: the page has the protocols."""
        return []


def write_ranking(ranking: Ranking, folder: Path) -> None:
    """Write `priors.json` and `priors.md` into a folder.

    Raises:
        RunError: a file of that name is there that genprior did not write; nothing is written.
        OSError: the files cannot be written.
    """
    refuse_foreign(folder, RANKING_FILES)
    write_json(folder / RANKING_FILES[0], ranking.as_json())
    write_text(folder / RANKING_FILES[1], ranking.as_markdown())
