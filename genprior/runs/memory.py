"""Says of memory that could not be allocated which row and batch needed it, and what to lower."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Iterator

import torch

from genprior.errors import OutOfMemory
from genprior.recipe.plan import Plan
from genprior.runs.part_errors import culprit_of

__all__ = ["naming_memory", "ran_out_of_memory"]


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be allocated: on a GPU, in a tensor on the CPU, or in Python."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch has no class for this: c10/core/impl/alloc_cpu.cpp raises a RuntimeError.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


@contextlib.contextmanager
def naming_memory(plan: Plan, device: torch.device, *, doing: str = "") -> Iterator[None]:
    """Raise an error of a lack of memory inside the `with` block as one that says what to lower.

    The error keeps no frames, so that what the failed code has allocated is released for the next row.

    Args:
        plan: what is trained.
        device: where.
        doing: what is done in the block, such as `scoring`.

    Raises:
        OutOfMemory: the message names the row, the batch, and what to lower.
    """
    try:
        yield
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        failure = OutOfMemory(_explanation(plan, device, doing, error))
        # Only its text is kept: the frames of the exception hold what was allocated.
        failure.__cause__ = RuntimeError("the traceback of the row:\n" + "".join(traceback.format_exception(error)))
    else:
        return
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise failure


def _explanation(plan: Plan, device: torch.device, doing: str, error: Exception) -> str:
    place = "the GPU" if device.type == "cuda" else "this machine"
    named = "run.fit.batch" if plan.fitted_prior is not None else "run.batch"
    reason = " ".join(str(error).split()) or type(error).__name__
    culprit = culprit_of(error)
    where = (
        f", in {culprit.part.kind} '{culprit.part.name}'" if culprit is not None and culprit.part is not None else ""
    )
    others = "other programs on it leave" if device.type == "cuda" else "the other rows and programs leave"
    lower = "the samples of the scores, " if doing else ""
    lower += f"{named} or the width of the networks"
    half = max(1, plan.own_run.batch // 2)
    return (
        f"row '{plan.label}': out of memory on {place}{f' while {doing}' if doing else ''}, with {named} = "
        f"{plan.own_run.batch}{where}: {reason[:200].rstrip('. ')}. Lower {lower} (--set {named}={half}), or train "
        f"fewer rows side by side (--jobs 1) if {others} too little"
    )
