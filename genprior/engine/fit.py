"""Fits a prior to codes in memory: the loop that a run has, without its records and files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.data.codes import CodeBatches
from genprior.engine.step import run_phase
from genprior.errors import GenpriorWarning, PlanError, shown, whole_number
from genprior.parts import Codes, FittedPrior, PartConfig, Prior, Sizes
from genprior.randomness import reseed, seeded
from genprior.recipe.tables import fitted_prior_settings

__all__ = ["begin_fit", "fit_prior", "fitted_modules"]


def fitted_modules(prior: FittedPrior) -> dict[str, nn.Module]:
    """The modules that a fit trains, by the names that the prior's phases have for them: its children."""
    return dict(prior.named_children())


@torch.no_grad()
def begin_fit(prior: FittedPrior, codes: Codes, seed: int) -> None:
    """Let a prior start from all codes, under the seed; warns where they are all equal.

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
    if len(codes.z) > 1 and _all_equal(codes.z):
        warnings.warn(
            f"all {len(codes.z):,} codes of training images are equal, so prior '{prior.name}' has nothing to learn "
            "but this one code: the encoder has collapsed, or all images are the same. Train the model with a code "
            "that tells images apart (look at its reconstructions), and fit the prior to that",
            GenpriorWarning,
            stacklevel=2,
        )
    with seeded(seed, "begin fit"):
        prior.begin_fit(codes)


def _all_equal(z: Tensor) -> bool:
    """Whether codes z [n, d] are equal but for rounding, some ten times the precision of single floats."""
    spread = z.amax(0) - z.amin(0)
    return bool((spread <= 1e-6 * z.abs().amax(0)).all())


def fit_prior(
    config: PartConfig | Mapping[str, Any],
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
        config: the settings of a `FittedPrior`, or its table as in a recipe, such as `{"name": "kde"}`.
        codes: z [n, d] and asked [n, k].
        steps: training steps; a prior in closed form needs none.
        batch: codes a step; all of them if they are fewer.
        seed: draws first weights and batches.
        image: (c, h, w), for the prior's `Sizes`.
        optimiser: makes the optimiser of each module, such as `torch.optim.Adam` with its default rate of 1e-3.

    Returns:
        The prior in evaluation mode.

    Raises:
        PlanError: the prior cannot be fitted, the codes are too few or no finite numbers [n, d] with a condition each,
            or an argument is of another type.
    """
    config = _settings(config)
    _check_codes(codes)
    steps = whole_number(steps, "steps", PlanError)
    batch = whole_number(batch, "batch", PlanError, least=1)
    seed = whole_number(seed, "seed", PlanError)
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


def _settings(config: Any) -> PartConfig:
    """The settings of a prior that can be fitted, from these or from its table.

    Raises:
        PlanError: it is neither, the table is wrong, or the prior cannot be fitted.
    """
    if isinstance(config, Mapping):
        return fitted_prior_settings(config)
    if not (isinstance(config, PartConfig) and type(config) is not PartConfig and issubclass(config.part, Prior)):
        raise PlanError(
            f'fit_prior was given {_named(config)} as the prior to fit. Give its table, such as {{"name": "kde"}}, or '
            "its settings, such as MyPrior.Config()"
        )
    config.part.check_role("fitted_prior")
    return config


def _check_codes(codes: Any) -> None:
    """Refuse what are not codes with a condition each.

    Raises:
        PlanError: says what is needed.
    """
    remedy = "Give genprior.Codes(z, asked) with z [n, d] and asked [n, k]; without a condition asked is z[:, :0]"
    if not isinstance(codes, Codes):
        raise PlanError(f"fit_prior was given {_named(codes)} as codes. {remedy}")
    for name, values in (("z", codes.z), ("asked", codes.asked)):
        if not isinstance(values, torch.Tensor) or values.ndim != 2 or not values.is_floating_point():
            raise PlanError(f"the codes of fit_prior have {_named(values)} as {name}. {remedy}, both floating point")
    if len(codes.z) != len(codes.asked) or not codes.z.numel():
        raise PlanError(
            f"the codes of fit_prior are z {[*codes.z.shape]} and asked {[*codes.asked.shape]}, which must have the "
            f"same number of rows, and z at least one. {remedy}"
        )
    if not bool(codes.z.isfinite().all() and codes.asked.isfinite().all()):
        raise PlanError("the codes of fit_prior, or their conditions, are not all finite numbers; leave such rows out")


def _named(value: Any) -> str:
    """A value in words: a tensor by its form, anything else by its type and what it says."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {[*value.shape]} of {str(value.dtype).removeprefix('torch.')}"
    return f"the class {value.__name__}" if isinstance(value, type) else f"{shown(value)} (a {type(value).__name__})"
