"""A warning of averaged weights that are those of much of a run."""

from __future__ import annotations

from genprior.recipe.length import with_steps
from genprior.recipe.plan import Plan

__all__ = ["long_average"]

SHARE = 0.1
"""The largest share of a run over which an average of weights is no reason to warn."""
ADVISED = 0.05
"""The share that the warning recommends."""
TRIAL = 100
"""A run of fewer steps is a trial, whose samples nobody compares."""


def long_average(plan: Plan) -> str | None:
    """A warning where averaged weights are those of more than a tenth of a run; None elsewhere.

    While a run still learns fast, weights of long before are worse than the last ones. The average is over the last
    1 / (1 - run.ema) steps, or the share `run.ema_share` of the run if that is less.

    Args:
        plan: a row, or the first stage of rows; of a row with a fitted prior it is the fit.

    Raises:
        GenpriorError: the steps are given in epochs, and the data set cannot be read.
    """
    if plan.own_run.averaging is None:
        return None
    fitted = plan.fitted_prior is not None
    run, table = (plan.own_run, "run.fit") if fitted else (with_steps(plan).run, "run")
    by_decay = 1 / (1 - run.ema) if run.ema is not None else run.steps
    by_share = run.ema_share * run.steps if run.ema_share is not None else run.steps
    window = min(by_decay, by_share, run.steps)
    if run.steps < TRIAL or window <= SHARE * run.steps * (1 + 1e-9):  # 1 / (1 - 0.9) is a little more than 10
        return None
    setting = f"ema = {run.ema}" if run.ema_share is None or by_decay <= by_share else f"ema_share = {run.ema_share}"
    return (
        f"{table}.{setting} averages the weights of about {window:.0f} of the {run.steps} steps. While a run still "
        f"learns, earlier weights sample and score worse than the last ones. Set {table}.ema_share = {ADVISED}, which "
        f"limits the average to that share of the steps so far; up to {SHARE} there is no warning"
    )
