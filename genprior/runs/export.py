"""Writes images of a run with an exporter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from genprior.errors import PlanError, RunError, system_error
from genprior.parts import Exporter, TextExporter
from genprior.registry import installed
from genprior.runs.part_errors import naming_parts
from genprior.runs.run import Run
from genprior.storage.files import to_file

__all__ = ["default_file", "export", "exporter_for"]


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
    ending = path.suffix.lower()
    for_ending = [part for part in parts if ending in part.suffixes]
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


def default_file(folder: Path, *, seed: int, label: str | None, text: Sequence[str], by_label: bool) -> Path:
    """The file of samples if none is named: its name tells what was asked for, other than seed 0.

    For example `samples-label-7-seed-1.png`; a text is shortened to 40 letters and digits.
    """
    words = ["samples"]
    words += ["labels"] if by_label else []
    words += [f"label-{_plain(label)}"] if label is not None else []
    words += [_plain(each) for each in text]
    words += [f"seed-{seed}"] if seed else []
    return folder / f"{'-'.join(words)[:120]}.png"


def _plain(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text).strip("-")[:40]


def export(
    run: Run,
    name: str,
    path: Path,
    *,
    n: int,
    seed: int,
    label: str | None,
    text: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write n images of a run with an installed exporter.

    Raises:
        RunError: the file exists already, or the run has no checkpoint.
        PluginError: the exporter does not exist.
        PlanError: the class does not exist, the model is not conditioned on labels or not on text, or the exporter
            writes no images of sentences.
        SystemFailure: the file cannot be written.
    """
    if path.exists() and not force:
        raise RunError(f"{path} exists already; give another --to, or --force to overwrite it")
    part = cast(type[Exporter], installed().find(Exporter.kind, name))
    model = run.model
    exporter: Exporter = part.for_classes(len(run.classes)).make()
    exporter.class_names = tuple(run.classes)
    index = None if label is None else run.label_index(label)
    if text is not None and not isinstance(exporter, TextExporter):
        able = [part.name for part in installed().all() if issubclass(part, TextExporter)]
        raise PlanError(
            f"exporter '{name}' writes no images of a text; leave --text out, or use one of: {', '.join(able)}"
        )
    with naming_parts(run.label):
        try:
            with to_file("write", path):
                if isinstance(exporter, TextExporter):
                    exporter.write(model, path, n=n, seed=seed, label=index, text=text)
                else:
                    exporter.write(model, path, n=n, seed=seed, label=index)
        except OSError as error:
            raise system_error(error) from error
