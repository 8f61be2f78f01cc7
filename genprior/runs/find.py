"""Finds runs on disk: all runs below given folders, or one run."""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from genprior.errors import GenpriorWarning, RunError, did_you_mean, did_you_mean_path
from genprior.recipe.plan import Plan
from genprior.runs.exported_files import row_folder
from genprior.runs.folder import RunFolder
from genprior.runs.hub import local_folder
from genprior.runs.jobs import FIRST_STAGES
from genprior.runs.records import TABLE, Facts, read_json
from genprior.runs.run import Run, load_run

__all__ = [
    "Pending",
    "find_runs",
    "folder_of",
    "in_use",
    "look_at",
    "nothing_at",
    "nothing_finished",
    "one_run",
    "run_folders",
]


@dataclasses.dataclass(frozen=True)
class Pending:
    """A run that is unfinished or cannot be read."""

    label: str
    folder: Path
    state: str
    """Its state, such as `trained 400 of 1,600 steps`."""
    plan: Plan | None = None
    """Its resolved recipe; None if it cannot be read."""
    facts: Facts | None = None
    """The content of its run.json; None if it cannot be read, or before its training began."""
    reason: str = ""
    """Why it cannot be read; empty for an unfinished run."""
    system_error: str = ""
    """What the operating system said when it could not read the run; empty for a run that is damaged or unfinished."""


def nothing_finished(paths: Sequence[object], pending: Sequence[Pending]) -> RunError:
    """The error that there is no finished run; it lists the unfinished ones, and why others cannot be read."""
    given = ", ".join(str(path) for path in paths)
    unread = [f"{each.folder} cannot be read: {each.reason}" for each in pending if each.reason]
    unfinished = [f"{each.folder} ({each.state})" for each in pending if not each.reason]
    if unread and not unfinished:
        return RunError(f"there is no run in {given} that can be read:\n" + _lines(unread))
    text = f"there is no finished run in {given}; train one with `genprior train RECIPE`."
    text += f" Unfinished: {', '.join(unfinished)}" if unfinished else ""
    return RunError(text + (f"\n{_lines(unread)}" if unread else ""))


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(f"  {text}" for text in texts)


def nothing_at(path: Path) -> RunError:
    """The error that neither a run, a table nor a recipe is at a path; it names what is beside it."""
    return RunError(f"there is nothing at {path}: no folder of runs and no recipe{_beside(path)}")


def _no_folder(path: Path, remedy: str) -> RunError:
    return RunError(f"there is no folder {path}; {remedy}{_beside(path)}")


def _beside(path: Path) -> str:
    """The end of the message that nothing is at a path: folders and recipes of similar names beside it, else all."""
    home = path.parent
    while not home.is_dir():
        path, home = home, home.parent
    if home == Path() and not (near := [each for each in (Path("runs"), Path("recipes")) if each.is_dir()]):
        return ""
    found = near if home == Path() else [each for each in home.iterdir() if each.is_dir() or each.suffix == ".toml"]
    found = [each for each in found if not each.name.startswith(".")]
    return did_you_mean_path(path, found, "folders and recipes")


def in_use(folder: Path) -> bool:
    """Whether a process trains or scores the run in a folder."""
    if not (folder / ".lock").exists():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def find_runs(paths: Sequence[Path], notes: list[str]) -> list[Run | Pending]:
    """All runs in and below the given folders, each once, in table order; unreadable runs are added to `notes`.

    Raises:
        RunError: a path does not exist.
    """
    found: dict[Path, Run | Pending] = {}
    for path in map(folder_of, paths):
        if not path.is_dir():
            raise _no_folder(path, "give folders of runs, or folders above them")
        for folder in run_folders(path):
            if folder not in found:
                found[folder] = look_at(folder, notes)
    return list(found.values())


def folder_of(path: Path) -> Path:
    """The folder of a run for its own `recipe.toml`, or of an address `hf://user/name`; another path as it is."""
    path = local_folder(path)
    return path.parent if path.name == "recipe.toml" and RunFolder(path.parent).exists else path


def look_at(folder: Path, notes: list[str]) -> Run | Pending:
    """The finished run in a folder, or the state of an unfinished one; errors of reading are added to `notes`."""
    try:
        run = load_run(folder)
        _ = run.scores  # read now, so that a damaged file is found here
        if run.finished:
            return run
        trained = f"trained {run.step:,} of {run.plan.own_run.steps:,} steps"
        state = "trained and not scored" if run.facts["finished"] else trained
        return Pending(run.label, folder, state, run.plan, run.facts)
    except Exception as error:  # a damaged run, or one of a removed plugin, must not hide the others
        notes.append(f"{folder} cannot be read: {error}")
        of_system = str(error) if isinstance(error, OSError) else ""
        reason = str(error) or type(error).__name__
        return Pending(row_folder(folder).name, folder, "cannot be read", reason=reason, system_error=of_system)


def run_folders(path: Path, pattern: str = "**/run.json") -> list[Path]:
    """The folders of runs in and below a folder, sorted by table, row (in the table's order) and seed.

    Args:
        path: the folder.
        pattern: the files that show a run, from `path`.
    """
    orders: dict[Path, dict[str, int]] = {}

    def order(folder: Path) -> tuple[str, int, str, str]:
        row = row_folder(folder)
        home = row.parent
        if home not in orders:
            orders[home] = {label: place for place, label in reversed(list(enumerate(_rows_of(home))))}
        label = row.name
        place = orders[home].get(label, len(orders[home]))
        return str(home), place, label, f"{folder.name.removeprefix('seed-'):0>9}"

    found = {each.parent for each in path.glob(pattern)}
    # First stages that are no row of a recipe are in a hidden folder.
    return sorted((each for each in found if FIRST_STAGES not in each.relative_to(path).parts), key=order)


def _rows_of(home: Path) -> list[str]:
    """The labels of a table's rows in order; empty if there is no table yet, or, with a warning, a damaged one."""
    try:
        table = read_json(home / "table.json", TABLE, "rows are sorted by their labels until training writes it anew")
    except RunError as error:
        warnings.warn(str(error), GenpriorWarning, stacklevel=2)
        return []
    return [row["label"] for row in table["rows"]] if table is not None else []


def one_run(path: Path, row: str | None = None, *, device: str = "cpu") -> Run:
    """The run in a folder, or the only run below it.

    Args:
        path: a run's folder, or one above it.
        row: consider only runs with this label.
        device: where its model computes, see `load_run`.

    Raises:
        RunError: there is no run, or there are several.
        PlanError: there is no such device here.
    """
    path = folder_of(path)
    if not path.is_dir():
        raise _no_folder(path, "give a run's folder, such as runs/<recipe>/<row>/seed-0")
    if row is None and RunFolder(path).exists:
        return load_run(path, device=device)
    found = run_folders(path)
    chosen = [folder for folder in found if row is None or row_folder(folder).name == row]
    if not found:
        raise RunError(f"there is no run in {path}; give a run's folder, such as runs/<recipe>/<row>/seed-0")
    if not chosen:
        labels = {row_folder(folder).name for folder in found}
        raise RunError(f"there is no row '{row}' in {path}{did_you_mean(str(row), labels)}")
    if len(chosen) > 1:
        listed = "\n".join(f"  {shlex.quote(str(folder))}" for folder in chosen)
        raise RunError(f"{path} holds {len(chosen)} runs; give one of them, or --row and its label:\n{listed}")
    return load_run(chosen[0], device=device)
