"""Pictures of a run: sample grids while it trains; at its end curves, reconstructions, codes, walks and clusters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    Condition,
    Hook,
    HookConfig,
    ImageSet,
    Model,
    TrainingRun,
    as_batch,
    draw_clusters,
    draw_codes,
    draw_curves,
    draw_grid,
    draw_walk,
    evaluating,
    principal_plane,
    seeded,
    to_uint8,
)
from genprior_std.answers import BATCH, answers_in_batches
from genprior_std.priors.vampprior import VampPrior

__all__ = ["Pictures"]


class Pictures(Hook):
    """Pictures of a run, in its folder `samples`.

    While it trains, every `run.sample_every` steps and at the end: a grid of samples, always of the same codes, and the
    pseudo-inputs of a VampPrior. At its end: curves, held-out images beside their reconstructions, and what the model
    has of codes, a walk and clusters.
    """

    name = "pictures"
    on_by_default = True

    class Config(HookConfig):
        """How much the pictures show."""

        samples: int = Field(100, ge=2)
        """Images in a grid: samples, real ones, pseudo-inputs, and half as many beside their reconstructions."""
        images: int = Field(2000, ge=1)
        """Test images in a picture of codes, and those among which the members of clusters are drawn."""
        columns: int = Field(20, ge=2)
        """Images in a row of a walk."""
        clusters: int = Field(30, ge=1)
        """Clusters that are shown, the first ones."""
        members: int = Field(10, ge=1)
        """Images of each cluster."""

    def started(self, run: TrainingRun) -> None:
        """Draw real images once, for comparison, and the samples of this step if they could not be written before."""
        path = run.folder / "samples" / "real.png"
        if not path.exists():
            draw_grid(run.images("train").images[: self.config.samples], path)
        drawn = run.step and run.model.makes_images and (not run.step % run.plan.run.sample_every or run.ended)
        if drawn and not (run.folder / "samples" / f"step-{run.step:08d}.png").exists():
            self.step_done(run, run.step, None)
            self.sampled(run, run.step, run.sample(self.config.samples))

    def step_done(self, run: TrainingRun, step: int, metrics: Mapping[str, float] | None) -> None:
        """Draw the first pseudo-inputs of a VampPrior every `run.sample_every` steps and at the end, in one file."""
        if step % run.plan.run.sample_every and not run.ended:
            return
        with run.trained() as model:
            prior = model.part_for("prior")
            if isinstance(prior, VampPrior):
                shown = to_uint8(prior.first_pseudo_inputs(self.config.samples)).cpu()
                draw_grid(shown, run.folder / "samples" / "pseudo_inputs.png")

    def sampled(self, run: TrainingRun, step: int, images: Tensor) -> None:
        """Draw a grid of samples, always of the same codes."""
        draw_grid(images, run.folder / "samples" / f"step-{step:08d}.png")

    def finished(self, run: TrainingRun, scores: Mapping[str, float]) -> None:
        """Draw the curves, held-out images beside their reconstructions, and what the model has of the following.

        `codes.png`: the codes of test images beside codes drawn with the prior; of wide codes the first two principal
        components. `walk.png`: images along the model's walk, as a rule the prior's. `clusters.png`: the head of each
        cluster and some of its test images.
        """
        folder, test, shown = run.folder / "samples", run.images("test"), self.config.samples // 2
        if any(line.keys() - {"step", "seconds"} for line in run.metrics):  # a fit in closed form has no losses
            draw_curves(run.metrics, folder / "curves.png")
        some = test.take(slice(shown))
        with evaluating(run.model), seeded(run.seed, "reconstruct"):
            x_rec = run.model.reconstruct(as_batch(run.model, some, next(run.model.parameters()).device))
        if x_rec is not None:
            pairs = torch.stack([some.images, to_uint8(x_rec).cpu()], dim=1).flatten(0, 1)
            draw_grid(pairs, folder / "reconstructions.png", names=("held out", "reconstruction") * 5)
        with run.trained() as model:
            with seeded(run.seed, "codes"):
                _draw_codes(model, test, self.config.images, folder / "codes.png", run.seed)
            with seeded(run.seed, "walk"):
                _draw_walk(model, self.config.columns, folder / "walk.png")
            with seeded(run.seed, "clusters"):
                _draw_clusters(model, test, self.config, folder / "clusters.png", run.seed)


def _draw_codes(model: Model, test: ImageSet, n: int, path: Path, seed: int) -> None:
    """Draw where the first n images are encoded, by class, if the model encodes to at least two numbers."""
    some = test.take(slice(n))
    device = next(model.parameters()).device
    codes = answers_in_batches(some, model.encode, model=model, device=device, seed=seed)
    if codes is None or min(codes.shape) < 2 or not bool(codes.isfinite().all()):
        return
    drawn = model.draw_codes(model.condition(torch.zeros(len(codes), device=device)))
    if drawn is not None:
        drawn = drawn.cpu()
        # A model outside of the contract may draw codes of another width than it encodes.
        drawn = drawn if drawn.shape[1] == codes.shape[1] and bool(drawn.isfinite().all()) else None
    if codes.shape[1] == 2:
        draw_codes(codes, some.labels, some.classes, path, drawn)
        return
    plane = principal_plane(codes)
    shown = None if drawn is None else plane.coordinates(drawn)
    named = tuple(f"principal component {i} of {codes.shape[1]}" for i in (1, 2))
    draw_codes(plane.coordinates(codes), some.labels, some.classes, path, shown, (named[0], named[1]))


def _draw_walk(model: Model, columns: int, path: Path) -> None:
    """Draw images along the model's walk, all under one condition, if it has one and decodes at will."""
    like = next(model.parameters()).new_zeros(1)
    codes = model.walk(columns, like)
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
    draw_walk(shown.view(-1, columns, *shown.shape[1:]), path)


def _draw_clusters(model: Model, test: ImageSet, config: Pictures.Config, path: Path, seed: int) -> None:
    """Draw the head and some images of each of the first clusters, if the model has clusters."""
    chosen = torch.randperm(len(test.images))[: config.images]
    some = test.take(chosen)
    found = answers_in_batches(some, model.clusters, model=model, device=next(model.parameters()).device, seed=seed)
    if found is None:
        return
    cluster, shown = found.argmax(1), min(found.shape[1], config.clusters)
    members = [some.images[cluster == k][: config.members] for k in range(shown)]
    if not any(len(images) for images in members):
        return
    heads = model.cluster_heads()
    draw_clusters(None if heads is None else to_uint8(heads[:shown]).cpu(), members, path)
