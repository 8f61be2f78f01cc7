"""Gives runs another number of steps, where all steps so far are those of a run of that length from the beginning."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from genprior.engine.optimise import learning_rate
from genprior.errors import RunError
from genprior.parts import Model, OptimiserConfig
from genprior.recipe.plan import Plan
from genprior.runs.changed_runs import refuse_changed
from genprior.runs.divergence import warn_of_damaged
from genprior.runs.early_stopping import ran_out_of_patience
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import Job

__all__ = ["lengthen"]


def lengthen(jobs: Sequence[Job], out: Path, *, last_good: bool = False) -> None:
    """Write the number of steps of each job into the run that its folder holds, if any; training then resumes it.

    A run that was finished is unfinished after that. Its scores stay in `scores.json` until the new ones are measured.

    Args:
        jobs: their plans have the new number of steps.
        out: the folder of the table, for messages.
        last_good: move damaged checkpoints aside, and resume from the newest undamaged one.

    Raises:
        RunError: a run has more steps already, or something in its steps so far depends on their number, such as the
            learning rate; or a run is of another recipe, on other data, damaged, or in use. No run was changed.
        CheckpointError: the newest checkpoint of a run is damaged.
    """
    refuse_changed(jobs, out, lengthened=True)
    with contextlib.ExitStack() as locks:
        lengthened: list[tuple[RunFolder, Plan, int]] = []
        wrong: dict[str, list[str]] = {}
        for job in jobs:
            files = RunFolder(job.folder)
            if files.recipe() is None:
                continue
            locks.enter_context(files.locked())
            plan, steps = files.plan(), job.plan.run.steps
            if plan.run.steps == steps:
                continue
            if last_good:
                warn_of_damaged(files.set_aside_damaged())
            for line in _reasons_against(files, plan, steps):
                wrong.setdefault(line, []).append(job.name)
            lengthened.append((files, plan, steps))
        if wrong:
            listed = "\n".join(f"  {line} [row {', '.join(names)}]" for line, names in wrong.items())
            raise RunError(
                f"runs in {out} cannot be trained to {', '.join(dict.fromkeys(f'{n:,}' for *_, n in lengthened))} "
                f"steps:\n{listed}\nNothing was changed. Give another --out to train so many steps from the beginning."
            )
        for files, plan, steps in lengthened:
            files.lengthen(plan, steps)


def _reasons_against(files: RunFolder, plan: Plan, steps: int) -> Iterator[str]:
    """Why a run is not the beginning of one of another number of steps."""
    if plan.fitted_prior is not None:
        yield (
            f"prior '{plan.fitted_prior.name}' is fitted to the codes of a model of {plan.run.steps:,} steps, and a "
            "longer training has other codes"
        )
        return
    saved = files.read_checkpoint()
    if saved is None:
        if files.fact("finished"):
            yield "the run is finished and has no checkpoint to resume from"
        return
    files.check_data(plan.data.make().files_hash())
    done = saved.step
    if steps < done:
        yield f"{done:,} steps are done already, and a run cannot be shortened"
        return
    if ran_out_of_patience(plan.run.stop, saved.facts):
        yield (
            f"early stopping ended it after {done:,} steps, whatever their number; to train further, give another "
            "run.stop.patience and another --out"
        )
        return
    own = plan.optimiser.keys() - {"default"}
    by_default = sorted({name.partition(".")[0] for name in saved.under("model")} - own)
    rates: list[tuple[OptimiserConfig, list[str]]] = [(plan.optimiser[name], [name]) for name in sorted(own)]
    rates += [(plan.optimiser["default"], by_default)] if by_default else []
    model = plan.model.part
    if issubclass(model, Model) and model.uses_share:
        yield f"the losses of model '{plan.model.name}' depend on the share of the run that is done"
    for config, modules in rates:
        named = "" if config.schedule is None else f" (schedule '{config.schedule.name}')"
        for step in reversed(range(done)):
            was, would_be = learning_rate(config, step, plan.run.steps), learning_rate(config, step, steps)
            if was != would_be:
                yield (
                    f"the learning rate of {', '.join(modules)} depends on run.steps{named}"
                    f": at step {step:,} it was {was:.4g}, and would have been {would_be:.4g} in a run of {steps:,} "
                    "steps"
                )
                break
