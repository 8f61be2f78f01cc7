"""The distance between the codes of images and those of the prior, beside what chance makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    Batch,
    Column,
    ImageSet,
    LikelihoodModel,
    Model,
    PartConfig,
    Score,
    ScoreContext,
    ScoreError,
    seeded,
)
from genprior_std.answers import BATCH, answers_in_batches
from genprior_std.scores.entropy import random_rows

__all__ = ["CodeMMD", "Discrepancy", "median_distance", "permuted_mmd"]

ROWS = 1_000
"""How many rows of the kernel matrix are held at a time: 0.2 GB for 10,000 codes of each in double precision."""


class Discrepancy(NamedTuple):
    """The squared MMD of two sets of codes, and of random divisions of both together into two sets of these sizes."""

    mmd: float
    """The unbiased estimate."""
    null: Tensor
    """The same of each random division, float64 [permutations]."""


def median_distance(codes: Tensor) -> float:
    """The median of the Euclidean distances between different codes [n, d], of at most 1,000 chosen at random."""
    few = random_rows(codes, ROWS).double()
    return float(torch.pdist(few).median())


def permuted_mmd(x: Tensor, y: Tensor, bandwidth: float, permutations: int) -> Discrepancy:
    """The unbiased squared MMD under the kernel k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)), and its null distribution.

        mmd = 1 / (n (n - 1)) sum_{i != j} k(x_i, x_j) + 1 / (m (m - 1)) sum_{i != j} k(y_i, y_j)
              - 2 / (n m) sum_ij k(x_i, y_j)

    All divisions are computed at once: with a [n + m, p], 1 where a code is in the first set of a division, and K the
    kernel without its diagonal, the sums are a' K a, a' K (1 - a) and (1 - a)' K (1 - a). Draws from torch's generator.

    Args:
        x: codes [n, d], n at least 2.
        y: codes [m, d], m at least 2.
        bandwidth: the standard deviation of the kernel.
        permutations: p - 1, the number of random divisions.

    References:
        Gretton et al., A Kernel Two-Sample Test, 2012, lemma 6 (the estimate).
    """
    n, m = len(x), len(y)
    pooled = torch.cat([x, y]).double()
    ranks = torch.rand(permutations, n + m).argsort(1).to(pooled.device)
    first = torch.cat([torch.arange(n + m, device=pooled.device)[None], ranks]) < n
    a = first.double().T
    within, between, total = a.new_zeros(a.shape[1]), a.new_zeros(a.shape[1]), a.new_zeros(())
    for start in range(0, n + m, ROWS):
        rows = pooled[start : start + ROWS]
        kernel = torch.cdist(rows, pooled).div_(bandwidth).square_().div_(-2).exp_()
        kernel.diagonal(start).zero_()
        mass, share = kernel.sum(1), kernel @ a
        within += (a[start : start + ROWS] * share).sum(0)
        between += ((1 - a[start : start + ROWS]) * share).sum(0)
        total += mass.sum()
    others = total - within - 2 * between
    mmd = within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * between / (n * m)
    return Discrepancy(float(mmd[0]), mmd[1:])


class CodeMMD(Score):
    """The squared maximum mean discrepancy between codes of test images and codes of the prior; lower is better.

    Codes of images are of the aggregated posterior, z ~ q(z | x) of one test image each; those of the prior are as many
    draws, under conditions for new images. 0 means that the prior covers the codes that images have; what it costs in
    images is `prior_gap` of `reconstruction_fid`. The kernel is Gaussian, and its bandwidth the median distance between
    codes of both together, so that the scale of the codes does not matter. The estimate is unbiased, so values slightly
    below 0 are right; `permuted_mmd` has the formula.

    What chance alone gives is measured with it: the codes of both are divided anew at random `permutations` times, and
    `code_mmd_null_mean` and `code_mmd_null_std` are the mean and standard deviation over these divisions.
    `code_mmd_deviations` is (code_mmd - mean) / std: below 2 or 3, so many codes cannot tell the two apart, and lower
    numbers are no better, so its column has no direction. It grows with the number of codes, `code_mmd` does not.

    Of a model that implements neither `draw_posterior` nor `infer`, codes of images are those of `encode`, the means.
    Then `code_mmd_of_means` is 1, and the variance that a posterior adds is missing.

    References:
        Gretton et al., A Kernel Two-Sample Test, 2012, Journal of Machine Learning Research 13.
    """

    name = "code_mmd"
    higher_is_better = False
    at_most = ("images",)

    class Config(PartConfig):
        """The numbers of codes and of random divisions."""

        images: int = Field(default=2_000, ge=2)
        """At most so many test images, chosen under a fixed seed, and as many codes of the prior; time grows with the
        square."""
        permutations: int = Field(default=200, ge=20)
        """Random divisions of the codes of both, for what chance gives; of 20 its deviation is known to 16 %."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (
            Column("code_mmd", "MMD^2 of codes", False, of_prior=True),
            Column(
                "code_mmd_deviations",
                "MMD^2 of codes: deviations from chance",
                None,  # numbers below 2 or 3 are noise
                "all random divisions gave the same number",
            ),
        )

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse a single test image.

        Raises:
            ScoreError: there are fewer than 2.
        """
        if len(load("test").images) < 2:
            raise _single()

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The discrepancy, and what chance gives.

        Raises:
            ScoreError: the model has no codes of images or no prior of these codes, there are fewer than 2 images, or
                most codes are equal.
        """
        test = context.real("test")
        chosen = random_rows(torch.arange(len(test.images)), self.config.images)
        if len(chosen) < 2:
            raise _single()
        with context.trained() as model:
            images = test.take(chosen)
            drawn = answers_in_batches(
                images, lambda batch: _draws(model, batch), model=model, device=context.device, seed=context.seed
            )
            of_images = drawn
            if drawn is None:
                of_images = answers_in_batches(
                    images, model.encode, model=model, device=context.device, seed=context.seed
                )
            of_prior = _codes_of_prior(model, len(chosen), context)
            x, y = _checked(model, of_images, of_prior)
        bandwidth = median_distance(torch.cat([x, y]))
        if bandwidth == 0:
            raise ScoreError("more than half of all pairs of codes are equal, so the kernel has no bandwidth")
        with seeded(context.seed, self.name):
            found, null = permuted_mmd(x, y, bandwidth, self.config.permutations)
        mean, spread = float(null.mean()), float(null.std())
        results = {
            "code_mmd": found,
            "code_mmd_null_mean": mean,
            "code_mmd_null_std": spread,
            "code_mmd_images": float(len(chosen)),
            "code_mmd_of_means": float(drawn is None),
        }
        return results | ({"code_mmd_deviations": (found - mean) / spread} if spread else {})


def _single() -> ScoreError:
    return ScoreError("it compares the codes of at least 2 test images, and there is 1; use a larger test split")


def _draws(model: Model, batch: Batch) -> Tensor | None:
    """A code z ~ q(z | x) of each image, [n, d]; None where the model draws none."""
    codes = model.draw_posterior(batch)
    if codes is not None:
        return codes.z
    return model.infer(batch).draw(1).z[0] if isinstance(model, LikelihoodModel) else None


def _codes_of_prior(model: Model, n: int, context: ScoreContext) -> Tensor | None:
    """The first n codes of the sequence that the seed determines, [n, d] on the host; None without a prior."""
    codes = []
    for index in range(0, n, BATCH):
        with seeded(context.seed, "codes of the prior", index):
            drawn = model.draw_codes(model.condition(torch.zeros(BATCH, device=context.device)))
        if drawn is None:
            return None
        codes.append(drawn.cpu())
    return torch.cat(codes)[:n]


def _checked(model: Model, of_images: Tensor | None, of_prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both, [n, d].

    Raises:
        ScoreError: one of them is missing, or they differ in width.
    """
    without = None
    if of_images is None:
        without = "has no encoder, so images have no codes"
    elif of_prior is None:
        without = "has no prior, so there are no new codes"
    elif of_images.shape[1:] != of_prior.shape[1:]:
        without = (
            f"encodes images as {list(of_images.shape[1:])} numbers and draws codes of {list(of_prior.shape[1:])}, "
            "which cannot be compared"
        )
    if of_images is None or of_prior is None or without is not None:
        raise ScoreError(
            f"model '{model.name}' {without}; codes are compared of models that implement `encode` and `draw_codes`, "
            "such as 'vae' and 'aae'. Score its images by 'fid'"
        )
    return of_images, of_prior
