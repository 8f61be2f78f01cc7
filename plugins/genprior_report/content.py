"""The content of a report: runs, table and pictures as plain values, which the page only lays out."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genprior import GenpriorError, KeptRun, Table, is_bold, kept_runs, table_below
from genprior_report.curves import Phase, phases_of
from genprior_report.embed import picture_file
from genprior_report.from_model import Clock, Computed, SharedData, compute

__all__ = ["Content", "Detail", "Picture", "content_of"]

STEPS = 12
"""The most pictures of samples of a run; of more, some are left out evenly."""
NAMED = 3
"""The most rows that a sentence of the summary names."""
_SECONDS_A_MINUTE, _SECONDS_AN_HOUR = 60, 3600


@dataclass(frozen=True)
class Picture:
    """A picture of a run's folder."""

    src: str
    width: int
    height: int
    step: int = 0


@dataclass(frozen=True)
class Detail:
    """A run with pictures and curves: as a rule one seed of each row."""

    name: str
    """Its label, with what tells it from other runs of the report."""
    kept: KeptRun
    samples: list[Picture]
    pictures: dict[str, Picture]
    computed: Computed

    @property
    def pairs(self) -> bool:
        """Whether there are reconstructions, computed or as a picture of the run."""
        return bool(self.computed.reconstructions) or "reconstructions" in self.pictures


@dataclass(frozen=True)
class Content:
    """All that a page shows."""

    title: str
    summary: list[str]
    table: Table | None
    header: list[str]
    lines: list[list[tuple[str, bool]]]
    """The cells of the table: text, and whether it is bold."""
    differences: list[list[str]]
    """The header and the lines of the table of differences; empty if no row has several seeds."""
    marks: list[str]
    runs: list[dict[str, Any]]
    """The runs, with their states and hardware."""
    details: list[Detail]
    phases: list[Phase]
    problems: list[str]
    """What is wrong with runs, a sentence each."""
    notes: list[str] = field(default_factory=list)
    """What the report leaves out, and how to get it."""
    skipped: bool = False
    """Whether sections that need a model were left out to save time."""


def content_of(paths: Sequence[Path], *, all_seeds: bool, seconds: float | None) -> Content:
    """Read runs, and compute what the report shows of their models.

    Args:
        paths: folders of runs, or folders above them.
        all_seeds: whether every run has pictures and curves, and not only one seed of each row.
        seconds: the time after which no section is begun that needs a model; None for all.

    Raises:
        RunError: a path does not exist.
    """
    kept = kept_runs(paths)
    if not kept:
        raise GenpriorError(
            f"there is no run in {', '.join(map(str, paths))}; give folders of runs, such as runs/<recipe>, or "
            "train one with `genprior train RECIPE`"
        )
    problems: list[str] = []
    table = _table(paths, problems)
    names = _names(kept)
    shown = list(range(len(kept))) if all_seeds else _one_of_each_row(kept)
    titles = _names([kept[place] for place in shown])
    clock, data = Clock(seconds), SharedData()
    details = [_detail(kept[place], name, clock, data, problems) for place, name in zip(shown, titles, strict=True)]
    header, lines, marks = table.layout() if table is not None else ([], [], [])
    notes = []
    if len(details) < len(kept):
        notes.append(
            f"Pictures, curves and recipes are of {len(details)} of {len(kept)} runs: one seed of each row, the first "
            "that is finished. genprior report --all-seeds shows all."
        )
    problems += [f"{each.name}: {text}" for each in details for text in each.computed.problems]
    for each, name in zip(kept, names, strict=True):
        problems += [f"{name}: {text}" for text in each.problems]
    return Content(
        _title(table, kept),
        _summary(table, kept),
        table,
        header,
        [[(cell[2:-2], True) if n and is_bold(cell) else (cell, False) for n, cell in enumerate(row)] for row in lines],
        table.lines_of_differences() if table is not None else [],
        table.numbered(marks) if table is not None else [],
        [
            _facts(each, name, n in shown or bool(each.problems))
            for n, (each, name) in enumerate(zip(kept, names, strict=True))
        ],
        details,
        phases_of([each.kept.metrics for each in details]),
        list(dict.fromkeys(problems)),
        notes,
        any(each.computed.skipped for each in details),
    )


def _table(paths: Sequence[Path], problems: list[str]) -> Table | None:
    """The table of the finished runs; None if there are none, and the reason is told with the runs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is damaged is told with the runs
            return table_below(paths)
    except (GenpriorError, OSError) as error:
        problems.append(f"There is no table: {str(error).splitlines()[0]}")
        return None


def _names(kept: Sequence[KeptRun]) -> list[str]:
    """A name for each run: the label, with folder and seed where these tell it from others."""
    homes: dict[str, set[Path]] = {}
    for each in kept:
        homes.setdefault(each.label, set()).add(each.row.parent)
    named = Counter(home.name for home in {each.row.parent for each in kept})
    names = [f"{_home(each, named)}: {each.label}" if len(homes[each.label]) > 1 else each.label for each in kept]
    return [
        f"{name}, {each.folder.name.replace('-', ' ')}" if names.count(name) > 1 else name
        for name, each in zip(names, kept, strict=True)
    ]


def _home(each: KeptRun, named: Counter[str]) -> str:
    """The name of the folder of a run's table; the whole path where others have the name, or it is the working one."""
    home = each.row.parent
    return home.name if home.name and named[home.name] == 1 else str(home)


def _one_of_each_row(kept: Sequence[KeptRun]) -> list[int]:
    """The places of one run of each row: the first that is finished, else the first."""
    rows: dict[Path, list[int]] = {}
    for place, each in enumerate(kept):
        rows.setdefault(each.row, []).append(place)
    return [next((i for i in row if kept[i].state == "finished"), row[0]) for row in rows.values()]


def _detail(each: KeptRun, name: str, clock: Clock, data: SharedData, problems: list[str]) -> Detail:
    """The pictures of a run, and what its model gives."""
    samples: list[Picture] = []
    pictures: dict[str, Picture] = {}
    steps = list(each.samples)
    if len(steps) > STEPS:
        steps = [steps[round(i * (len(steps) - 1) / (STEPS - 1))] for i in range(STEPS)]
    wanted = [(each.samples[step], step, "") for step in steps]
    wanted += [(path, 0, what) for what, path in each.pictures.items() if what in ("reconstructions", "real")]
    for path, step, what in wanted:
        try:
            picture = Picture(*picture_file(path), step)
        except OSError as error:
            problems.append(f"{name}: {error}")
            continue
        if what:
            pictures[what] = picture
        else:
            samples.append(picture)
    computed = Computed()
    if each.run is not None and each.run.checkpoint is not None:
        computed = compute(each.run.unread(), clock, data)
    return Detail(name, each, samples, pictures, computed)


def _title(table: Table | None, kept: Sequence[KeptRun]) -> str:
    """The titles of the recipes."""
    titles = [each.run.plan.title for each in kept if each.run is not None and each.run.plan.title]
    if not titles:
        found = (re.search(r'^title = "(.*)"$', each.recipe, re.MULTILINE) for each in kept)
        titles = [match[1] for match in found if match]
    return " / ".join(dict.fromkeys(titles)) or (table.title if table is not None else "runs")


def _summary(table: Table | None, kept: Sequence[KeptRun]) -> list[str]:
    """What was trained, and which rows have the best means, in sentences."""
    rows, seeds = len({each.row for each in kept}), sorted({e.seed for e in kept if e.seed is not None})
    runs = [each.run for each in kept if each.run is not None]
    told = f"{_many(rows, 'row')}, {_many(len(kept), 'run')}"
    told += f", {_many(len(seeds), 'seed')}" if seeds else ""
    if runs:
        models = ", ".join(dict.fromkeys(run.plan.model.part.name for run in runs))
        data = ", ".join(dict.fromkeys(str(run.described_data.get("name", "")) for run in runs))
        steps = sorted({run.plan.own_run.steps for run in runs})
        lasting = f"{steps[0]:,} to {steps[-1]:,}" if len(steps) > 1 else f"{steps[-1]:,}"
        told += f". Model: {models}. Data: {data}. Steps: {lasting}"
    sentences = [told + "."]
    states = [each.state for each in kept]
    if unfinished := sum(state != "finished" for state in states):
        sentences.append(f"{_many(unfinished, 'run')} not finished or not readable; see Runs.")
    for column in table.columns if table is not None else ():
        means = {row.label: row.scores[column.key] for row in (table.rows if table else ()) if column.key in row.scores}
        if column.higher_is_better is None or len(means) < 2:
            continue
        pick = max if column.higher_is_better else min
        best = pick(means, key=lambda label: means[label].mean)
        others = [label for label, cell in means.items() if cell.mean == means[best].mean and label != best]
        if others:
            sentences.append(f"{column.title}: no row is ahead.")
            continue
        apart = _apart(best, list(means), table.best(column) if table else set())
        if all(len(cell.values) == 1 for cell in means.values()):
            apart = "one seed each"
        direction = "higher" if column.higher_is_better else "lower"
        sentences.append(f"Best {column.title}: {best}, {means[best]} ({direction} is better), {apart}.")
    return sentences


def _apart(best: str, labels: Sequence[str], level: set[str]) -> str:
    """How far the best row is ahead, in words.

    Args:
        best: its label.
        labels: the labels of all rows that have a number, in the order of the table.
        level: the labels of the rows that are not worse than it.
    """
    close = [label for label in labels if label in level and label != best]
    if not close:
        return "ahead of every other row"
    if len(close) == len(labels) - 1 > 1:
        return "but it cannot be told apart from any other row"
    named = close if len(close) <= NAMED else [*close[: NAMED - 1], _many(len(close) - NAMED + 1, "other row")]
    return "but it cannot be told apart from " + " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _facts(each: KeptRun, name: str, shown: bool) -> dict[str, Any]:
    """A run for the page's list: state, time, hardware, versions, command, recipe."""
    facts = each.facts
    hardware = facts.get("hardware", {})
    parameters = facts.get("parameters", {})
    return {
        "name": name,
        "label": name.removesuffix(f", {each.folder.name.replace('-', ' ')}"),
        "shown": shown,
        "device": str(hardware.get("device", "-")),
        "seed": "-" if each.seed is None else each.seed,
        "state": each.state,
        "folder": str(each.folder),
        "step": f"{facts['step']:,}" if "step" in facts else "-",
        "time": _duration(facts["seconds"]) if "seconds" in facts else "-",
        "parameters": f"{sum(parameters.values()):,}" if parameters else "-",
        "hardware": ", ".join(f"{key}: {value}" for key, value in hardware.items()) or "-",
        "versions": ", ".join(f"{key} {value}" for key, value in facts.get("versions", {}).items()) or "-",
        "plugins": ", ".join(f"{key} ({value})" for key, value in facts.get("plugins", {}).items()) or "-",
        "written": str(facts.get("written", "-")).replace("T", " ").replace("Z", " UTC"),
        "command": " ".join(map(str, facts.get("command", []))),
        "recipe": each.recipe,
        "missing": each.missing_plugins,
        "scores": {key: f"{value:.4g}" for key, value in each.scores.items()} if each.run is None else {},
    }


def _duration(seconds: float) -> str:
    if seconds < 2 * _SECONDS_A_MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _SECONDS_AN_HOUR:
        return f"{seconds / _SECONDS_A_MINUTE:.0f} min"
    return f"{seconds / _SECONDS_AN_HOUR:.1f} h"
