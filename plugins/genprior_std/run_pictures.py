"""Pictures of a run: sample grids while it trains, reconstructions, and the curves of its records."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from genprior import hookimpl
from genprior.data import images_to_float, to_uint8
from genprior.parts import Batch
from genprior.pictures import curves, grid
from genprior.randomness import seeded
from genprior.sampling import evaluating
from genprior.trainer import Trainer
from genprior_std.priors.vampprior import VampPrior

__all__ = ["genprior_run_finished", "genprior_run_started", "genprior_step_done"]


@hookimpl
def genprior_run_started(trainer: Trainer) -> None:
    """Draw real images once, for comparison."""
    path = trainer.folder / "samples" / "real.png"
    if not path.exists():
        grid(trainer.images("train").images[:100], path)


@hookimpl
def genprior_step_done(trainer: Trainer, step: int, metrics: Mapping[str, float] | None) -> None:
    """Draw a grid of samples every `run.sample_every` steps and at the end, always of the same codes.

    A VampPrior also shows its first 100 pseudo-inputs, in one file that is always of the latest of these steps.
    """
    run = trainer.plan.run
    if step % run.sample_every == 0 or step == run.steps:
        grid(trainer.sample(100), trainer.folder / "samples" / f"step-{step:08d}.png")
        with trainer.trained() as model:
            prior = getattr(model, "prior", None)
            if isinstance(prior, VampPrior):
                grid(to_uint8(prior.first_pseudo_inputs(100)).cpu(), trainer.folder / "samples" / "pseudo_inputs.png")


@hookimpl
def genprior_run_finished(trainer: Trainer, scores: Mapping[str, float]) -> None:
    """Draw the curves, and held-out images beside their reconstructions."""
    curves(trainer.metrics, trainer.folder / "samples" / "curves.png")
    test = trainer.images("test")
    x, y = test.images[:50], test.labels[:50]
    device = next(trainer.model.parameters()).device
    with evaluating(trainer.model), seeded(trainer.seed, "reconstruct"):
        x_rec = trainer.model.reconstruct(Batch(images_to_float(x.to(device)), y.to(device)))
    if x_rec is not None:
        pairs = torch.stack([x, to_uint8(x_rec).cpu()], dim=1).flatten(0, 1)
        grid(pairs, trainer.folder / "samples" / "reconstructions.png")
