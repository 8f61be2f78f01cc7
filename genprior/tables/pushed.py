"""Uploads runs to the Hugging Face hub, as `export_folder` writes them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from genprior.runs.export import run_of
from genprior.runs.hub import repository_of, upload
from genprior.runs.run import Run
from genprior.tables.model_card import export_folder

__all__ = ["push_run"]


def push_run(run: Run | str | Path, name: str, *, private: bool = False) -> str:
    """Upload the exported folder of a run, which `load_run("hf://user/name")` then opens.

    Args:
        run: a run, from `genprior.load_run`, or its folder.
        name: `user/name`, or `hf://user/name`.
        private: whether a new repository is private.

    Returns:
        The address of its page.

    Raises:
        PlanError: the package huggingface_hub is missing.
        RunError: the name is none, there is no token, it may not write there, the hub does not answer, or the run has
            no checkpoint.
    """
    name = repository_of(name)
    run = run_of(run)
    with tempfile.TemporaryDirectory() as folder:
        export_folder(run, Path(folder) / "model", name=f"hf://{name}")
        return upload(Path(folder) / "model", name, private=private)
