"""`genprior bench`: recipes, runs and images from anywhere in one table, under any score.

What is shown of a run is what its own files say. A score that a run lacks is measured from its checkpoint, and images
are scored as if a model had made them, each number once (see `genprior.bench.rescore`).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from genprior.bench.references import read_real
from genprior.bench.requests import Asked, read_score, with_samples
from genprior.bench.rescore import Real, Scorer
from genprior.data.foreign import Images, image_files, read_images
from genprior.engine.device import choose_device
from genprior.errors import DataError, RunError, ScoreError, did_you_mean
from genprior.parts import PartConfig
from genprior.recipe.load import load_recipe
from genprior.registry import installed
from genprior.runs.find import Pending, find_runs, nothing_finished, run_folders
from genprior.runs.jobs import Job, jobs_of
from genprior.runs.run import Run
from genprior.scoring.measure import columns_of
from genprior.storage.cache import cache_folder
from genprior.tables.columns import Entry, Measured, Missed, settings_of, tabulate
from genprior.tables.gather import entry_of, in_rows, own_labels, run_of_job, title_of
from genprior.tables.published import of_plugins, read_published
from genprior.tables.table import Table, best_first

__all__ = ["Bench", "Benched"]


@dataclasses.dataclass(frozen=True)
class Benched:
    """A table, and whether every run in it is finished."""

    table: Table
    complete: bool


class Bench:
    """What is compared, and how; `table` looks at it anew each time."""

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
    ) -> None:
        """Read recipes, images and numbers; runs are looked for by `table`.

        Args:
            paths: recipes, folders of runs, folders of images, .npz files.
            scores: names of scores, tables of their settings in TOML, or keys of the runs' results; those of the
                runs' recipes if there are none.
            data: the real images for scores of images: a data set's name, a table of its settings in TOML, a recipe, or
                a folder or .npz of images; those of the runs if None.
            samples: how many images are scored, in place of what the scores say.
            runs: where the runs of the one recipe are; `runs/<recipe>[-<change>...]` if None.
            changes: named changes of the recipes.
            settings: `PATH=VALUE` settings of the recipes.
            published: a file of published numbers to show beside those of the plugins.
            device: where to compute; `auto`, `cpu` or `cuda`.

        Raises:
            GenpriorError: a path, a score or the data is wrong; says what is possible.
        """
        self._registry = installed()
        self._samples = samples
        self._asked = [read_score(text, self._registry) for text in scores]
        self._published = (*of_plugins(self._registry), *(read_published(published) if published is not None else ()))
        self._folders: list[Path] = []
        self._images: list[Images] = []
        self._jobs: dict[Path, list[Job]] = {}
        recipes = [path for path in paths if path.suffix == ".toml"]
        if runs is not None and len(recipes) != 1:
            raise RunError(f"--runs says where the runs of one recipe are, and {len(recipes)} recipes are given")
        for path in dict.fromkeys(paths):
            if path in recipes:
                recipe = load_recipe(path, changes=changes, settings=settings)
                home = runs or Path("runs", "-".join([recipe.name, *dict.fromkeys(changes)]))
                self._jobs[path] = in_rows(jobs_of(recipe, home), recipe)
            elif path.suffix.lower() == ".npz" or (
                path.is_dir() and not run_folders(path) and _images_or_nothing(path)
            ):
                self._images.append(read_images(path))
            else:
                self._folders.append(path)
        self._paths = [
            f"{path} ({self._jobs[path][0].folder.parent.parent})" if path in self._jobs else str(path)
            for path in paths
        ]
        self._real = read_real(data, self._registry, changes, settings) if data is not None else None
        self._scorer = Scorer(choose_device(device), cache_folder())
        self._reals: dict[str, Real] = {}

    def table(self, *, watching: bool = False) -> Benched:
        """The table of what is there now.

        Args:
            watching: runs are on their way, so it is no mistake that none is finished.

        Raises:
            RunError: no run is finished, or runs are of another recipe, or of other data than a recipe.
            ScoreError: nothing could be measured, or a score does not exist; gives the reasons.
        """
        notes: list[str] = []
        found = self._found(notes)
        labels = own_labels(found, notes)
        runs = [each for each in found if isinstance(each, Run)]
        pending = [each for each in found if isinstance(each, Pending)]
        if not runs and not self._images and not watching:
            raise nothing_finished(self._paths, [f"{each.folder} ({each.state})" for each in pending])
        plans = [run.plan for run in runs] + [job.plan for jobs in self._jobs.values() for job in jobs]
        known = _unique(config for plan in plans for config in plan.scores)
        wanted = [(asked, self._ways_of(asked, known)) for asked in self._asked]
        if not wanted and self._samples is not None:
            wanted = [
                (Asked(config=way), [way]) for way in _unique(with_samples(each, self._samples) for each in known)
            ]
        ready = {label for label, each in zip(labels, found, strict=True) if isinstance(each, Run)}
        entries = []
        for label, each in zip(labels, found, strict=True):
            if isinstance(each, Run):
                entries.append(self._of_run(each, label, wanted))
            elif label not in ready:
                entries.append(_of_pending(each, label, [way for _, ways in wanted for way in ways]))
        if self._images:
            ways = _unique(way for _, each in wanted for way in each) or known
            entries += self._of_images(ways, [plan.data for plan in plans], set(labels))
        missing = [f"{each.folder} ({each.state})" for each in pending]
        title = title_of(runs) if runs else plans[0].title if plans else "images"
        table = tabulate(title, entries, missing=missing, published=self._published, notes=notes)
        if wanted:
            keys = [key for asked, ways in wanted for key in asked.keys(ways, entries)]
            order = {key: place for place, key in reversed(list(enumerate(keys)))}
            columns = [column for column in table.columns if column.key.partition("@")[0] in order]
            columns.sort(key=lambda column: order[column.key.partition("@")[0]])
            table = dataclasses.replace(table, columns=tuple(columns))
            if len(self._asked) == 1:
                table = best_first(table)
        if (wanted or self._images) and not (watching and pending):
            _something(entries)
        return Benched(table, not pending)

    def _found(self, notes: list[str]) -> list[Run | Pending]:
        """The runs of recipes, in the order of their rows, and those in folders."""
        found: dict[Path, Run | Pending] = {}
        data: dict[str, str] = {}
        for recipe, jobs in self._jobs.items():
            for job in jobs:
                data.setdefault(_json(job.plan.data), str(recipe))
                found[job.folder.resolve()] = self._of_job(job, recipe, notes)
        for each in find_runs(self._folders, notes):
            if each.folder.resolve() in found:
                continue
            if data and isinstance(each, Run) and _json(each.plan.data) not in data:
                recipes = ", ".join(dict.fromkeys(data.values()))
                raise RunError(
                    f"{each.folder} was trained on other data than the rows of {recipes}:\n"
                    f"  {_json(each.plan.data)}\nin the place of\n  {' or '.join(data)}\n"
                    "Compare runs of one data set, or give folders of runs in the place of the recipe: what was "
                    "measured on other data then gets columns of its own."
                )
            found[each.folder.resolve()] = each
        return list(found.values())

    @staticmethod
    def _of_job(job: Job, recipe: Path, notes: list[str]) -> Run | Pending:
        run = run_of_job(job, notes)
        if isinstance(run, Run) and (changed := job.plan.differences(run.plan.as_table())):
            listed = "\n".join(f"  {line}" for line in changed)
            raise RunError(
                f"{job.folder} holds a run of another recipe than {recipe}:\n{listed}\n"
                "Give the changes that it was trained with (--with, --set), the folder of the right runs with --runs, "
                "or the run's folder in the place of the recipe."
            )
        return run

    def _ways_of(self, asked: Asked, known: Sequence[PartConfig]) -> list[PartConfig]:
        """The settings to measure an asked score with where a row lacks it: those of the other rows, if any."""
        if asked.config is not None:
            ways = [asked.config]
        elif asked.part is not None:
            ways = [each for each in known if each.name == asked.part] or [
                self._registry.find("score", asked.part).Config()
            ]
        else:
            ways = [each for each in known if asked.key in columns_of([each.make()])]
            if not ways:
                possible = {*self._registry.names("score"), *columns_of([each.make() for each in known])}
                raise ScoreError(f"no run here has the score '{asked.key}'{did_you_mean(str(asked.key), possible)}")
        ways = _unique(with_samples(each, self._samples) for each in ways)
        for way in ways:
            way.make().check()
        return ways

    def _of_run(self, run: Run, label: str, wanted: Sequence[tuple[Asked, list[PartConfig]]]) -> Entry:
        entry = entry_of(run, label)
        if not wanted:
            return entry
        have = [each for each in entry.measured if columns_of([each.config.make()]).keys() & each.values.keys()]
        shown: list[Measured] = []
        lacking: list[PartConfig] = []
        for asked, ways in wanted:
            exact = asked.config is not None or self._samples is not None
            mine = [each for each in have if (_in(each.config, ways) if exact else asked.names(each.config))]
            shown += [each for each in mine if each not in shown]
            lacking += (
                [way for way in ways if not _in(way, [each.config for each in mine])] if exact or not mine else []
            )
        entry.measured = shown
        data = _json(run.plan.data)
        real = self._reals.setdefault(data, Real.of_dataset(run.plan.data))
        _add(entry, self._scorer.of_run(run, real, _unique(lacking)) if lacking else [])
        return entry

    def _of_images(self, ways: Sequence[PartConfig], datas: Sequence[PartConfig], taken: set[str]) -> Iterable[Entry]:
        if not ways:
            raise ScoreError(
                "images are to be scored, and no score is named; name one with --score, such as --score fid "
                "(`genprior parts score` lists them)"
            )
        real = self._real or self._shared(_unique(datas))
        names = [images.label for images in self._images]
        for images in self._images:
            alone = names.count(images.label) == 1 and images.label not in taken
            entry = Entry(images.label if alone else str(images.path), images.label)
            _add(entry, self._scorer.of_images(images, real, ways))
            yield entry

    def _shared(self, datas: Sequence[PartConfig]) -> Real:
        if len(datas) != 1:
            have = f"the runs here are of {len(datas)} data sets" if datas else "there are no runs to take them from"
            raise ScoreError(
                f"images are compared with real ones, and {have}; name them with --data: a data set (`genprior parts "
                "dataset` lists them), a recipe, or a folder or .npz of images"
            )
        return self._reals.setdefault(_json(datas[0]), Real.of_dataset(datas[0]))


def _images_or_nothing(path: Path) -> bool:
    """Whether a folder without runs has images; one that has neither is refused.

    Raises:
        DataError: it has neither.
    """
    if image_files(path):
        return True
    raise DataError(f"{path} holds neither runs nor images (PNG or JPEG); give folders that do, recipes or .npz files")


def _of_pending(pending: Pending, label: str, ways: Sequence[PartConfig]) -> Entry:
    """A row whose cells say how far it is, in the columns that it will have."""
    entry = Entry(label, pending.label, state=pending.state)
    if pending.plan is not None:
        data = pending.plan.data.model_dump(mode="json")
        entry.missed = [Missed(way, data, pending.state) for way in ways or pending.plan.scores]
    return entry


def _add(entry: Entry, outcomes: Sequence[Measured | Missed]) -> None:
    entry.measured += [each for each in outcomes if isinstance(each, Measured)]
    entry.missed += [each for each in outcomes if isinstance(each, Missed)]
    for each in outcomes:
        if isinstance(each, Measured):
            columns = columns_of([each.config.make()])
            more = {key: value for key, value in each.values.items() if key.removeprefix("real_") not in columns}
            entry.others = {**entry.others, **more}


def _something(entries: Sequence[Entry]) -> None:
    """Refuse a table in which nothing that was asked could be measured.

    Raises:
        ScoreError: gives each row's reasons.
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
