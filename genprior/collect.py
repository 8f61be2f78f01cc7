"""Finds runs on disk: all of them below some folders as one table, or one of them to draw images from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from genprior.assemble import Entry, Measured, tabulate
from genprior.errors import GenpriorError, PlanError, RunError, ScoreError, did_you_mean
from genprior.plan import Plan
from genprior.registry import installed
from genprior.report import Row, Table
from genprior.runs import Run, load_run
from genprior.score import columns_of

__all__ = [
    "Collected",
    "Pending",
    "best_first",
    "collect",
    "entry_of",
    "export",
    "exporter_for",
    "find_runs",
    "look_at",
    "nothing_finished",
    "one_run",
    "own_labels",
    "ranked",
    "run_folders",
    "title_of",
]


@dataclasses.dataclass(frozen=True)
class Collected:
    """A table of the runs that were found, and what a reader of it must know."""

    table: Table
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pending:
    """A run that has no scores yet."""

    label: str
    folder: Path
    state: str
    """How far it is, such as `trained 400 of 1,600 steps`."""
    plan: Plan | None = None
    """What it will be, where that can be read."""


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


def nothing_finished(paths: Sequence[object], missing: Sequence[str]) -> RunError:
    """The error that there is no finished run; says which are unfinished."""
    listed = f" Unfinished: {', '.join(missing)}" if missing else ""
    given = ", ".join(str(path) for path in paths)
    return RunError(f"there is no finished run in {given}; train one with `genprior train RECIPE`.{listed}")


def title_of(runs: Sequence[Run]) -> str:
    """The titles of the recipes of some runs."""
    return " / ".join(dict.fromkeys(run.plan.title for run in runs if run.plan.title)) or "runs"


def find_runs(paths: Sequence[Path], notes: list[str]) -> list[Run | Pending]:
    """All runs in and below some folders, each once, in the order of their tables; notes take what cannot be read.

    Raises:
        RunError: a path does not exist.
    """
    found: dict[Path, Run | Pending] = {}
    for path in paths:
        if not path.is_dir():
            raise RunError(f"there is no folder {path}; give folders of runs, or folders above them")
        for folder in run_folders(path):
            if folder not in found:
                found[folder] = look_at(folder, notes)
    return list(found.values())


def look_at(folder: Path, notes: list[str]) -> Run | Pending:
    """The finished run in a folder, or how far it is."""
    try:
        run = load_run(folder)
        if run.finished:
            _ = run.scores  # read now, so that a damaged file is found here
            return run
        last = run.metrics[-1] if run.metrics else {}
        # Facts are written at the start and at the end, and records in between.
        done = max(int(run.facts.get("step", 0)), int(last.get("step", 0)))
        return Pending(run.label, folder, f"trained {done:,} of {run.plan.run.steps:,} steps", run.plan)
    except Exception as error:  # a damaged run, or one of a plugin that is gone, must not hide the others
        notes.append(f"{folder} cannot be read: {error}")
        return Pending(folder.parent.name, folder, "cannot be read")


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


def run_folders(path: Path) -> list[Path]:
    """The folders of runs in and below a folder: by table, by row in the table's order, by seed."""
    orders: dict[Path, list[str]] = {}

    def order(folder: Path) -> tuple[str, int, str, str]:
        home = folder.parent.parent
        if home not in orders:
            orders[home] = _rows_of(home)
        label = folder.parent.name
        place = orders[home].index(label) if label in orders[home] else len(orders[home])
        return str(home), place, label, f"{folder.name.removeprefix('seed-'):0>9}"

    return sorted({found.parent for found in path.glob("**/run.json")}, key=order)


def _rows_of(home: Path) -> list[str]:
    """The labels of the rows of a table, in its order; none where there is no table yet."""
    try:
        table = json.loads((home / "table.json").read_text(encoding="utf-8"))
        return [str(row["label"]) for row in table["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


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


def best_first(table: Table) -> Table:
    """The table with its rows in the order of its first column in which they have a number."""

    def order(row: Row) -> tuple[int, float]:
        for place, column in enumerate(table.columns):
            if column.key in row.scores:
                mean = row.scores[column.key].mean
                return place, -mean if column.higher_is_better else mean
        return len(table.columns), 0.0

    return dataclasses.replace(table, rows=tuple(sorted(table.rows, key=order)))


def one_run(path: Path, row: str | None = None) -> Run:
    """The run in a folder, or the only one below it.

    Args:
        path: a run's folder, or one above it.
        row: look at the runs of this label alone.

    Raises:
        RunError: there is none, or there are several.
    """
    if not path.is_dir():
        raise RunError(f"there is no folder {path}; give a run's folder, such as runs/<recipe>/<row>/seed-0")
    if row is None and (path / "run.json").exists():
        return load_run(path)
    found = run_folders(path)
    chosen = [folder for folder in found if row is None or folder.parent.name == row]
    if not found:
        raise RunError(f"there is no run in {path}; give a run's folder, such as runs/<recipe>/<row>/seed-0")
    if not chosen:
        labels = {folder.parent.name for folder in found}
        raise RunError(f"there is no row '{row}' in {path}{did_you_mean(str(row), labels)}")
    if len(chosen) > 1:
        listed = "\n".join(f"  {folder}" for folder in chosen)
        raise RunError(f"{path} holds {len(chosen)} runs; give one of them:\n{listed}")
    return load_run(chosen[0])


def exporter_for(path: Path, *, by_label: bool) -> str:
    """The name of the standard exporter for a file's ending.

    Raises:
        PlanError: the ending is unknown, or the layout does not go with it.
    """
    by_ending = {".png": "label_grid" if by_label else "grid", ".npz": "npz"}
    name = by_ending.get(path.suffix.lower())
    if name is None:
        raise PlanError(
            f"{path} ends in '{path.suffix}', which says no format. Possible: {', '.join(by_ending)}; "
            "or name an exporter with --exporter (`genprior parts exporter` lists them)"
        )
    if by_label and name == "npz":
        raise PlanError(f"--grid labels lays out a picture, and {path} is an array; give a --to that ends in .png")
    return name


def export(run: Run, name: str, path: Path, *, n: int, seed: int, label: str | None, force: bool = False) -> None:
    """Write n images of a run through an installed exporter.

    Raises:
        RunError: the file is there already, or the run has no checkpoint.
        PluginError: there is no such exporter.
        PlanError: the run's data has no such class, or the model takes no label.
        GenpriorError: the file cannot be written.
    """
    if path.exists() and not force:
        raise RunError(f"{path} is there already; give another --to, or --force to overwrite it")
    part = installed().find("exporter", name)
    model = run.model
    settings = {"labels": len(run.classes)} if name == "label_grid" and run.classes else {}
    made = part.Config.model_validate({"name": name, **settings}).make()
    index = None if label is None else run.label_index(label)
    try:
        made.write(model, path, n=n, seed=seed, label=index)
    except OSError as error:
        raise GenpriorError(f"{path} cannot be written: {error.strerror or error}") from error
