"""One step of each row on a few images, before anything trains."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from genprior.errors import GenpriorError, PlanError, RecipeError, ScoreError
from genprior.parts import ImageSet
from genprior.recipe.load import Recipe
from genprior.recipe.plan import Plan
from genprior.runs.trainer import Trainer
from genprior.scoring.measure import needed_split

__all__ = ["preflight"]

PREFLIGHT_BATCH = 12
"""Images of the one step that shows whether a row's parts fit; enough to be shared among a critic's five updates."""


def preflight(recipe: Recipe, device: str = "auto") -> None:
    """Take one step of each row on a few images, writing nothing, so that mistakes show before anything trains.

    Raises:
        RecipeError: lists what is wrong with each row.
    """
    wrong: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        read: dict[str, dict[str, ImageSet]] = {}
        for plan in recipe.plans:
            few = {"batch": min(PREFLIGHT_BATCH, plan.run.batch), "labelled_batch": None, "steps": 1}
            small = plan.model_copy(update={"run": plan.run.model_copy(update=few)})
            splits = read.setdefault(plan.data.model_dump_json(), {})
            trainer = Trainer(small, plan.run.seeds[0], Path(folder), device=device, splits=splits)
            try:
                with torch.random.fork_rng():
                    trainer.prepare()
                    _check_batches(plan, trainer)
                    _check_scores(plan, trainer)
                    trainer.one_step()
                    trainer.recorder.check(plan.label)
            except GenpriorError as error:
                wrong.setdefault(str(error), []).append(plan.label)
    if wrong:
        lines = [f"  {text} [row {', '.join(rows)}]" for text, rows in wrong.items()]
        raise RecipeError(f"the recipe '{recipe.name}' cannot be trained:\n" + "\n".join(lines))


def _check_batches(plan: Plan, trainer: Trainer) -> None:
    """Refuse batches of more images than there are, which a step on a few images would not see."""
    images, labelled, asked = len(trainer.images("train").labels), trainer.data.info.labelled, plan.run.labelled_batch
    if plan.run.batch > images:
        raise PlanError(
            f"run.batch = {plan.run.batch} is more than the {images} images of the training split; choose a smaller "
            "batch"
        )
    if asked is not None and labelled is not None and asked > labelled:
        raise PlanError(
            f"run.labelled_batch = {asked} is more than the {labelled} images that keep their label; choose 1 to "
            f"{labelled}, raise run.labels, or leave run.labelled_batch out"
        )


def _check_scores(plan: Plan, trainer: Trainer) -> None:
    """Refuse a score that lacks images, real ones or the model's, which would show after training."""
    for score in (config.make() for config in plan.scores):
        if score.needs_generated and not trainer.model.makes_images:
            raise ScoreError(
                f"score '{score.name}' looks at images that the model makes, and model '{trainer.model.name}' makes "
                "none. Leave the score out of this row, or use another model"
            )
        try:
            for split in score.needs:
                needed_split(score, split, trainer.images)
        except ScoreError as error:
            raise ScoreError(f"score '{score.name}': {error}") from error
