"""Writes images of a run through an exporter."""

from __future__ import annotations

from pathlib import Path

from genprior.errors import GenpriorError, PlanError, RunError
from genprior.registry import installed
from genprior.runs.run import Run

__all__ = ["export", "exporter_for"]


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
