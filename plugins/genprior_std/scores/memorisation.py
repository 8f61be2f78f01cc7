"""Memorisation: whether generated images are copies of training images."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from genprior import Column, ScoreContext, ScoreError
from genprior_std.scores.distance import DistanceConfig, DistanceScore

__all__ = ["Memorisation", "authentic", "nearest_rows"]

ROWS, COLUMNS = 1_000, 10_000
"""How much of the distance matrix is held at a time: 80 MB."""

_CAVEAT = "Far from training images are new images and also noise, so read memorisation beside a score of quality."


def nearest_rows(x: Tensor, y: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The row of y that is nearest to each row of x, int64 [n], and its Euclidean distance, float64 [n].

    The row is chosen by |x|^2 - 2 x.y + |y|^2 in double precision; its distance is that of the differences, so that a
    copy is at distance 0.

    Args:
        x: [n, f].
        y: [m, f].
        own: the place of each row of x in y, int64 [n], where x are rows of y: a row is not its own neighbour.
    """
    chosen = []
    for start in range(0, len(x), ROWS):
        block = x[start : start + ROWS].double()
        places = None if own is None else own[start : start + ROWS]
        best, at = block.new_full((len(block),), torch.inf), torch.zeros(len(block), dtype=torch.int64, device=x.device)
        for first in range(0, len(y), COLUMNS):
            distances = torch.cdist(block, y[first : first + COLUMNS].double())
            if places is not None:
                here = torch.arange(first, first + distances.shape[1], device=x.device)
                distances.masked_fill_(places[:, None] == here, torch.inf)
            nearest, column = distances.min(1)
            at = torch.where(nearest < best, column + first, at)
            best = torch.minimum(best, nearest)
        chosen.append(at)
    index = torch.cat(chosen)
    pairs = zip(torch.split(x, ROWS), torch.split(index, ROWS), strict=True)
    return index, torch.cat([(rows.double() - y[at].double()).square().sum(1).sqrt() for rows, at in pairs])


def authentic(train: Tensor, index: Tensor, distance: Tensor) -> float:
    """The share of images farther from their nearest training image than that one is from its nearest other one.

    Args:
        train: features of training images [m, f].
        index: the nearest training image of each image, int64 [n].
        distance: the distance to it, [n].
    """
    centres, place = torch.unique(index, return_inverse=True)
    _, spacing = nearest_rows(train[centres], train, own=centres)
    return float((distance > spacing[place]).double().mean())


class Memorisation(DistanceScore):
    """How far samples are from training images, relative to held-out images and to the training images' own distances.

        memorisation_ratio = median_j d(x_j, T) / median_k d(h_k, T)
        authenticity       = 1 / n sum_j [d(x_j, T) > d(t_j, T without t_j)],    t_j the nearest of x_j in T

    T are the training images, x_j samples, h_k images of the test split, and d is the Euclidean distance, of pixels or
    features, to the nearest one of a set. A ratio of 1 is that of samples as new as held-out images; far below 1, at
    least half of the samples are copies or nearly so. Authenticity is the share of samples that are not closer to a
    training image than any other training image is; `real_authenticity` is that of held-out images, and less than it
    means copies. Higher means less memorisation, but noise and blur are far from training images too, so read both
    beside a score of quality, and those of a decoder that blurs beside a row that decodes the codes of training images
    (fitted prior `nearest`).

    The ratio compares medians, which a few outliers do not change; copies that are less than half of the samples are
    seen in the authenticity. Keys begin with `pixel_` in pixels, with `random_features_` (the default) or `classifier_`
    in features of these networks, and with nothing in those of Inception; ask for the score twice to have both. Without
    held-out images, as in a folder of real images or with another `reference`, only `authenticity` is written.

    References:
        Alaa et al., How Faithful is your Synthetic Data? Sample-level Metrics for Evaluating and Auditing Generative
        Models, 2022 (authenticity), https://arxiv.org/abs/2102.08921
    """

    name = "memorisation"
    title = "memorisation"
    higher_is_better = None
    titles = {
        "memorisation_ratio": ("distance to training images / held out", None),
        "authenticity": ("authenticity", None),
    }

    class Config(DistanceConfig):
        """Which images are compared, and in pixels or through which network."""

        extractor: Literal["inception", "classifier", "random", "pixels"] = "random"  # type: ignore[assignment]
        """Inception, a classifier of the data's own classes, untrained with random weights, or none: pixels."""
        samples: int = Field(default=10_000, gt=0)
        """How many generated images; time grows with their number times that of training images."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        ratio, share = super().columns
        return ratio._replace(absent="it compares with held-out images, and there are none beside the reference"), share

    @property
    def caveat(self) -> str:
        """What its numbers do not tell, and the caveat of the network."""
        return f"{super().caveat} {_CAVEAT}".strip()

    def enough(self, images: int) -> bool:
        """Whether there is a held-out image."""
        return images > 0

    def compare(self, generated: Tensor, real: Tensor) -> dict[str, float]:
        """The authenticity of features [n, f] among [m, f], and their median distance to the nearest, for the ratio.

        Raises:
            ScoreError: there is only one real image.
        """
        if len(real) < 2:
            raise ScoreError(
                f"authenticity compares with the distance between training images, so it needs at least 2; there are "
                f"{len(real)}"
            )
        index, distance = nearest_rows(generated, real)
        return {"memorisation_ratio": float(distance.quantile(0.5)), "authenticity": authentic(real, index, distance)}

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The ratio of medians, and the authenticity of samples and of held-out images.

        Raises:
            ScoreError: there are too few images, half of the held-out images are training images, or the network is not
                available.
        """
        found = super().measure(context)
        (ratio, _), (share, _) = ((column.key, column.title) for column in self.columns)
        held_out = found.pop(f"real_{ratio}", None)
        median = found.pop(ratio)
        if held_out is None:
            return found
        if held_out == 0:
            raise ScoreError(
                "at least half of the held-out images are also training images, so their distance is 0 and nothing can "
                'be compared with it; remove duplicates, or set reference = "test" to have the authenticity alone'
            )
        return {
            ratio: median / held_out,
            f"real_{ratio}": 1.0,  # by definition
            f"real_{ratio}_images": found[f"real_{ratio}_images"],
            share: found[share],
            f"real_{share}": found[f"real_{share}"],
            f"real_{share}_images": found[f"real_{share}_images"],
        }
