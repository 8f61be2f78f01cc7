"""`genprior bench`: compares recipes, runs and images under any scores in one table.

Scores of a run are read from its folder. A score that a run lacks is measured from its checkpoint, and images are
scored like samples of a model; measured scores are cached (see `genprior.bench.rescore`).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from genprior.bench.references import real_images
from genprior.bench.requests import ScoreRequest, read_score, refuse_samples, with_samples
from genprior.bench.rescore import Real, Scorer
from genprior.data.foreign import Images, image_files, read_images
from genprior.data.picture_files import PICTURE_KINDS
from genprior.engine.device import choose_device
from genprior.errors import DataError, RunError, ScoreError, did_you_mean
from genprior.parts import PartConfig
from genprior.recipe.load import load_recipe
from genprior.recipe.shipped import is_recipe
from genprior.registry import installed
from genprior.runs.find import Pending, find_runs, in_use, nothing_finished, run_folders
from genprior.runs.hub import local_folder
from genprior.runs.jobs import Job, home_of, jobs_of
from genprior.runs.run import Run
from genprior.scoring.measure import columns_of
from genprior.storage.cache import cache_folder
from genprior.tables.columns import Entry, Measured, Missed, settings_of, tabulate
from genprior.tables.gather import (
    entry_of,
    notes_of_early_stopping,
    run_of_job,
    sorted_by_row,
    title_of,
    unique_labels,
    unread_among,
)
from genprior.tables.protocol import facts_of, facts_of_images
from genprior.tables.published import of_plugins, read_published
from genprior.tables.table import Table, best_first

__all__ = ["Bench", "Benched"]


@dataclasses.dataclass(frozen=True)
class Benched:
    """A table, and whether all its runs are finished."""

    table: Table
    complete: bool
    abandoned: tuple[str, ...] = ()
    """The runs that were begun and are not finished, while no process trains any of the unfinished runs."""


class Bench:
    """A comparison of runs and images; each call of `table` reads the run folders again."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        scores: Sequence[str] = (),
        data: str | None = None,
        samples: int | None = None,
        runs: Path | None = None,
        changes: Sequence[str] = (),
        settings: Sequence[str] = (),
        published: Path | None = None,
        device: str = "auto",
        against: str | None = None,
    ) -> None:
        """Read recipes, images and published numbers. Runs are read by `table`.

        Args:
            paths: recipes or their names, folders of runs, folders of images, .npz files.
            scores: names of scores, TOML tables of settings, or result keys; those of the runs' recipes if empty.
            data: the real images to compare images with: a data set's name, a TOML table of its settings, a recipe, or
                a folder or .npz file of images; the data set of the runs if None.
            samples: the number of images to score, instead of the number in the scores' settings.
            runs: the run folder of the recipe, if exactly one is given; `runs/<recipe>[-<change>...]` if None.
            changes: named changes of the recipes.
            settings: `PATH=VALUE` settings of the recipes.
            published: a file of published numbers to show in addition to those of the plugins.
            device: the device to compute on: `auto`, `cpu` or `cuda`.
            against: the label of the row that differences are to; None for the best mean of each column.

        Raises:
            GenpriorError: a path, a score or the data set is invalid; the message says what is possible.
        """
        self._registry, paths = installed(), [local_folder(path) for path in paths]
        self._samples, self._against = samples, against
        self._requests = [read_score(text, self._registry) for text in scores]
        self._published = (*of_plugins(self._registry), *(read_published(published) if published is not None else ()))
        self._folders: list[Path] = []
        self._images: list[Images] = []
        self._jobs: dict[Path, list[Job]] = {}
        recipes = [path for path in paths if is_recipe(path)]
        if runs is not None and len(recipes) != 1:
            raise RunError(f"--runs is the run folder of one recipe, but {len(recipes)} recipes are given; give one")
        for path in dict.fromkeys(paths):
            if path in recipes:
                recipe = load_recipe(path, changes=changes, settings=settings)
                home = home_of(recipe, changes) if runs is None else runs
                self._jobs[path] = sorted_by_row(jobs_of(recipe, home), recipe)
            elif (
                path.is_file()
                or path.suffix.lower() == ".npz"
                or (path.is_dir() and not run_folders(path) and _has_images(path))
            ):
                self._images.append(read_images(path))
            else:
                self._folders.append(path)
        self._paths = [
            f"{path} ({self._jobs[path][0].folder.parent.parent})" if path in self._jobs else str(path)
            for path in paths
        ]
        self._real = real_images(data, self._registry, changes, settings, self._images, recipes)
        self._scorer = Scorer(choose_device(device), cache_folder())
        self._reals: dict[str, Real] = {}

    def table(self, *, watching: bool = False) -> Benched:
        """Build the table from the current state of the runs.

        Args:
            watching: whether runs are still training, so that having no finished run is not an error.

        Raises:
            RunError: no run is finished, or a run was trained with another recipe or on other data than the recipe's.
            ScoreError: no score could be measured, or a score does not exist; the message gives the reasons.
        """
        notes: list[str] = []
        found = self._find_runs(notes)
        labels = unique_labels(found, notes)
        runs = [each for each in found if isinstance(each, Run)]
        pending = [each for each in found if isinstance(each, Pending)]
        if not runs and not self._images and not watching:
            raise nothing_finished(self._paths, pending)
        plans = [run.plan for run in runs] + [job.plan for jobs in self._jobs.values() for job in jobs]
        known = _unique(config for plan in plans for config in plan.scores)
        wanted = [(request, self._configs_for(request, known)) for request in self._requests]
        if not wanted and self._samples is not None:
            resampled = _unique(with_samples(config, self._samples) for config in known)
            wanted = [(ScoreRequest(config=config), [config]) for config in resampled]
        if self._samples is not None:
            notes += refuse_samples([config for _, configs in wanted for config in configs], self._samples)
        ready = {label for label, each in zip(labels, found, strict=True) if isinstance(each, Run)}
        entries = []
        for label, each in zip(labels, found, strict=True):
            if isinstance(each, Run):
                entries.append(self._entry_of_run(each, label, wanted))
            elif label not in ready:
                configs = [config for _, some in wanted for config in some]
                entries.append(self._entry_of_pending(each, label, configs))
        if self._images:
            configs = _unique(config for _, each in wanted for config in each) or known
            entries += self._entries_of_images(configs, [plan.data for plan in plans], set(labels))
            notes += self._scorer.notes
        notes += notes_of_early_stopping(found, labels)
        unreadable = tuple(str(each.folder) for each in pending if each.reason)
        missing = [str(each.folder) if each.reason else f"{each.folder} ({each.state})" for each in pending]
        title = title_of(runs) if runs else plans[0].title if plans else "images"
        table = tabulate(title, entries, missing=missing, published=self._published, notes=notes)
        if wanted:
            keys = [key for request, configs in wanted for key in request.keys(configs, entries)]
            order = {key: place for place, key in reversed(list(enumerate(keys)))}
            columns = [column for column in table.columns if column.key.partition("@")[0] in order]
            columns.sort(key=lambda column: order[column.key.partition("@")[0]])
            table = dataclasses.replace(table, columns=tuple(columns))
            if len(self._requests) == 1:
                table = best_first(table)
        if (wanted or self._images) and not (watching and pending):
            _check_any_measured(entries)
        table = dataclasses.replace(table, unread=unread_among(found), unreadable=unreadable)
        return Benched(table.with_differences_to(self._against), not pending, _abandoned(pending) if watching else ())

    def _find_runs(self, notes: list[str]) -> list[Run | Pending]:
        """The runs of the recipes, in the order of their rows, then the other runs in the folders."""
        found: dict[Path, Run | Pending] = {}
        data: dict[str, str] = {}
        for recipe, jobs in self._jobs.items():
            for job in jobs:
                data.setdefault(_json(job.plan.data), str(recipe))
                found[job.folder.resolve()] = self._read_job(job, recipe, notes)
        for each in find_runs(self._folders, notes):
            if each.folder.resolve() in found:
                continue
            if data and isinstance(each, Run) and _json(each.plan.data) not in data:
                recipes = ", ".join(dict.fromkeys(data.values()))
                raise RunError(
                    f"{each.folder} was trained on other data than the rows of {recipes}:\n"
                    f"  {_json(each.plan.data)}\ninstead of\n  {' or '.join(data)}\n"
                    "Compare runs of one data set, or give run folders instead of the recipe: scores that were "
                    "measured on other data then get separate columns."
                )
            found[each.folder.resolve()] = each
        return list(found.values())

    @staticmethod
    def _read_job(job: Job, recipe: Path, notes: list[str]) -> Run | Pending:
        run = run_of_job(job, notes)
        if isinstance(run, Run) and (changed := job.plan.differences(run.plan.as_table())):
            listed = "\n".join(f"  {line}" for line in changed)
            raise RunError(
                f"{job.folder} holds a run that was trained with another recipe than {recipe}:\n{listed}\n"
                "Give the changes that it was trained with (--with, --set), the folder of the right runs with --runs, "
                "or the run's folder instead of the recipe."
            )
        return run

    def _configs_for(self, request: ScoreRequest, known: Sequence[PartConfig]) -> list[PartConfig]:
        """The settings to measure a requested score with: those of the rows that have it, or else the defaults."""
        if request.config is not None:
            configs = [request.config]
        elif request.part is not None:
            configs = [each for each in known if each.name == request.part] or [
                self._registry.find("score", request.part).Config()
            ]
        else:
            configs = [each for each in known if request.key in columns_of([each.make()])]
            if not configs:
                possible = {*self._registry.names("score"), *columns_of([each.make() for each in known])}
                raise ScoreError(f"no run here has the score '{request.key}'{did_you_mean(str(request.key), possible)}")
        configs = _unique(with_samples(each, self._samples) for each in configs)
        for config in configs:
            config.make().check()
        return configs

    def _entry_of_run(self, run: Run, label: str, wanted: Sequence[tuple[ScoreRequest, list[PartConfig]]]) -> Entry:
        """The entry of a finished run, in which requested scores that its folder lacks are measured."""
        entry = entry_of(run, label)
        if not wanted:
            return entry
        recorded = [each for each in entry.measured if columns_of([each.config.make()]).keys() & each.values.keys()]
        shown: list[Measured] = []
        lacking: list[PartConfig] = []
        for request, configs in wanted:
            exact = request.config is not None or self._samples is not None
            fitting = [
                each for each in recorded if (_in(each.config, configs) if exact else request.matches(each.config))
            ]
            shown += [each for each in fitting if each not in shown]
            if exact or not fitting:
                lacking += [config for config in configs if not _in(config, [each.config for each in fitting])]
        entry.measured = shown
        real = self._real_of(run.plan.data)
        _add(entry, self._scorer.of_run(run, real, _unique(lacking)) if lacking else [])
        return entry

    def _entry_of_pending(self, pending: Pending, label: str, configs: Sequence[PartConfig]) -> Entry:
        """The entry of an unfinished run, whose state is shown in the columns that it will have."""
        entry = Entry(label, pending.label, facts=facts_of(pending.plan), state=pending.state)
        if pending.plan is not None:
            data = self._real_of(pending.plan.data).described
            entry.missed = [Missed(config, data, pending.state) for config in configs or pending.plan.scores]
        return entry

    def _real_of(self, data: PartConfig) -> Real:
        """The images of a data set, read once."""
        return self._reals.setdefault(_json(data), Real.of_dataset(data))

    def _entries_of_images(
        self, configs: Sequence[PartConfig], datas: Sequence[PartConfig], taken: set[str]
    ) -> Iterable[Entry]:
        """The entries of all sets of images; one whose label is not unique has its path as the label."""
        if not configs:
            raise ScoreError(
                "no score is given for the images; give one with --score, such as --score fid "
                "(`genprior parts score` lists them)"
            )
        real = self._real or self._shared_data(_unique(datas))
        names = [images.label for images in self._images]
        for images in self._images:
            unique = names.count(images.label) == 1 and images.label not in taken
            label = images.label if unique else str(images.path)
            entry = Entry(label, images.label, facts=facts_of_images(images.images, real.facts))
            _add(entry, self._scorer.of_images(images, real, configs))
            yield entry

    def _shared_data(self, datas: Sequence[PartConfig]) -> Real:
        """The real images of the one data set that all runs share."""
        if len(datas) != 1:
            reason = f"the runs here have {len(datas)} data sets" if datas else "no run here names a data set"
            raise ScoreError(
                f"images are compared with real images, but {reason}; give them with --data: a data set (`genprior "
                "parts dataset` lists them), a recipe, or a folder or .npz file of images"
            )
        return self._real_of(datas[0])


def _abandoned(pending: Sequence[Pending]) -> tuple[str, ...]:
    """The runs that were begun, each with its state; none while a process trains one of the unfinished runs."""
    if any(in_use(each.folder) for each in pending):
        return ()
    return tuple(f"{each.folder} ({each.state})" for each in pending if (each.folder / ".lock").exists() or each.facts)


def _has_images(path: Path) -> bool:
    """Whether a folder without runs contains images.

    Raises:
        DataError: it contains neither runs nor images.
    """
    if image_files(path)[0]:
        return True
    raise DataError(
        f"{path} holds neither runs nor images ({PICTURE_KINDS}); give folders that do, recipes or .npz files"
    )


def _add(entry: Entry, outcomes: Sequence[Measured | Missed]) -> None:
    """Add measured and missed scores to an entry; values without a column become its further values."""
    entry.measured += [each for each in outcomes if isinstance(each, Measured)]
    entry.missed += [each for each in outcomes if isinstance(each, Missed)]
    for each in outcomes:
        if isinstance(each, Measured):
            columns = columns_of([each.config.make()])
            more = {key: value for key, value in each.values.items() if key.removeprefix("real_") not in columns}
            entry.others = {**entry.others, **more}


def _check_any_measured(entries: Sequence[Entry]) -> None:
    """Check that at least one requested score was measured.

    Raises:
        ScoreError: none was measured; the message gives the reasons of each row.
    """
    missed = [(entry, each) for entry in entries for each in entry.missed]
    if missed and not any(entry.measured for entry in entries):
        by_reason = itertools.groupby(missed, key=lambda pair: (pair[1].config.name, pair[1].reason))
        listed = "\n".join(
            f"  {', '.join(dict.fromkeys(entry.label for entry, _ in group))}: score '{name}': {reason}"
            for (name, reason), group in by_reason
        )
        raise ScoreError(f"nothing could be measured:\n{listed}")


def _json(config: PartConfig) -> str:
    return json.dumps(config.model_dump(mode="json"), sort_keys=True)


def _unique(configs: Iterable[PartConfig]) -> list[PartConfig]:
    return list({json.dumps(settings_of(each), sort_keys=True): each for each in configs}.values())


def _in(config: PartConfig, others: Iterable[PartConfig]) -> bool:
    return any(settings_of(config) == settings_of(other) for other in others)
