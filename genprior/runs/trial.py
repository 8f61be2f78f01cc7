"""Short runs of parts that need not be installed, for the contract tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genprior.parts import HookConfig, ImageSet, PartConfig
from genprior.recipe.plan import Plan
from genprior.registry import Registry, installed
from genprior.runs.trainer import Trainer

__all__ = ["trial"]


def trial(
    folder: Path,
    data: PartConfig,
    model: PartConfig,
    *,
    steps: int = 6,
    batch: int = 8,
    scores: tuple[PartConfig, ...] = (),
    hooks: Mapping[str, HookConfig] | None = None,
    splits: dict[str, ImageSet] | None = None,
) -> Trainer:
    """A trainer of a short run on the CPU, with these hooks alone.

    No hook is on by default, and no hook function of a plugin is called. It records every second step, writes a
    checkpoint every third, and resumes the run of its folder.

    Args:
        folder: the run folder.
        data: the data set.
        model: the model.
        steps: how many.
        batch: images a step.
        scores: what is measured at the end.
        hooks: by their names.
        splits: splits of the data set in place of those that it loads.
    """
    every = {"log_every": 2, "checkpoint_every": 3, "sample_every": 3}
    table = {
        "label": "trial",
        "run": {"steps": steps, "batch": batch, **every},
        "data": data,
        "model": model,
        "scores": scores,
        "optimiser": {"default": {}},
    }
    plan = Plan.model_validate(table, context={"registry": installed()})
    plan = plan.model_copy(update={"run": plan.run.model_copy(update={"hooks": dict(hooks or {})})})
    return Trainer(plan, 0, folder, device="cpu", registry=Registry(), splits=splits)
