"""Ranks the rows of a recipe by one score: reads their runs, compares them with the best, and times their draws."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from genprior.errors import GenpriorError, ScoreError, did_you_mean
from genprior.parts import Column
from genprior.recipe.load import Recipe
from genprior.runs.changed_runs import changed_settings
from genprior.runs.draw_time import seconds_to_draw
from genprior.runs.environment import device_name
from genprior.runs.find import Pending
from genprior.runs.jobs import Job
from genprior.runs.run import Run
from genprior.scoring.measure import columns_of
from genprior.tables.gather import runs_and_table, unique_labels
from genprior.tables.paired import Difference, holm, paired_difference
from genprior.tables.ranking import Ranked, Ranking
from genprior.tables.table import Cell, Row

__all__ = ["column_to_rank_by", "rank_priors"]


def column_to_rank_by(recipe: Recipe, by: str | None) -> Column:
    """The column of the scores of a recipe that rows are ranked by; by default the first with a direction.

    Args:
        recipe: the recipe.
        by: the column's key in `scores.json`.

    Raises:
        ScoreError: the recipe has no scores of which higher or lower is better, or none of this name.
    """
    found = columns_of([config.make() for plan in recipe.plans for config in plan.scores])
    columns = {key: column for key, column in found.items() if column.higher_is_better is not None}
    if not columns:
        raise ScoreError(
            f"the recipe '{recipe.name}' has no scores with a better direction, so its rows cannot be ranked; "
            "give it one, such as --set 'scores=[{ name = \"fid\" }]'"
        )
    if by is None:
        return next(iter(columns.values()))
    if by in found and by not in columns:
        raise ScoreError(
            f"--by {by}: neither higher nor lower is better, so it ranks nothing{did_you_mean('', columns)}"
        )
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
    rows, notes = [], [*table.notes, *_of_another_recipe(jobs, runs)]
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


def _of_another_recipe(jobs: Sequence[Job], runs: Sequence[Run]) -> list[str]:
    """The note that runs which are ranked have other settings than the recipe; none if they have the same."""
    ranked = {run.folder for run in runs}
    changed = changed_settings([job for job in jobs if job.folder in ranked])
    return [f"Runs here have other settings than the recipe, and are ranked as they are: {'; '.join(changed)}."] * bool(
        changed
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
        found.append(None if same else paired_difference(values, best, higher_is_better=sign < 0))
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
    seconds = [run.seconds_of_training for run in runs]
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
    if run.plan.fitted_prior is None:
        return counts.get("prior", 0)
    total = sum(counts.values())  # those of a fit are the modules of the fitted prior, and its own
    if not total:  # run folders of before have no parameters of the prior itself, as a mixture has
        with contextlib.suppress(GenpriorError):  # checkpoints may be removed to save space
            fitted = run.unread().model.part_for("fitted_prior")
            total = 0 if fitted is None else sum(p.numel() for p in fitted.parameters())
    return total


def _learned(plan: Any, parameters: int | None) -> str:
    """How the prior of a row is learned, in words; a prior whose parameters are not known may be either of two."""
    if plan is None:
        return "-"
    if plan.fitted_prior is not None:
        return "fitted afterwards"
    if dict(plan.model).get("prior") is None:
        return "no prior"
    return "-" if parameters is None else "with the model" if parameters else "fixed"


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
