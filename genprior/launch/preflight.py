"""Checks each row with one training step on a few images, and what follows it, before training starts."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from genprior.errors import GenpriorError, GenpriorWarning, PartFailed, PlanError, RecipeError, ScoreError, listed
from genprior.launch.pace import Pace, Timer, pace_of
from genprior.launch.rehearsal import rehearse
from genprior.launch.returned import checking_returns
from genprior.launch.untrained import Trained
from genprior.parts import ImageSet, TextConditioner
from genprior.recipe.averaging import long_average
from genprior.recipe.fit import FitConfig
from genprior.recipe.length import with_steps
from genprior.recipe.load import Recipe
from genprior.recipe.plan import Plan
from genprior.registry import installed
from genprior.runs.early_stopping import refuse_unmeasurable
from genprior.runs.jobs import Job
from genprior.runs.part_errors import naming_parts
from genprior.runs.second_stage import SecondStage, trainer_of
from genprior.runs.torchrun import check_batches
from genprior.runs.trainer import Trainer
from genprior.scoring.measure import needed_split

__all__ = ["preflight"]

PREFLIGHT_BATCH = 12
"""The batch size of that step; large enough to be divided among five updates of a critic."""


def preflight(recipe: Recipe, device: str = "auto", *, timed: bool = False) -> list[Pace]:
    """Take one step of each row on a few images and rehearse what follows, to find mistakes before training starts.

    Nothing is written but into a temporary folder. Parameters that no phase of the model trains are a warning, and so
    is an average of weights over more than a tenth of the run.

    Args:
        recipe: its rows.
        device: `auto`, `cpu` or `cuda`.
        timed: whether to take a few more steps, of whole batches, and time them.

    Returns:
        The paces of the rows and of their first stages, if they are `timed`; else none.

    Raises:
        RecipeError: a row cannot be trained; the message lists the mistakes of each row.
    """
    _warn_of_plugins()
    wrong: dict[str, list[str]] = {}
    failed: list[Exception] = []
    warned: dict[str, list[str]] = {}
    paces: list[Pace] = []
    with tempfile.TemporaryDirectory() as folder:
        read: dict[str, dict[str, ImageSet]] = {}
        for place, (plan, label) in enumerate(_stages(recipe)):
            splits = read.setdefault(plan.data.model_dump_json(), {})
            job = Job(_small(plan), plan.run.seeds[0], Path(folder, str(place)))
            try:
                trainer = trainer_of(job, device=device, splits=splits)
                with naming_parts(), torch.random.fork_rng():
                    if not isinstance(trainer, SecondStage):
                        _check_batch(plan, trainer)
                    trainer.prepare()
                    if isinstance(trainer, SecondStage):
                        trainer.check_batch(plan.run.fit or FitConfig())
                    else:
                        _check_labels(plan, trainer)
                    _check_scores(plan, trainer)
                    if plan.fitted_prior is None:  # early stopping is of first stages
                        refuse_unmeasurable(with_steps(plan), trainer)
                    trained = Trained()
                    with checking_returns(trainer.model):
                        timer = Timer(next(trainer.model.parameters()).device)
                        with trained.recording(trainer):
                            began = timer.now()
                            trainer.one_step()
                            few = timer.now() - began
                        trainer.check()
                        trainer.recorded({"step": 1, "seconds": 0.0, **trainer.recorder.means(reset=False)})
                        rehearse(plan, trainer)
                    for text in (*trained.warnings(trainer), long_average(plan)):
                        if text is not None:
                            warned.setdefault(text, []).append(label)
                    if timed:
                        whole = Job(plan, job.seed, Path(folder, f"{place}-timed"))
                        paces.append(pace_of(whole, trainer, few, device=device, splits=splits))
            except GenpriorError as error:
                wrong.setdefault(str(error), []).append(label)
                failed += [error] if isinstance(error, PartFailed) else []
    if wrong:
        lines = [f"  {text} [row {listed(dict.fromkeys(rows))}]" for text, rows in wrong.items()]
        raise RecipeError(f"the recipe '{recipe.name}' cannot be trained:\n" + "\n".join(lines)) from (
            ExceptionGroup("parts that raised exceptions", failed) if failed else None
        )
    for text, rows in warned.items():
        warnings.warn(GenpriorWarning(f"row {listed(dict.fromkeys(rows))}: {text}"), stacklevel=2)
    return paces


def _warn_of_plugins() -> None:
    """Warn of each plugin that is installed and not loaded; a missing part is an error, a missing hook none."""
    for broken in installed().broken:
        reason = broken.reason.removeprefix(f"{broken.origin} ")
        text = (
            f"{broken.origin} is not loaded, and its hook functions are not called: {reason}. Update or uninstall that "
            "package"
        )
        warnings.warn(GenpriorWarning(text), stacklevel=3)


def _stages(recipe: Recipe) -> Iterator[tuple[Plan, str]]:
    """The plans to try, with the labels of their rows: first stages once, and the rows."""
    seen: set[str] = set()
    for plan in recipe.plans:
        if plan.fitted_prior is not None:
            first = plan.first_stage()
            settings = "\n".join(first.differences({}))
            if settings not in seen:
                yield first, plan.label
            seen.add(settings)
        yield plan, plan.label


def _small(plan: Plan) -> Plan:
    """The plan of a single step on a few images or codes."""
    few: dict[str, Any] = {
        "batch": min(PREFLIGHT_BATCH, plan.run.batch),
        "labelled_batch": None,
        "steps": 1,
        "graph": "off",
        "compile": False,
        "on_divergence": "stop",
    }
    fit = plan.run.fit or FitConfig()
    few["fit"] = fit.model_copy(update={"batch": min(PREFLIGHT_BATCH, fit.batch), "steps": 1})
    return plan.model_copy(update={"run": plan.run.model_copy(update=few), "model": plan.model.for_one_step()})


def _check_batch(plan: Plan, trainer: Trainer) -> None:
    """Refuse a batch that is larger than the data set; a step on a few images does not find this."""
    images = len(trainer.images("train").labels)
    check_batches("run.batch", plan.run.batch)
    if plan.run.batch > images:
        raise PlanError(
            f"run.batch = {plan.run.batch} is more than the {images} images of the training split; choose a smaller "
            "batch"
        )


def _check_labels(plan: Plan, trainer: Trainer) -> None:
    """Refuse a number of labels that has no effect, and a batch of more of them than there are."""
    labelled = trainer.info.labelled
    conditioner = trainer.model.part_for("conditioner")
    if plan.run.labels is not None and isinstance(conditioner, TextConditioner):
        raise PlanError(
            f"run.labels = {plan.run.labels} has no effect: conditioner '{conditioner.name}' tells the model captions, "
            "and no labels. Leave run.labels out, or use conditioner 'partial_label'"
        )
    labelled_batch = plan.run.labelled_batch
    if labelled_batch is not None and plan.run.labels is None:
        raise PlanError(
            f"run.labelled_batch = {labelled_batch} has no effect without run.labels: all images keep their label. Set "
            "run.labels to the number of images that keep it, or leave run.labelled_batch out"
        )
    if labelled_batch is not None and labelled is not None and labelled_batch > labelled:
        raise PlanError(
            f"run.labelled_batch = {labelled_batch} is more than the {labelled} images that keep their label; "
            f"choose 1 to {labelled}, raise run.labels, or leave run.labelled_batch out"
        )


def _check_scores(plan: Plan, trainer: Trainer) -> None:
    """Refuse a score without the images or the model that it needs, which would otherwise fail after training."""
    for score in (config.make() for config in plan.scores):
        if score.needs_generated and not trainer.model.makes_images:
            raise ScoreError(
                f"score '{score.name}' needs generated images, but model '{trainer.model.name}' makes none. "
                "Leave the score out of this row, or use another model"
            )
        try:
            for split in score.needs:
                needed_split(score, split, trainer.images)
            score.check_row(trainer.model, trainer.images)
            score.check()
        except ScoreError as error:
            raise ScoreError(f"score '{score.name}': {error}") from error
