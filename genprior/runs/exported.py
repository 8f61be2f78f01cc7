"""Writes the model of a run as a folder that is read like a run's, anywhere: the weights that are sampled, and facts.

`recipe.toml`, `run.json`, `scores.json` and `embedder.safetensors` are those of a run, `model.safetensors` has the
weights as they are sampled (averaged if the run has averages), and `model.json` the form of the data. Nothing in it
names a place on the machine that trained it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomlkit

from genprior.errors import FORMAT, RunError
from genprior.runs.exported_files import MARK
from genprior.runs.files import RunFiles
from genprior.runs.run import Run
from genprior.storage import checkpoint
from genprior.storage.files import write_text
from genprior.version import __version__

__all__ = ["portable", "write_exported"]

_OF_THE_MACHINE = ("command",)
"""Facts of a run that are not exported."""


def write_exported(run: Run, folder: Path) -> None:
    """Write the files by which `load_run` reads the model, into an empty folder.

    Raises:
        RunError: the run has no checkpoint.
        CheckpointError: its checkpoint is damaged.
        OSError: a file cannot be written.
    """
    model, own, files = run.model, RunFiles(run.folder), RunFiles(folder)
    saved = own.read_checkpoint(best=True)
    if saved is None:  # `run.model` has raised
        raise RunError(f"the run {run.folder} has no checkpoint yet")
    facts = {"data": saved.facts["data"], "seconds": saved.facts.get("seconds", 0.0), MARK: f"genprior {__version__}"}
    checkpoint.save(folder / checkpoint.EXPORTED, saved.step, model.state_dict(), facts)
    recipe = portable(run.plan.model_dump(exclude_none=True), run.plan.as_table())
    write_text(folder / "recipe.toml", f"format = {FORMAT}\n{tomlkit.dumps(recipe)}")
    known: dict[str, Any] = {k: v for k, v in run.facts.items() if k not in (*_OF_THE_MACHINE, "format")}
    if "first_stage" in known:
        known["first_stage"] = {**known["first_stage"], "folder": "the first stage"}
    files.write_facts(known)
    if run.scores:
        files.write_scores(run.scores, own.networks())
    if (embedder := own.embedder()) is not None:
        files.write_embedder(embedder)


def portable(values: Any, table: Any) -> Any:
    """A table of settings in which paths of files and folders are their last names.

    Args:
        values: the settings as Python has them, paths among them.
        table: the same as TOML has them.
    """
    if isinstance(table, dict):
        return {key: portable(values.get(key), value) for key, value in table.items()}
    if isinstance(table, list) and isinstance(values, list | tuple):
        return [portable(each, value) for each, value in zip(values, table, strict=True)]
    return values.name if isinstance(values, Path) else table
