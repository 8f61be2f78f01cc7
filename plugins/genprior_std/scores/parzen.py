"""The log-likelihood of test images under a Parzen window on generated ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from genprior import Column, PartConfig, SampleScore, Score, ScoreContext, needed_split
from genprior_std.scores.entropy import random_rows
from genprior_std.scores.likelihood import standard_error
from genprior_std.scores.validation import HOLD_BACK

__all__ = ["Parzen", "parzen_log_likelihood"]

SIGMAS: tuple[float, ...] = tuple(torch.logspace(-1, 0, 10, dtype=torch.float64).tolist())
"""The widths to choose from, in units of the [0, 1] scale of pixels."""
CHUNK = 500


def parzen_log_likelihood(x: Tensor, samples: Tensor, sigmas: Sequence[float]) -> Tensor:
    """The logarithm of 1/m sum_i N(x; s_i, sigma^2 I) in nats, for each of k widths: float64 [k, n].

        log p(x) = log sum_i exp(-|x - s_i|^2 / (2 sigma^2)) - log m - D log(sigma sqrt(2 pi))

    Args:
        x: images uint8 [n, c, h, w], 0 and 255 being 0 and 1.
        samples: the m images s_i, likewise.
        sigmas: the widths of the window, in units of the [0, 1] scale.
    """
    # Products and sums of bytes are whole numbers below 2^53: in double precision the expanded square is exact.
    s = samples.flatten(1).double()
    s_squared = s.square().sum(1)
    m, dimensions = s.shape
    found = []
    for chunk in torch.split(x, CHUNK):
        rows = chunk.flatten(1).double()
        distance = torch.addmm(rows.square().sum(1, keepdim=True) + s_squared, rows, s.T, alpha=-2)
        found.append(torch.stack([(distance * (-0.5 / (255 * sigma) ** 2)).logsumexp(1) for sigma in sigmas]))
    constants = [math.log(m) + dimensions * math.log(sigma * math.sqrt(2 * math.pi)) for sigma in sigmas]
    return torch.cat(found, dim=1) - s.new_tensor(constants)[:, None]


class Parzen(SampleScore):
    """The mean log-likelihood of test images under Gaussian windows on generated images, in nats; higher is better.

        log p(x) = log 1/m sum_i N(x; s_i, sigma^2 I)

    with pixels in [0, 1]. Of ten widths sigma, evenly spaced on a logarithmic scale from 0.1 to 1, the one is taken
    that maximises the likelihood of `validation` images of the split `validation`, chosen under a fixed seed. Every
    model that generates images can be scored, but the number says little about image quality, and depends on the number
    of samples and of pixels: published ones are for 28x28, while padding to 32x32 adds 240 pixels of -log(sigma sqrt(2
    pi)) each.

    Writes `parzen`, `parzen_standard_error` over the test images, `parzen_sigma`, and `real_parzen`: that of as many
    training images (all, if there are fewer) in place of generated ones, with their own best width.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 3, https://arxiv.org/abs/1511.05644; Goodfellow et
        al., Generative Adversarial Nets, 2014, section 5, whose code this follows.
    """

    name = "parzen"
    higher_is_better = True

    class Config(PartConfig):
        """How many windows, and how many images choose their width."""

        samples: int = Field(default=10_000, ge=1)
        """How many generated images."""
        validation: int = Field(default=1_000, ge=1)
        """How many images of the split `validation`, chosen under a fixed seed, choose the width."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column("parzen", "Parzen log-likelihood (nats)", True),)

    @property
    def needs(self) -> Mapping[str, str]:
        """The split that chooses the width of the window."""
        return {"validation": HOLD_BACK}

    def facts(self, key: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its settings, and the test images whose likelihood it is, where the data set says how many."""
        # Other than most scores of generated images, it also scores a split.
        return Score.facts(self, key, data)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The mean over test images, its standard error, the width, and the mean under training images.

        Raises:
            ScoreError: the data set has no split `validation`.
        """
        # Drawn over the whole split: a folder is sorted by class.
        validation = random_rows(needed_split(self, "validation", context.real).images, self.config.validation)
        test = context.real("test").images
        train = random_rows(context.real("train").images, self.config.samples)
        validation, test, train = (images.to(context.device) for images in (validation, test, train))
        generated = context.generated(self.config.samples).to(context.device)
        sigma, log_p = _under_best_window(test, generated, validation)
        _, real = _under_best_window(test, train, validation)
        return {
            "parzen": float(log_p.mean()),
            **standard_error("parzen", log_p),
            "parzen_sigma": sigma,
            "real_parzen": float(real.mean()),
            "real_parzen_images": float(len(train)),
        }


def _under_best_window(test: Tensor, samples: Tensor, validation: Tensor) -> tuple[float, Tensor]:
    """The width under which `validation` is likeliest, and the log-likelihoods [n] of `test` at that width."""
    sigma = SIGMAS[int(parzen_log_likelihood(validation, samples, SIGMAS).mean(1).argmax())]
    return sigma, parzen_log_likelihood(test, samples, [sigma])[0]
