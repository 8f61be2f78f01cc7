"""Ranks the priors of a recipe by one score, with paired differences to the best of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from genprior.errors import FORMAT, GenpriorError, ScoreError, did_you_mean
from genprior.parts import Column
from genprior.recipe.load import Recipe
from genprior.runs.draw_time import CODES, seconds_to_draw
from genprior.runs.environment import device_name
from genprior.runs.find import Pending
from genprior.runs.jobs import Job
from genprior.runs.run import Run
from genprior.scoring.measure import columns_of
from genprior.storage.files import write_json, write_text
from genprior.tables.formats import DIRECTIONS, refuse_foreign
from genprior.tables.gather import runs_and_table, unique_labels
from genprior.tables.markdown import markdown
from genprior.tables.paired import Difference, holm, paired_difference
from genprior.tables.table import Cell, Layout, Row, Table, places

__all__ = ["RANKING_FILES", "Ranked", "Ranking", "column_to_rank_by", "rank_priors", "write_ranking"]

RANKING_FILES = ("priors.json", "priors.md")
"""What a ranking writes beside the table."""


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

    def layout(self) -> Layout:
        """The ranking as text, cell by cell; marks refer to notes."""
        marks: dict[str, int] = {}

        def marked(shown: str, text: str) -> str:
            return f"{shown} [{marks.setdefault(text, len(marks) + 1)}]" if text else shown

        arrows = [f"{c.title} {'↑' if c.higher_is_better else '↓'}" for c in (self.column, *self.columns)]
        header = ["row", "rank", "prior is learned", "seeds", arrows[0], "difference", "p (Holm)", "verdict"]
        header += [*arrows[1:], "parameters", "s to train", f"s per {CODES:,} codes"]
        lines, ranked = [], self.ranked
        for place, row in enumerate(self.rows, 1):
            ranks, difference = place <= len(ranked), row.difference
            verdict = "does not rank" if not ranks else "best" if difference is None else difference.verdict
            line = [row.label, str(place) if ranks else "-", row.learned, str(len(row.seeds))]
            line += [str(row.scores[self.column.key]) if ranks else "-", _difference(difference)]
            line += ["-" if row.adjusted is None else f"{row.adjusted:.3f}", marked(verdict, row.reason)]
            for c in self.columns:
                line.append(str(row.scores[c.key]) if c.key in row.scores else marked("-", row.empty.get(c.key, "")))
            line.append("-" if row.parameters is None else f"{row.parameters:,}")
            line += ["-" if row.training is None else f"{row.training.mean:,.1f}"]
            line += ["-" if row.drawing is None else f"{row.drawing:.2g}"]
            lines.append(line)
        return Layout(header, lines, list(marks))

    def footnote(self) -> str:
        """What the columns mean, and how many comparisons were made."""
        text = f"Ranked by {self.column.title}. {DIRECTIONS} Mean ± standard deviation over seeds."
        if not self.ranked:
            return f"{text} No row ranks."
        text += f" Difference: to the best mean, that of '{self.ranked[0].label}', over the seeds that both have, ± "
        text += "standard error. Better, worse: the 95 % interval of the paired difference by Student's t excludes 0."
        if count := sum(row.adjusted is not None for row in self.rows):
            text += f" Each of the {count} comparisons errs in 5 % of cases; p (Holm) is adjusted for their number."
        if len({row.seeds for row in self.ranked}) > 1:
            text += " Rows have different seeds, so their means are of different runs."
        text += f" Seconds to train: first stage and fit together. Seconds per {CODES:,} codes: median of 3, measured "
        return f"{text}now on the CPU of this machine ({self.hardware})."

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


def column_to_rank_by(recipe: Recipe, by: str | None) -> Column:
    """The column of the scores of a recipe that rows are ranked by; by default the first.

    Args:
        recipe: the recipe.
        by: the column's key in `scores.json`.

    Raises:
        ScoreError: the recipe has no scores, or none of this name.
    """
    columns = columns_of([config.make() for plan in recipe.plans for config in plan.scores])
    if not columns:
        raise ScoreError(
            f"the recipe '{recipe.name}' has no scores, so its rows cannot be ranked; give it one, such as "
            "--set 'scores=[{ name = \"fid\" }]'"
        )
    if by is None:
        return next(iter(columns.values()))
    if by not in columns:
        raise ScoreError(f"--by {by}: no score of the recipe '{recipe.name}' measures it{did_you_mean(by, columns)}")
    return columns[by]


def rank_priors(
    recipe: Recipe,
    jobs: Sequence[Job],
    folder: Path,
    *,
    by: str | None = None,
    failures: Mapping[Path, str] | None = None,
    time: Callable[[Run], float | None] = seconds_to_draw,
) -> Ranking:
    """Rank the rows in a recipe's folder by one score.

    Args:
        recipe: for the title, the order of rows, and the scores.
        jobs: the runs of the recipe, whether or not they were begun.
        folder: the folder of its table.
        by: the column's key; by default the first column.
        failures: why runs failed, by their folders.
        time: measures the time to draw codes from a run.

    Raises:
        ScoreError: no score of the recipe has this column.
    """
    column = column_to_rank_by(recipe, by)
    found, table = runs_and_table(recipe, jobs, folder)
    runs = [each for each in found if isinstance(each, Run)]
    by_label: dict[str, list[Run]] = {}
    for run, label in zip(runs, unique_labels(runs, []), strict=True):
        by_label.setdefault(label, []).append(run)
    reasons = _reasons([each for each in found if isinstance(each, Pending)], failures or {})
    plans = {each.label: each.plan for each in found if isinstance(each, Pending) and each.plan is not None}
    rows, notes = [], list(table.notes)
    for row in table.rows:
        own, reason = by_label[row.label], reasons.pop(row.label, "")
        if column.key not in row.scores:
            reason = "; ".join(filter(None, [row.empty.get(column.key, f"it has no {column.title}"), reason]))
        drawing = None
        try:
            drawing = time(own[0].unread())
        except GenpriorError as error:  # checkpoints may be removed to save space
            notes.append(f"The time to draw codes of '{row.label}' was not measured: {error}")
        rows.append(_ranked(row, own, drawing, reason))
    rows += [Ranked(label, _learned(plans.get(label), None), reason=reason) for label, reason in reasons.items()]
    compared = _compared(rows, column)
    others = tuple(each for each in table.columns if each.key != column.key)
    title = f"{recipe.title}: priors"
    return Ranking(
        title,
        column,
        others,
        compared,
        device_name(torch.device("cpu")),
        tuple(table.protocol()),
        tuple(notes),
        unread=table.unread,
    )


def _compared(rows: Sequence[Ranked], column: Column) -> tuple[Ranked, ...]:
    """The rows from best to worst, each with its difference to the best one."""
    having = [row for row in rows if column.key in row.scores]
    sign = -1 if column.higher_is_better else 1
    order = sorted(having, key=lambda row: sign * row.scores[column.key].mean)
    found: list[Difference | None] = []
    for row in order:
        values, best = _by_seed(row, column), _by_seed(order[0], column)
        same = row is order[0]
        found.append(None if same else paired_difference(values, best, higher_is_better=column.higher_is_better))
    tested = [each.p for each in found if each is not None and each.p is not None]
    adjusted = iter(holm(tested))
    ranked = [
        dataclasses.replace(
            row, difference=each, adjusted=next(adjusted) if each is not None and each.p is not None else None
        )
        for row, each in zip(order, found, strict=True)
    ]
    return (*ranked, *(row for row in rows if column.key not in row.scores))


def _by_seed(row: Ranked, column: Column) -> dict[int, float]:
    return dict(zip(row.seeds, row.scores[column.key].values, strict=True))


def _ranked(row: Row, runs: Sequence[Run], drawing: float | None, reason: str) -> Ranked:
    seconds = [_seconds(run) for run in runs]
    known = tuple(each for each in seconds if each is not None)
    training = Cell(known) if len(known) == len(runs) else None
    parameters = _parameters(runs[0])
    learned = _learned(runs[0].plan, parameters)
    return Ranked(
        row.label, learned, row.seeds, row.scores, row.empty, None, None, parameters, training, drawing, reason
    )


def _parameters(run: Run) -> int | None:
    """The number of parameters of a run's prior; None if an older version did not record it."""
    counts = run.facts.get("parameters")
    if counts is None:
        return None
    # The modules of a fit are those of the fitted prior.
    return sum(counts.values()) if run.plan.fitted_prior is not None else counts.get("prior", 0)


def _learned(plan: Any, parameters: int | None) -> str:
    """How the prior of a row is learned, in words; a prior whose parameters are not known may be either of two."""
    if plan is None:
        return "-"
    if plan.fitted_prior is not None:
        return "fitted afterwards"
    if dict(plan.model).get("prior") is None:
        return "no prior"
    return "-" if parameters is None else "with the model" if parameters else "fixed"


def _seconds(run: Run) -> float | None:
    """The seconds of training of a run, with its first stage."""
    first = run.first_stage
    own = run.facts.get("seconds")
    return None if own is None else own + (first["seconds"] if first is not None else 0.0)


def _reasons(pending: Sequence[Pending], failures: Mapping[Path, str]) -> dict[str, str]:
    """Why runs of each row are missing, by its label; runs of the same reason share it."""
    seeds: dict[str, dict[str, list[str]]] = {}
    for each in pending:
        text = failures.get(each.folder) or each.reason or each.state
        seeds.setdefault(each.label, {}).setdefault(text, []).append(each.folder.name.replace("-", " "))
    return {
        label: "; ".join(f"{', '.join(named)}: {text}" for text, named in texts.items())
        for label, texts in seeds.items()
    }


def _difference(difference: Difference | None) -> str:
    if difference is None or difference.mean is None:
        return "-"
    shown = places(difference.mean if difference.mean or not difference.error else difference.error)
    error = "" if difference.error is None or math.isnan(difference.error) else f" ± {difference.error:.{shown}f}"
    return f"{difference.mean:+.{shown}f}{error}"


def write_ranking(ranking: Ranking, folder: Path) -> None:
    """Write `priors.json` and `priors.md` into a folder.

    Raises:
        RunError: a file of that name is there that genprior did not write; nothing is written.
        OSError: the files cannot be written.
    """
    refuse_foreign(folder, RANKING_FILES)
    write_json(folder / RANKING_FILES[0], ranking.as_json())
    write_text(folder / RANKING_FILES[1], ranking.as_markdown())
