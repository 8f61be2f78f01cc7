"""Builds the table of the runs of a recipe, or of all runs in and below given folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import Tensor

from genprior.errors import CheckpointError, RunError, ScoreError, listed
from genprior.parts import Model, PartConfig
from genprior.pictures.grids import side_by_side
from genprior.recipe.load import Recipe
from genprior.registry import installed
from genprior.runs.exported_files import row_folder
from genprior.runs.find import Pending, find_runs, look_at, nothing_finished, run_folders
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import Job
from genprior.runs.run import Run
from genprior.scoring.measure import columns_of
from genprior.storage.files import to_file
from genprior.tables.columns import Entry, Measured, tabulate
from genprior.tables.formats import refuse_foreign, write_table
from genprior.tables.protocol import facts_of
from genprior.tables.published import Published, of_plugins
from genprior.tables.table import Table

__all__ = [
    "TABLE_FILES",
    "being_lengthened",
    "entry_of",
    "notes_of_early_stopping",
    "sorted_by_row",
    "unique_labels",
    "run_of_job",
    "runs_and_table",
    "table_below",
    "table_of_jobs",
    "title_of",
    "unread_among",
    "write_table_of_jobs",
]

TABLE_FILES = ("table.json", "table.md", "table.html", "rows.png")
"""What training writes beside the folders of the rows; the picture is last."""


def table_below(paths: Sequence[Path]) -> Table:
    """The table of all runs in and below the given folders; unfinished and damaged runs are listed as missing.

    A score that was measured on other data or with other settings gets a separate column, in which the cells of the
    other rows are empty. Runs with the same label form one row only if they are in the same run folder and were trained
    with the same recipe.

    Raises:
        RunError: a path does not exist, or there is no finished run.
    """
    notes: list[str] = []
    found = find_runs(paths, notes)
    runs = [each for each in found if isinstance(each, Run)]
    pending = [each for each in found if isinstance(each, Pending)]
    if not runs:
        raise nothing_finished(paths, pending)
    table = _table(title_of(runs), runs, [str(each.folder) for each in pending], notes)
    unreadable = tuple(str(each.folder) for each in pending if each.reason)
    return dataclasses.replace(table, unread=unread_among(found), unreadable=unreadable)


def table_of_jobs(recipe: Recipe, jobs: Sequence[Job], folder: Path) -> Table:
    """The table of all finished runs in a recipe's folder; those that are not finished are listed as missing.

    Args:
        recipe: for the title and the order of rows.
        jobs: the runs of the recipe, whether or not they were begun.
        folder: the folder that contains the folders of the jobs, and perhaps those of other rows and seeds.
    """
    return runs_and_table(recipe, jobs, folder)[1]


def write_table_of_jobs(recipe: Recipe, jobs: Sequence[Job], folder: Path) -> Table:
    """Write a recipe's table: `table.json`, `table.md`, `table.html`, and `rows.png` with samples of each row.

    The table of runs that are being trained to more steps stays as it is until all of them are finished.

    Args:
        recipe: for the title and the order of rows.
        jobs: the runs of the recipe, whether or not they were begun.
        folder: the folder to write to, which contains the folders of the jobs.

    Raises:
        RunError: the folder holds a file of that name that genprior did not write.
        OSError: the files cannot be written.
    """
    found, table = runs_and_table(recipe, jobs, folder)
    runs = [each for each in found if isinstance(each, Run)]
    if (folder / TABLE_FILES[0]).exists() and being_lengthened(folder):
        return table
    first: dict[str, Run] = {}
    for run in runs:
        if cast(type[Model], run.plan.model.part).makes_images:
            first.setdefault(run.label, run)
    images: dict[str, Tensor] = {}
    for label, run in first.items():
        try:
            images[label] = run.unread().sample(60)
        except (CheckpointError, RunError) as error:  # checkpoints may be removed to save space
            table = dataclasses.replace(table, notes=(*table.notes, f"rows.png lacks '{label}': {error}"))
    refuse_foreign(folder, TABLE_FILES)
    if not first:  # a picture of rows that are not in the table any more; one of runs without checkpoints is kept
        with to_file("remove", folder / TABLE_FILES[-1]):
            (folder / TABLE_FILES[-1]).unlink(missing_ok=True)
    # The picture is written last: the page that shows it says that it is ours.
    write_table(table, folder, TABLE_FILES[:-1], TABLE_FILES[-1] if images else None)
    if images:
        side_by_side(images, folder / TABLE_FILES[-1])
    return table


def being_lengthened(folder: Path) -> list[Path]:
    """The folders of runs below a table's folder that were finished and are now trained to another number of steps."""
    return [each for each in run_folders(folder, "*/*/run.json") if RunFolder(each).fact("scored_step") is not None]


def runs_and_table(recipe: Recipe, jobs: Sequence[Job], folder: Path) -> tuple[list[Run | Pending], Table]:
    """The runs in a recipe's folder, finished or not, in the order of its table; and that table.

    Args:
        recipe: for the title and the order of rows.
        jobs: the runs of the recipe, whether or not they were begun.
        folder: the folder that contains the folders of the jobs, and perhaps those of other rows and seeds.
    """
    notes: list[str] = []
    of_recipe = {job.folder: job for job in jobs}
    begun = run_folders(folder, "*/*/run.json")
    others = [each for each in begun if each not in of_recipe]
    # The recipe's order of rows, then the order of the table so far; seeds in order within a row. The own recipe of a
    # run has one row, and no order of the table's.
    of_table, own = [each.parent.name for each in begun], [*recipe.order, *(job.plan.label for job in jobs)]
    rows = dict.fromkeys([*own, *of_table] if recipe.home is None else [*of_table, *own])
    places = {label: place for place, label in enumerate(rows)}
    folders = sorted([*of_recipe, *others], key=lambda each: (places[each.parent.name], _seed_of(each)))
    found = [run_of_job(of_recipe[each], notes) if each in of_recipe else look_at(each, notes) for each in folders]
    runs = [each for each in found if isinstance(each, Run)]
    pending = [each for each in found if isinstance(each, Pending)]
    missing = [str(each.folder.relative_to(folder)) for each in pending]
    unreadable = tuple(str(each.folder.relative_to(folder)) for each in pending if each.reason)
    steps: dict[int, list[str]] = {}
    for run in runs:
        steps.setdefault(run.plan.run.steps, []).append(run.label)
    if len(steps) > 1:
        named = "; ".join(f"{n:,}: {listed(dict.fromkeys(steps[n]))}" for n in sorted(steps))
        notes.append(f"The rows were trained for different numbers of steps ({named}).")
    table = _table(recipe.title, runs, missing, notes)
    return found, dataclasses.replace(table, unread=unread_among(found), unreadable=unreadable)


def unread_among(found: Sequence[Run | Pending]) -> tuple[str, ...]:
    """The runs that the operating system could not read, each with what it said."""
    return tuple(f"{e.folder}: {e.system_error}" for e in found if isinstance(e, Pending) and e.system_error)


def _seed_of(folder: Path) -> tuple[int, str]:
    number = folder.name.removeprefix("seed-")
    return int(number) if number.isdecimal() else 0, folder.name


def _table(title: str, runs: Sequence[Run], missing: Sequence[str], notes: list[str]) -> Table:
    labels = unique_labels(runs, notes)
    entries = [entry_of(run, label) for run, label in zip(runs, labels, strict=True)]
    notes += notes_of_early_stopping(runs, labels)
    return tabulate(title, entries, missing=missing, published=_published(notes), notes=notes)


def notes_of_early_stopping(found: Sequence[Run | Pending], labels: Sequence[str]) -> list[str]:
    """The note on finished runs that stopped early, with their steps; empty if none did."""
    stopped = [
        f"{label}, seed {each.seed}: {each.stopped_early}"
        for each, label in zip(found, labels, strict=True)
        if isinstance(each, Run) and each.stopped_early
    ]
    return [f"Stopped early, and scored at their best checkpoint ({'; '.join(stopped)})."] if stopped else []


def _published(notes: list[str]) -> tuple[Published, ...]:
    """The published numbers of the plugins; if they cannot be read, none, and a note: training must not fail for it."""
    try:
        return of_plugins(installed())
    except ScoreError as error:
        notes.append(str(error))
        return ()


def sorted_by_row(jobs: Sequence[Job], recipe: Recipe) -> list[Job]:
    """The jobs in the order of the recipe's rows, and by seed within a row."""
    order = {plan.label: place for place, plan in enumerate(recipe.plans)}
    return sorted(jobs, key=lambda job: (order[job.plan.label], job.seed))


def run_of_job(job: Job, notes: list[str]) -> Run | Pending:
    """The finished run of a job, or the state of an unfinished one; problems in reading it are added to `notes`."""
    if not (job.folder / "run.json").exists():
        return Pending(job.plan.label, job.folder, "not trained", job.plan)
    return look_at(job.folder, notes)


def title_of(runs: Sequence[Run]) -> str:
    """The titles of the runs' recipes, without repetitions."""
    return " / ".join(dict.fromkeys(run.plan.title for run in runs if run.plan.title)) or "runs"


def entry_of(run: Run, label: str) -> Entry:
    """The table entry of a finished run, from the scores in its folder."""
    columns = columns_of([config.make() for config in run.plan.scores])
    return Entry(
        label,
        run.label,
        run.seed,
        [Measured(config, run.described_data, run.scores, _network(run, config)) for config in run.plan.scores],
        others={key: value for key, value in run.scores.items() if key.removeprefix("real_") not in columns},
        seconds=run.seconds_of_training,
        # Those of a fit are codes.
        images_per_second=run.facts.get("images_per_second") if run.plan.fitted_prior is None else None,
        facts=facts_of(run.plan),
    )


def _network(run: Run, config: PartConfig) -> str:
    """The keys of the networks of a run's score; empty where none is recorded."""
    return next((run.networks[key] for key in columns_of([config.make()]) if key in run.networks), "")


def _training(run: Run) -> str:
    """All settings that `Plan.differences` compares, as text."""
    return "\n".join(run.plan.differences({}))


def unique_labels(found: Sequence[Run | Pending], notes: list[str]) -> list[str]:
    """A label for each run, which differs for runs of different folders and of different recipes.

    A label that occurs in several run folders gets its folder in front; a label that was trained with several recipes
    in one folder gets a number, and a note says how the recipes differ. A label that is taken by then gets the next
    number; a note names a seed that a row has twice.
    """
    homes: dict[str, dict[Path, None]] = {}
    home_of = {each.folder: row_folder(each.folder).parent for each in found}
    for each in found:
        homes.setdefault(each.label, {})[home_of[each.folder]] = None
    trained: dict[str, list[Run]] = {}
    labels = []
    taken: dict[str, tuple[Path, str, int]] = {}
    seeds: dict[tuple[str, int], Path] = {}
    for each in found:
        label = f"{home_of[each.folder]}: {each.label}" if len(homes[each.label]) > 1 else each.label
        first, place = label, 0
        if isinstance(each, Run):
            variants = trained.setdefault(label, [])
            place = next((n for n, run in enumerate(variants) if _training(run) == _training(each)), len(variants))
            if place == len(variants):
                variants.append(each)
            if place:
                changed = "; ".join(each.plan.differences(variants[0].plan.as_table()))
                notes.append(
                    f"The seeds of '{label}' were trained with different recipes ({changed}), so they are two rows."
                )
                label = f"{first} ({place + 1})"
        number, identity = max(2, place + 1), (home_of[each.folder], each.label, place)
        while taken.setdefault(label, identity) != identity:
            label, number = f"{first} ({number})", number + 1
        if isinstance(each, Run) and (other := seeds.setdefault((label, each.seed), each.folder)) != each.folder:
            notes.append(f"'{label}' has seed {each.seed} twice, in {other} and {each.folder}; both count.")
        labels.append(label)
    return labels
