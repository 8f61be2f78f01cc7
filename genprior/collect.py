"""Finds runs on disk: all of them below some folders as one table, or one of them to draw images from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError, PlanError, RunError, ScoreError, did_you_mean
from genprior.registry import installed
from genprior.report import Row, Table, gather
from genprior.runs import Run, load_run
from genprior.score import Column, columns_of

__all__ = ["Collected", "collect", "export", "exporter_for", "one_run", "ranked"]


@dataclasses.dataclass(frozen=True)
class Collected:
    """A table of the runs that were found, and what a reader of it must know."""

    table: Table
    notes: tuple[str, ...]


def collect(paths: Sequence[Path]) -> Collected:
    """The table of all runs in and below some folders; what is unfinished or damaged is listed as missing.

    Numbers that cannot be compared do not share a column: a score that was measured on other data, or with other
    settings, gets a column of its own, and the cells of the other rows are `-`. Runs of one label make one row only
    if they stand in one table's folder and were trained by one recipe.

    Raises:
        RunError: a path does not exist, or there is no finished run.
    """
    finished: dict[Path, Run] = {}
    missing: dict[str, None] = {}
    notes: list[str] = []
    for path in paths:
        if not path.is_dir():
            raise RunError(f"there is no folder {path}; give folders of runs, or folders above them")
        for folder in run_folders(path):
            if folder in finished:
                continue
            try:
                run = load_run(folder)
                if run.finished:
                    _ = run.scores  # read now, so that a damaged file is found here
                    finished[folder] = run
                else:
                    missing[str(folder)] = None
            except Exception as error:  # a damaged run, or one of a plugin that is gone, must not hide the others
                missing[str(folder)] = None
                notes.append(f"{folder} cannot be read: {error}")
    if not finished:
        listed = f" Unfinished: {', '.join(missing)}" if missing else ""
        given = ", ".join(str(path) for path in paths)
        raise RunError(f"there is no finished run in {given}; train one with `genprior train RECIPE`.{listed}")
    runs = _own_labels(list(finished.values()), notes)
    columns = _own_columns(runs, notes)
    titles = list(dict.fromkeys(run.plan.title for run in runs if run.plan.title))
    table = gather(" / ".join(titles) or "runs", runs, tuple(missing))
    return Collected(dataclasses.replace(table, columns=columns), tuple(notes))


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


def _own_labels(runs: list[Run], notes: list[str]) -> list[Run]:
    """The runs under labels that belong to one table's folder and one recipe each."""
    homes: dict[str, dict[Path, None]] = {}
    for run in runs:
        homes.setdefault(run.label, {})[run.folder.parent.parent] = None
    trained: dict[str, list[str]] = {}
    named = []
    for run in runs:
        home = run.folder.parent.parent
        shared = len(homes[run.label]) > 1
        label = f"{home}: {run.label}" if shared else run.label
        known = trained.setdefault(label, [])
        if _training(run) not in known:
            known.append(_training(run))
        place = known.index(_training(run))
        if place:
            first = next(other for other in runs if other.folder.parent == run.folder.parent)
            changed = "; ".join(run.plan.differences(first.plan.as_table()))
            notes.append(f"The seeds of '{label}' were trained by different recipes ({changed}): they are two rows.")
            label = f"{label} ({place + 1})"
        copy = Run(run.folder, run.plan.model_copy(update={"label": label}), run.facts)
        copy.scores = run.scores
        named.append(copy)
    return named


def _own_columns(runs: list[Run], notes: list[str]) -> tuple[Column, ...]:
    """The columns of the runs, one for each score measured one way on one data set; renames the runs' scores to fit."""
    ways: dict[str, list[tuple[str, str]]] = {}
    columns: dict[str, Column] = {}
    for run in runs:
        data = json.dumps(run.plan.data.model_dump(mode="json"), sort_keys=True)
        renamed = dict(run.scores)
        for config in run.plan.scores:
            way = (data, json.dumps(config.model_dump(mode="json"), sort_keys=True))
            for key, column in columns_of([config.make()]).items():
                known = ways.setdefault(key, [])
                if way not in known:
                    known.append(way)
                place = known.index(way)
                own = key if not place else f"{key}@{place + 1}"
                title = column.title if not place else f"{column.title} ({place + 1})"
                columns.setdefault(own, Column(own, title, column.higher_is_better))
                if place:
                    for prefix in ("", "real_"):
                        if prefix + key in renamed:
                            renamed[prefix + own] = renamed.pop(prefix + key)
        run.scores = renamed
    for key, known in ways.items():
        if len(known) > 1:
            how = "; ".join(f"({place}) {_said(*way)}" for place, way in enumerate(known, 1))
            notes.append(f"'{key}' was measured in {len(known)} ways that cannot be compared: {how}.")
    return tuple(columns.values())


def _said(data: str, score: str) -> str:
    def text(table: dict[str, Any]) -> str:
        inside = ", ".join(f"{key} = {value}" for key, value in table.items() if key != "name" and value is not None)
        return f"{table['name']} ({inside})" if inside else str(table["name"])

    return f"{text(json.loads(score))} on {text(json.loads(data))}"


def ranked(table: Table, score: str) -> Table:
    """The table with this score alone, the best row first; rows without it come last.

    Raises:
        ScoreError: no run has this score.
    """
    columns = tuple(column for column in table.columns if column.key.partition("@")[0] == score)
    if not columns:
        raise ScoreError(f"no run here has the score '{score}'{did_you_mean(score, [c.key for c in table.columns])}")

    def order(row: Row) -> tuple[int, float]:
        for place, column in enumerate(columns):
            if column.key in row.scores:
                mean = row.scores[column.key].mean
                return place, -mean if column.higher_is_better else mean
        return len(columns), 0.0

    return dataclasses.replace(table, columns=columns, rows=tuple(sorted(table.rows, key=order)))


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
