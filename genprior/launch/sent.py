"""Jobs as another process or machine gets them: plain values, since parts of plugins need not be picklable."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError, GenpriorWarning, Interrupted
from genprior.recipe.plan import Plan
from genprior.registry import installed
from genprior.runs.jobs import Job
from genprior.runs.second_stage import trainer_of

__all__ = ["known_category", "row_failure", "sent", "train_sent"]


def sent(job: Job) -> dict[str, Any]:
    """The job as plain values; the plan is TOML."""
    first = None if job.first is None else str(job.first)
    return {"plan": job.plan.as_toml(), "seed": job.seed, "folder": str(job.folder), "first": first}


def train_sent(
    values: Mapping[str, Any],
    *,
    device: str,
    stop: Callable[[], bool],
    progress: Callable[[int, float], None],
    last_good: bool,
) -> dict[str, float]:
    """Train a job that `sent` has made, and return its scores.

    Raises:
        Interrupted: `stop` says so, before the first step or after one.
    """
    plan = Plan.model_validate(tomllib.loads(values["plan"]), context={"registry": installed()})
    if stop():  # stopped while this process started
        raise Interrupted(f"row '{plan.label}' was not begun")
    first = None if values["first"] is None else Path(values["first"])
    job = Job(plan, values["seed"], Path(values["folder"]), first)
    return trainer_of(job, device=device, stop=stop, progress=progress, last_good=last_good).run()


def known_category(category: type[Warning]) -> type[Warning]:
    """The nearest base of a class of warnings that the other process has too; it may lack classes of plugins."""
    return next(each for each in category.__mro__ if each is GenpriorWarning or each.__module__ == "builtins")


def row_failure(text: str) -> GenpriorError:
    """The error of a row whose own error cannot be told."""
    error = GenpriorError(text)
    error.exit_code = 1
    return error
