"""Writes images of a run with an exporter."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from genprior.errors import PlanError, RunError, system_error, whole_number
from genprior.parts import Exporter, TextExporter
from genprior.registry import installed
from genprior.runs.part_errors import naming_parts
from genprior.runs.part_settings import configured
from genprior.runs.run import Run, load_run
from genprior.storage.files import path_with_ending, to_file

__all__ = ["default_file", "export", "exporter_for", "run_of"]


def _exporter(name: str) -> type[Exporter]:
    """The installed exporter of this name.

    Raises:
        PluginError: there is none.
    """
    return cast(type[Exporter], installed().find(Exporter.kind, name))


def _has_ending(path: Path, part: type[Exporter]) -> int:
    """The length of the exporter's longest ending that a file name has, such as `.tar.gz`; 0 if it has none."""
    name = path.name.lower()
    return max(
        (len(each) for each in part.suffixes if name.endswith(each.lower()) and len(name) > len(each)), default=0
    )


def exporter_for(path: Path, *, by_label: bool) -> str:
    """The name of the installed exporter for a file extension.

    If several match, an exporter of the plugin that registered first, the standard parts, is chosen. So installing a
    package does not change what a command writes.

    Args:
        path: the file to write.
        by_label: whether the exporter must lay out images by label.

    Raises:
        PlanError: no exporter has this extension or this layout, or several of equal rank have.
    """
    registry = installed()
    parts = [part for part in registry.all() if issubclass(part, Exporter)]
    lengths = {part: _has_ending(path, part) for part in parts}
    longest = max(lengths.values(), default=0)
    for_ending = [part for part in parts if longest and lengths[part] == longest]
    ending = path.name[-longest:].lower() if longest else path.suffix
    if not for_ending:
        possible = dict.fromkeys(suffix for part in parts for suffix in part.suffixes)
        raise PlanError(
            f"{path} ends in '{path.suffix}', which is no known format. Possible: {', '.join(possible)}; "
            "or name an exporter with --exporter (`genprior parts exporter` lists them)"
        )
    fitting = [part for part in for_ending if part.by_label == by_label]
    if not fitting and by_label:
        pictures = dict.fromkeys(suffix for part in parts if part.by_label for suffix in part.suffixes)
        raise PlanError(
            f"--grid labels needs a picture, but {path} is {for_ending[0].writes}; give a --to that ends in "
            f"{' or '.join(pictures)}"
        )
    chosen = fitting or for_ending
    first = [part for part in chosen if registry.origin(part) == registry.plugins[0]]
    if len(chosen := first or chosen) > 1:
        names = ", ".join(part.name for part in chosen)
        raise PlanError(f"several exporters write {ending}: {names}; name one of them with --exporter")
    return chosen[0].name


def default_file(
    folder: Path,
    exporter: str | None = None,
    *,
    seed: int = 0,
    label: str | None = None,
    text: Sequence[str] = (),
    by_label: bool = False,
) -> Path:
    """The file of samples if none is named: its name tells what was asked for, other than seed 0.

    For example `samples-label-7-seed-1.png`; a text is shortened to 40 letters and digits. The ending is the first one
    of the exporter; `.png` if it states none, or if none is named.

    Raises:
        PluginError: the exporter does not exist.
    """
    endings = _exporter(exporter).suffixes if exporter is not None else ()
    words = ["samples"]
    words += ["labels"] if by_label else []
    words += [f"label-{_plain(label)}"] if label is not None else []
    words += [_plain(each) for each in text]
    words += [f"seed-{seed}"] if seed else []
    return folder / f"{'-'.join(words)[:120]}{endings[0] if endings else '.png'}"


def _plain(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text).strip("-")[:40]


def run_of(run: object) -> Run:
    """The run itself, or the run in a folder.

    Raises:
        RunError: it is neither.
    """
    if isinstance(run, str | Path):
        return load_run(run)
    if isinstance(run, Run):
        return run
    raise RunError(
        f"run is a {type(run).__name__}, and no run; give genprior.load_run(path), or the path of a run's folder, such "
        "as runs/<recipe>/<row>/seed-0"
    )


def export(
    run: Run | str | Path,
    path: str | Path,
    *,
    exporter: str | None = None,
    settings: Mapping[str, Any] | None = None,
    n: int = 100,
    seed: int = 0,
    label: str | int | None = None,
    text: str | Sequence[str] | None = None,
    by_label: bool = False,
    force: bool = False,
) -> None:
    """Write n images of a run to a file with an installed exporter.

    Args:
        run: a run, from `genprior.load_run`, or its folder, `<out>/<row>/seed-<k>`.
        path: the file.
        exporter: its name; by default it is chosen by the ending of the file.
        settings: settings of the exporter, as `genprior parts exporter NAME` shows them.
        n: the number of images.
        seed: draws codes and conditions.
        label: a class's name or index, for models that are conditioned on labels.
        text: sentences, for models that are conditioned on text.
        by_label: whether the exporter that the ending chooses is one that lays images out by label.
        force: whether a file that exists is overwritten.

    Raises:
        RunError: the file exists already, n or the seed is no whole number or too small, the run has no
            checkpoint, or `run` is neither a run nor a run's folder.
        PluginError: the exporter does not exist.
        PlanError: the exporter has no such setting or ending, the class does not exist, the model is not conditioned on
            labels or not on text, or the exporter writes no images of sentences or by label.
        SystemFailure: the file cannot be written.
        PartFailed: the exporter or the model raised another exception.
    """
    run, path = run_of(run), Path(path)
    part = _exporter(exporter if exporter is not None else exporter_for(path, by_label=by_label))
    if by_label and not part.by_label:
        able = [each.name for each in installed().all() if issubclass(each, Exporter) and each.by_label]
        raise PlanError(
            f"exporter '{part.name}' does not lay images out by label, so --grid labels has no effect; leave it out, "
            f"or use one of: {', '.join(able)}"
        )
    if part.suffixes and not _has_ending(path, part):
        raise PlanError(
            f"exporter '{part.name}' writes {part.writes}, in files that end in {' or '.join(part.suffixes)}, and "
            f"{path} does not; give {path_with_ending(path, part.suffixes[0])}, or another exporter"
        )
    with naming_parts(run.label):
        made: Exporter = configured(part, settings or {}, part.for_classes(len(run.classes))).make()
    if "\0" in str(path):
        raise RunError(f"{path} has a null character, which no file's name can have; give another path")
    n, seed = whole_number(n, "n", RunError, least=1), whole_number(seed, "seed", RunError)
    if os.path.lexists(path) and not force:  # a link to nothing is a file of the user, too
        raise RunError(f"{path} exists already; give another file, or --force to overwrite it")
    model = run.model
    made.class_names = tuple(run.classes)
    index = None if label is None else run.label_index(label)
    if text is not None and not isinstance(made, TextExporter):
        able = [part.name for part in installed().all() if issubclass(part, TextExporter)]
        raise PlanError(
            f"exporter '{part.name}' writes no images of a text; leave --text out, or use one of: {', '.join(able)}"
        )
    sentences = [text] if isinstance(text, str) else text
    with naming_parts(run.label):
        try:
            with to_file("write", path):
                if isinstance(made, TextExporter):
                    made.write(model, path, n=n, seed=seed, label=index, text=sentences)
                else:
                    made.write(model, path, n=n, seed=seed, label=index)
        except OSError as error:
            raise system_error(error) from error
