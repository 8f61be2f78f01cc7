"""Pictures of a run: sample grids while it trains; at its end curves, reconstructions, codes, walks and clusters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from genprior import (
    Batch,
    Condition,
    ImageSet,
    Model,
    TrainingRun,
    draw_clusters,
    draw_codes,
    draw_curves,
    draw_grid,
    draw_walk,
    evaluating,
    hookimpl,
    images_to_float,
    principal_plane,
    seeded,
    to_uint8,
)
from genprior_std.answers import BATCH, answers_in_batches
from genprior_std.priors.vampprior import VampPrior

__all__ = ["genprior_run_finished", "genprior_run_started", "genprior_step_done"]

IMAGES = 2000
"""Test images in a picture of codes, and those among which the members of clusters are drawn."""
COLUMNS = 20
"""Images in a row of a walk."""
CLUSTERS = 30
MEMBERS = 10


@hookimpl
def genprior_run_started(trainer: TrainingRun) -> None:
    """Draw real images once, for comparison."""
    path = trainer.folder / "samples" / "real.png"
    if not path.exists():
        draw_grid(trainer.images("train").images[:100], path)


@hookimpl
def genprior_step_done(trainer: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
    """Draw a grid of samples every `run.sample_every` steps and at the end, always of the same codes.

    A VampPrior also shows its first 100 pseudo-inputs, in one file that is always of the latest of these steps.
    """
    run = trainer.plan.run
    if step % run.sample_every == 0 or step == run.steps:
        if trainer.model.makes_images:
            draw_grid(trainer.sample(100), trainer.folder / "samples" / f"step-{step:08d}.png")
        with trainer.trained() as model:
            prior = model.part_for("prior")
            if isinstance(prior, VampPrior):
                draw_grid(
                    to_uint8(prior.first_pseudo_inputs(100)).cpu(), trainer.folder / "samples" / "pseudo_inputs.png"
                )


@hookimpl
def genprior_run_finished(trainer: TrainingRun, scores: Mapping[str, float]) -> None:
    """Draw the curves, held-out images beside their reconstructions, and what the model has of the following.

    `codes.png`: the codes of 2,000 test images beside codes drawn with the prior; of wide codes the first two principal
    components. `walk.png`: images along the model's walk, as a rule the prior's. `clusters.png`: the head of each
    cluster and 10 of its test images.
    """
    draw_curves(trainer.metrics, trainer.folder / "samples" / "curves.png")
    test = trainer.images("test")
    x, y = test.images[:50], test.labels[:50]
    device = next(trainer.model.parameters()).device
    with evaluating(trainer.model), seeded(trainer.seed, "reconstruct"):
        x_rec = trainer.model.reconstruct(Batch(images_to_float(x.to(device)), y.to(device)))
    if x_rec is not None:
        pairs = torch.stack([x, to_uint8(x_rec).cpu()], dim=1).flatten(0, 1)
        draw_grid(pairs, trainer.folder / "samples" / "reconstructions.png")
    folder = trainer.folder / "samples"
    with trainer.trained() as model:
        with seeded(trainer.seed, "codes"):
            _draw_codes(model, test, folder / "codes.png", trainer.seed)
        with seeded(trainer.seed, "walk"):
            _draw_walk(model, folder / "walk.png")
        with seeded(trainer.seed, "clusters"):
            _draw_clusters(model, test, folder / "clusters.png", trainer.seed)


def _draw_codes(model: Model, test: ImageSet, path: Path, seed: int) -> None:
    """Draw where the images of each class are encoded, if the model encodes to at least two numbers."""
    some = ImageSet(test.images[:IMAGES], test.labels[:IMAGES], test.classes)
    device = next(model.parameters()).device
    codes = answers_in_batches(some, model.encode, device=device, seed=seed)
    if codes is None or min(codes.shape) < 2 or not bool(codes.isfinite().all()):
        return
    drawn = model.draw_codes(model.condition(torch.zeros(len(codes), device=device)))
    if drawn is not None:
        drawn = drawn.cpu()
        # The codes of a model of several levels are wider than those of the prior of one.
        drawn = drawn if drawn.shape[1] == codes.shape[1] and bool(drawn.isfinite().all()) else None
    if codes.shape[1] == 2:
        draw_codes(codes, some.labels, some.classes, path, drawn)
        return
    plane = principal_plane(codes)
    shown = None if drawn is None else plane.coordinates(drawn)
    named = tuple(f"principal component {i} of {codes.shape[1]}" for i in (1, 2))
    draw_codes(plane.coordinates(codes), some.labels, some.classes, path, shown, (named[0], named[1]))


def _draw_walk(model: Model, path: Path) -> None:
    """Draw images along the model's walk, all under one condition, if it has one and decodes at will."""
    like = next(model.parameters()).new_zeros(1)
    codes = model.walk(COLUMNS, like)
    if codes is None:
        return
    told = model.condition(like)
    images = []
    for z in torch.split(codes.flatten(0, 1), BATCH):
        decoded = model.decode(z, Condition(*(part.expand(len(z), -1) for part in told)))
        if decoded is None:
            return
        images.append(to_uint8(decoded).cpu())
    shown = torch.cat(images)
    draw_walk(shown.view(-1, COLUMNS, *shown.shape[1:]), path)


def _draw_clusters(model: Model, test: ImageSet, path: Path, seed: int) -> None:
    """Draw the head and some images of each of the first clusters, if the model has clusters."""
    chosen = torch.randperm(len(test.images))[:IMAGES]
    some = ImageSet(test.images[chosen], test.labels[chosen], test.classes)
    found = answers_in_batches(some, model.clusters, device=next(model.parameters()).device, seed=seed)
    if found is None:
        return
    shown = min(found.shape[1], CLUSTERS)
    cluster = found.argmax(1)
    members = [some.images[cluster == k][:MEMBERS] for k in range(shown)]
    if not any(len(images) for images in members):
        return
    heads = model.cluster_heads()
    draw_clusters(None if heads is None else to_uint8(heads[:shown]).cpu(), members, path)
