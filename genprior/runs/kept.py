"""What run folders hold, read file by file: also of a run whose recipe does not fit the installed parts."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from genprior.errors import GenpriorError
from genprior.registry import Registry, installed
from genprior.runs.exported_files import row_folder
from genprior.runs.find import find_runs
from genprior.runs.folder import RunFolder
from genprior.runs.records import read_text
from genprior.runs.run import Run, load_run

__all__ = ["KeptRun", "kept_runs"]

T = TypeVar("T")

_STEP = re.compile(r"step-(\d+)\.png")


@dataclasses.dataclass(frozen=True)
class KeptRun:
    """The records of one run, as far as its files can be read; `run` is None where its recipe cannot be loaded."""

    folder: Path
    """The run's folder, `<out>/<row>/seed-<k>`, or an exported one."""
    row: Path
    """The folder of its row, `<out>/<row>`; that of an exported run is its own."""
    label: str
    """The row's name."""
    seed: int | None
    """The run's seed; None if run.json cannot be read."""
    state: str
    """Its state, such as `finished` or `trained 400 of 1,600 steps`."""
    run: Run | None
    """The run, for its model; None if its recipe is damaged or does not fit the installed parts."""
    facts: dict[str, Any]
    """The content of run.json: versions, hardware, command; empty if it cannot be read."""
    recipe: str
    """The text of recipe.toml; empty if it cannot be read."""
    metrics: list[dict[str, Any]]
    """The records of metrics.jsonl, without damaged lines."""
    scores: dict[str, float]
    """The scores by name; empty for an unfinished run."""
    samples: dict[int, Path]
    """The pictures of samples, by the number of steps, in order."""
    pictures: dict[str, Path]
    """The other pictures of the run's folder `samples`, such as `reconstructions`, by name."""
    missing_plugins: dict[str, str]
    """Plugins that the run was trained with and that cannot be loaded here: entry point -> package."""
    problems: tuple[str, ...]
    """What could not be read, and why, a sentence each."""


def kept_runs(paths: Sequence[str | Path]) -> list[KeptRun]:
    """The runs in and below folders, each once, in the order of their tables.

    Damaged files and missing plugins are in `problems`, and hide nothing else.

    Raises:
        RunError: a path does not exist.
    """
    notes: list[str] = []
    with warnings.catch_warnings():  # a damaged table.json says only how rows are sorted
        warnings.simplefilter("ignore")
        found = find_runs([Path(path) for path in paths], notes)
    registry = installed()
    return [_kept(each.folder, "" if isinstance(each, Run) else each.state, registry) for each in found]


def _kept(folder: Path, state: str, registry: Registry) -> KeptRun:
    """Read the files of a run, one by one."""
    files, problems = RunFolder(folder, registry), list[str]()

    def read(call: Callable[[], T], otherwise: T) -> T:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                value = call()
            except (GenpriorError, OSError) as error:
                problems.append(str(error))
                value = otherwise
        problems.extend(str(each.message) for each in caught)
        return value

    facts: dict[str, Any] = dict(read(files.facts, None) or {})
    run = read(lambda: load_run(folder, registry=registry), None)
    recipe = read(lambda: read_text(folder / "recipe.toml", "restore the file"), None) or ""
    scores: dict[str, float] = read(files.scores, {}) if facts.get("finished") else {}
    pictures = sorted((folder / "samples").glob("*.png"))
    steps = {int(match[1]): path for path in pictures if (match := _STEP.fullmatch(path.name))}
    row = row_folder(folder)
    return KeptRun(
        folder,
        row,
        str(facts.get("label") or row.name),
        facts.get("seed"),
        state or "finished",
        run,
        facts,
        recipe,
        read(files.metrics, []),
        scores,
        dict(sorted(steps.items())),
        {path.stem: path for path in pictures if path not in steps.values()},
        _missing(facts, registry),
        tuple(dict.fromkeys(problems)),
    )


def _missing(facts: dict[str, Any], registry: Registry) -> dict[str, str]:
    """The plugins that run.json names and that are not loaded, with the packages that it names."""
    there = {origin.plugin for origin in registry.plugins}
    return {name: str(package) for name, package in facts.get("plugins", {}).items() if name not in there}
