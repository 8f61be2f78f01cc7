"""FID of reconstructions of test images, and what samples of the prior lose against it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    Batch,
    Column,
    ImageSet,
    Model,
    ScoreContext,
    ScoreError,
    as_batch,
    evaluating,
    sample_context,
    seeded,
    to_uint8,
)
from genprior_std.answers import answers_in_batches
from genprior_std.scores.distance import DistanceConfig, DistanceScore
from genprior_std.scores.entropy import random_rows
from genprior_std.scores.fid import frechet_distance

__all__ = ["ReconstructionFID"]


class ReconstructionFID(DistanceScore):
    """FID of reconstructions of test images, and the prior gap: FID of samples minus that.

        prior_gap = FID(samples, reference) - FID(reconstructions of test images, reference)

    Of the FID, lower is better. Reconstructions are what the decoder makes of codes that images have, and samples what
    it makes of codes from the prior, so the gap is what the prior costs: near 0, a better prior cannot help, and the
    encoder and decoder are the limit. An encoder that ignores the prior makes the gap large and reconstructions good.

    The gap has no direction. It is below 0 where reconstructions are worse than samples, as after few steps, and near 0
    where a collapsed decoder makes the same images of all codes. Read it beside the FID of reconstructions.

    Images are reconstructed by the model's `reconstruct`, from mean codes: the decoder's limit without the noise of
    codes. A prior that equals the aggregated posterior draws noisier codes, so its gap is a little above 0; the row
    with the fitted prior `nearest`, which draws codes of training images, tells how much.

    FID is biased in the number of images, so both terms are of equally many, n = min(samples, test images), against the
    same reference; no image is used twice. Of more test images than `samples`, that many are chosen under a fixed seed;
    of fewer, the first n samples are used. `prior_gap` is therefore `fid` minus `reconstruction_fid` where `fid` has
    `samples` = n; the term itself is written as `prior_gap_fid`, and n as `prior_gap_images`. `real_reconstruction_fid`
    is that of the n test images themselves, perfect reconstructions. The term of n samples shares its features with
    `fid`, so nothing is computed twice.

    Leave `reference` at "train": reconstructions of test images are too close to a reference that has these images, so
    that the gap would also contain that.
    """

    name = "reconstruction_fid"
    title = "FID of reconstructions"
    higher_is_better = False
    titles = {"reconstruction_fid": ("FID of reconstructions", False), "prior_gap": ("prior gap", None)}
    at_most = ("samples",)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        of_reconstructions, gap = super().columns
        return of_reconstructions, gap._replace(of_prior=True)

    class Config(DistanceConfig):
        """Which images are compared, and through which network."""

        samples: int = Field(default=10_000, gt=1)
        """How many generated images and how many reconstructions; both at most as many as there are test images."""

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse a model that does not reconstruct, a single test image, and images that the network does not take.

        Raises:
            ScoreError: the model has no encoder, there are too few images, or they are neither grey nor in colour.
        """
        super().check_row(model, load)
        if len(load("test").images) < 2:
            raise ScoreError(
                "FID of reconstructions needs at least 2 test images, and there is 1; use a larger test split, or "
                "leave the score out"
            )
        device = next(model.parameters()).device
        with seeded(self.name, "check"), evaluating(model):
            if model.reconstruct(as_batch(model, load("test").take(slice(0, 2)), device)) is None:
                raise _not_reconstructing(model)

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """The Frechet distance of features [n, f] and [m, f]."""
        return {"reconstruction_fid": frechet_distance(generated, real)}

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """FID of reconstructions, the gap, and its other term.

        Raises:
            ScoreError: the model does not reconstruct images, there are too few, or the network is not available.
        """
        full = sample_context(context)
        with full.trained() as model:
            test = full.real("test")
            chosen = random_rows(torch.arange(len(test.images)), self.config.samples)

            def reconstructed(batch: Batch) -> Tensor | None:
                images = model.reconstruct(batch)
                return None if images is None else to_uint8(images)

            images = answers_in_batches(
                test.take(chosen), reconstructed, model=model, device=full.device, seed=full.seed
            )
            if images is None:
                raise _not_reconstructing(model)
        extractor = self.extractor(full)
        reference = full.features(extractor, self.config.reference).features
        generated = full.features(extractor, "generated", len(chosen)).features
        again = torch.cat([extractor(part).features.float().cpu() for part in torch.split(images, extractor.batch)])
        of_samples, of_reconstructions = (frechet_distance(rows, reference) for rows in (generated, again))
        prefix = self.prefix
        results = {
            "reconstruction_fid": of_reconstructions,
            "prior_gap": of_samples - of_reconstructions,
            "prior_gap_fid": of_samples,
            "prior_gap_images": float(len(chosen)),
        }
        named = {f"{prefix}{key}": value for key, value in results.items()}
        if self.config.reference == "train":
            real = frechet_distance(full.features(extractor, "test").features[chosen], reference)
            named[f"real_{prefix}reconstruction_fid"] = real
        return named


def _not_reconstructing(model: Model) -> ScoreError:
    return ScoreError(
        f"model '{model.name}' has no encoder and reconstructs no images, so there is no FID of reconstructions and no "
        "prior gap. Models that implement `reconstruct`, such as 'vae' and 'aae', have both; score this one by 'fid'"
    )
