"""Finds runs on disk: all of them below some folders as one table, or one of them to draw images from."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genprior.errors import ScoreError, did_you_mean
from genprior.pictures.grids import side_by_side
from genprior.runs.find import Pending, find_runs, nothing_finished
from genprior.runs.run import Run, load_run
from genprior.scoring.measure import Column, columns_of
from genprior.storage.files import write_json, write_text
from genprior.tables.columns import Entry, Measured, tabulate
from genprior.tables.table import Cell, Row, Table, best_first

if TYPE_CHECKING:
    from genprior.recipe.load import Recipe

__all__ = ["Collected", "collect", "entry_of", "gather", "own_labels", "ranked", "title_of", "write_table"]


@dataclasses.dataclass(frozen=True)
class Collected:
    """A table of the runs that were found, and what a reader of it must know."""

    table: Table
    notes: tuple[str, ...]


def collect(paths: Sequence[Path]) -> Collected:
    """The table of all runs in and below some folders; what is unfinished or damaged is listed as missing.

    Numbers that cannot be compared do not share a column: a score that was measured on other data, or with other
    settings, gets a column of its own, and the cells of the other rows are empty. Runs of one label make one row only
    if they stand in one table's folder and were trained by one recipe.

    Raises:
        RunError: a path does not exist, or there is no finished run.
    """
    notes: list[str] = []
    found = find_runs(paths, notes)
    runs = [each for each in found if isinstance(each, Run)]
    missing = tuple(str(each.folder) for each in found if isinstance(each, Pending))
    if not runs:
        raise nothing_finished(paths, missing)
    entries = [entry_of(run, label) for run, label in zip(runs, own_labels(runs, notes), strict=True)]
    table, ways = tabulate(title_of(runs), entries, missing=missing)
    return Collected(table, (*notes, *ways))


def title_of(runs: Sequence[Run]) -> str:
    """The titles of the recipes of some runs."""
    return " / ".join(dict.fromkeys(run.plan.title for run in runs if run.plan.title)) or "runs"


def entry_of(run: Run, label: str) -> Entry:
    """What a finished run's own files say of its scores."""
    data = run.plan.data.model_dump(mode="json")
    own = columns_of([config.make() for config in run.plan.scores])
    return Entry(
        label,
        run.label,
        run.seed,
        [Measured(config, data, run.scores) for config in run.plan.scores],
        others={key: value for key, value in run.scores.items() if key.removeprefix("real_") not in own},
        seconds=run.facts.get("seconds"),
        images_per_second=run.facts.get("images_per_second"),
    )


def _training(run: Run) -> str:
    """What was trained, by everything that `Plan.differences` compares."""
    return "\n".join(run.plan.differences({}))


def own_labels(found: Sequence[Run | Pending], notes: list[str]) -> list[str]:
    """A label for each that belongs to one table's folder and one recipe alone."""
    homes: dict[str, dict[Path, None]] = {}
    for each in found:
        homes.setdefault(each.label, {})[each.folder.parent.parent] = None
    trained: dict[str, list[Run]] = {}
    labels = []
    for each in found:
        label = f"{each.folder.parent.parent}: {each.label}" if len(homes[each.label]) > 1 else each.label
        if isinstance(each, Run):
            known = trained.setdefault(label, [])
            place = next((n for n, run in enumerate(known) if _training(run) == _training(each)), len(known))
            if place == len(known):
                known.append(each)
            if place:
                changed = "; ".join(each.plan.differences(known[0].plan.as_table()))
                notes.append(
                    f"The seeds of '{label}' were trained by different recipes ({changed}): they are two rows."
                )
                label = f"{label} ({place + 1})"
        labels.append(label)
    return labels


def ranked(table: Table, score: str) -> Table:
    """The table with this score alone, the best row first; rows without it come last.

    Raises:
        ScoreError: no run has this score.
    """
    columns = tuple(column for column in table.columns if column.key.partition("@")[0] == score)
    if not columns:
        raise ScoreError(f"no run here has the score '{score}'{did_you_mean(score, [c.key for c in table.columns])}")
    return best_first(dataclasses.replace(table, columns=columns))


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


def _makes_images(run: Run) -> bool:
    model: Any = run.plan.model.part
    return bool(model.makes_images)


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
        if _makes_images(run):
            panels.setdefault(run.label, run)
    picture = None
    if panels:
        picture = "rows.png"
        side_by_side({label: run.sample(60) for label, run in panels.items()}, folder / picture)
    write_json(folder / "table.json", table.as_json())
    write_text(folder / "table.md", table.as_markdown())
    write_text(folder / "table.html", table.as_html(picture))
    return table
