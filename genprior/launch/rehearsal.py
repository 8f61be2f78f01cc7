"""Rehearses, before training, what a run meets after its first step: a checkpoint, scores, their table, hooks."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from torch import nn

from genprior.errors import CheckpointError, GenpriorError, PartFailed, PlanError, ScoreError
from genprior.parts import Model, ModulePart, Part, PartConfig, Score
from genprior.recipe.plan import Plan
from genprior.registry import Registry, installed
from genprior.runs.few_images import FEW, FewImages
from genprior.runs.listeners import Listeners
from genprior.runs.part_errors import part_failed
from genprior.runs.trainer import Trainer
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of, measure_all, undeclared
from genprior.tables.columns import Entry, Measured, tabulate

__all__ = ["rehearse"]


def rehearse(plan: Plan, trainer: Trainer, registry: Registry | None = None) -> None:
    """Do what a run does after its first step, in the folder of a trainer that has taken one.

    A checkpoint is written and read back; scores that state `rehearsed` are measured on a few images; the table gets
    its row; hooks that state `rehearsed` are called.

    Raises:
        GenpriorError: training would fail later; the message names the part.
    """
    if plan.scores:
        trainer.images("test")
    path = _checkpoint(trainer)
    run = FewImages(trainer)
    scores = _scores(plan, run)
    _table(plan, scores)
    listeners = Listeners(plan, registry or installed(), rehearsal=True)
    line = {"step": trainer.step, "seconds": 0.0, **trainer.recorder.means()}
    run.metrics.append(line)
    listeners.started(run)
    listeners.step_done(run, trainer.step, line)
    listeners.epoch_done(run, 1)
    listeners.sampled(run, trainer.step)
    listeners.checkpoint_written(run, path)
    if plan.scores:
        listeners.evaluated(run, scores)
    listeners.finished(run, scores)


def _checkpoint(trainer: Trainer) -> Path:
    """Write a checkpoint and resume from it.

    Raises:
        PlanError: a module is stored twice.
        CheckpointError: what is read back is not what was written.
    """
    _refuse_stored_twice(trainer.model)
    try:
        path, lost = trainer.write_and_restore()
    except CheckpointError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"a checkpoint of this row cannot be written: {' '.join(str(error).split())}") from error
    if lost:
        raise CheckpointError(
            f"a checkpoint does not keep {', '.join(lost[:5])} of this row: other values came back than were written; "
            "a part must not change its parameters and buffers in state_dict or load_state_dict"
        )
    return path


def _refuse_stored_twice(model: Model) -> None:
    """Refuse a tensor that a checkpoint would hold under two names.

    Raises:
        PlanError: names both places and what to do.
    """
    seen: dict[tuple[int, int], str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not tensor.numel():
            continue
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset())
        first = seen.setdefault(place, name)
        if first == name:
            continue
        roles = first.partition(".")[0], name.partition(".")[0]
        holder, owner = (first, name) if roles[1] in _borrows(model, first) else (name, first)
        part = _part_at(model, holder)
        named = f"{part.kind} '{part.name}'" if part is not None else f"module '{holder.partition('.')[0]}'"
        advice = (
            "A part that borrows a module keeps the Borrowed object that its __init__ gets, and neither the module in "
            "it nor a module or parameter read from it"
            if roles[0] in _borrows(model, name) or roles[1] in _borrows(model, first)
            else "Keep it under one name only"
        )
        raise PlanError(
            f"{named} stores '{holder}', which is also '{owner}' of the model, so a checkpoint would hold it twice. "
            f"{advice}"
        )


def _borrows(model: Model, name: str) -> tuple[str, ...]:
    """The roles that the part of this state borrows."""
    part = _part_at(model, name)
    if isinstance(part, ModulePart):
        return part.borrows_of(part.config)
    return () if part is None else part.borrows


def _part_at(model: Model, name: str) -> Part | None:
    """The part among the modules of the model whose state has this name."""
    child: nn.Module | None = dict(model.named_children()).get(name.partition(".")[0])
    return child if isinstance(child, Part) else None


def _scores(plan: Plan, run: FewImages) -> dict[str, float]:
    """Values of the scores, measured on few images where a score states `rehearsed`; 0 for others.

    Raises:
        PartFailed: a score raises another error than one for the user.
        ScoreError: its columns are wrong.
    """
    values: dict[str, float] = {}
    wrong: str | None = None
    context = SampleContext(
        sampler=run.sample,
        load=run.images,
        device=next(run.model.parameters()).device,
        seed=run.seed,
        cache=run.folder / "cache",
        trained=run.trained,
    )
    for config in plan.scores:
        score: Score = config.make()
        keys = columns_of([score])
        values |= dict.fromkeys(keys, 0.0)
        small = _smaller(score)
        if small is None:
            continue
        # Too few images, or a network of one step, are no mistake of the recipe.
        with contextlib.suppress(ScoreError), _naming_rehearsal(score), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measured = measure_all([small.make()], context, plan.label)
            values |= measured
            wrong = undeclared(score, measured) or wrong
    if wrong is not None:
        raise ScoreError(wrong)
    return values


def _smaller(score: Score) -> PartConfig | None:
    """The settings of a score for few images; None if it cannot be rehearsed."""
    if not score.rehearsed:
        return None
    try:
        small = score.with_samples(FEW)
        made: Score = small.make()
        made.check()
    except (GenpriorError, ValidationError):
        return None
    return small if made.samples in (None, FEW) else None


@contextlib.contextmanager
def _naming_rehearsal(score: Score) -> Iterator[None]:
    """Say of what a score raises that it was measured on few images."""
    try:
        yield
    except (GenpriorError, KeyboardInterrupt):
        raise
    except BaseException as error:
        failed = part_failed(error)
        if failed is None:
            raise
        raise PartFailed(
            f"{failed}, when score '{score.name}' was measured on {FEW} images. If it only needs more, let it raise a "
            "genprior.ScoreError, or state rehearsed = False"
        ) from error


def _table(plan: Plan, scores: dict[str, float]) -> None:
    """Make the table of the row, as after training."""
    entry = Entry(plan.label, plan.label, 0, [Measured(config, {"name": ""}, scores) for config in plan.scores])
    table = tabulate(plan.title, [entry])
    table.as_markdown()
    table.as_html()
    json.dumps(table.as_json())
