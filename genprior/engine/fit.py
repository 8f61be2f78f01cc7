"""Fits a prior to codes in memory: the loop that a run has, without its records and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import nn

from genprior.data.codes import CodeBatches
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Codes, FittedPrior, PartConfig, Prior, Sizes
from genprior.randomness import reseed, seeded

__all__ = ["begin_fit", "fit_prior", "fitted_modules"]


def fitted_modules(prior: FittedPrior) -> dict[str, nn.Module]:
    """The modules that a fit trains, by the names that the prior's phases have for them: its children."""
    return dict(prior.named_children())


@torch.no_grad()
def begin_fit(prior: FittedPrior, codes: Codes, seed: int) -> None:
    """Let a prior start from all codes, under the seed.

    Raises:
        PlanError: they are too few, or it has parameters that no phase can name.
    """
    prior.check_codes(len(codes.z))
    own = next((name for name, _ in prior.named_parameters(recurse=False)), None)
    if own is not None and not prior.closed_form:
        raise PlanError(
            f"parameter '{own}' of prior '{prior.name}' belongs to the prior itself, and the phases of a fit train its "
            "child modules. Put it into a module, such as torch.nn.ParameterDict"
        )
    with seeded(seed, "begin fit"):
        prior.begin_fit(codes)


def fit_prior(
    config: PartConfig,
    codes: Codes,
    *,
    steps: int = 1000,
    batch: int = 256,
    seed: int = 0,
    image: tuple[int, int, int] = (1, 8, 8),
    optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = torch.optim.Adam,
) -> FittedPrior:
    """Fit a prior to codes, as the second stage of a run does.

    Args:
        config: the settings of a `FittedPrior`.
        codes: z [n, d] and asked [n, k].
        steps: training steps; a prior in closed form needs none.
        batch: codes a step; all of them if they are fewer.
        seed: draws first weights and batches.
        image: (c, h, w), for the prior's `Sizes`.
        optimiser: makes the optimiser of each module, such as `torch.optim.Adam` with its default rate of 1e-3.

    Returns:
        The prior in evaluation mode.

    Raises:
        PlanError: the prior cannot be fitted, or the codes are too few.
    """
    cast(type[Prior], config.part).check_role("fitted_prior")
    asked = codes.asked.shape[1]
    one_hot = asked > 0 and bool((((codes.asked == 1).sum(1) == 1) & ((codes.asked != 0).sum(1) == 1)).all())
    with seeded(seed, "fitted_prior"):
        prior: FittedPrior = config.make(Sizes(image, codes.z.shape[1], asked, asked, one_hot))
    prior.to(codes.z.device, codes.z.dtype)
    begin_fit(prior, codes, seed)
    batches = CodeBatches(codes, batch=min(batch, len(codes.z)), seed=seed)
    modules = fitted_modules(prior)
    optimisers = {n: optimiser(m.parameters()) for n, m in modules.items() if any(True for _ in m.parameters())}
    phases = prior.phases()
    prior.train()
    for step in range(steps if phases else 0):
        reseed(seed, "step", step)
        done = torch.full((), step, device=codes.z.device)
        now = batches.batch(step)._replace(step=done, share=done.float() / steps)
        for phase in phases:
            if step % phase.every == 0:
                run_phase(phase, now, modules, optimisers)
    return prior.eval()
