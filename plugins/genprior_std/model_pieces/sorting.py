"""What sorts images into categories without labels: consistency under small moves, and mutual information."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from genprior import SettingsTable
from genprior_std.layers.moved import moved
from genprior_std.model_pieces.warmup import warmed_up

__all__ = ["ClusterSorting", "Sorting", "consistency", "information"]


class Sorting(SettingsTable):
    """Losses that sort images into categories, beside the games: in none of the adversarial autoencoders' papers.

    With q = q(y | x) and an image T x that is the image x moved a little, an encoder descends

        consistency C - information I,   C = -mean_x sum_k q_k(x) log q_k(T x),   I = H(mean_x q(x)) - mean_x H(q(x))

    where q(x) in C is a target without gradient, and I is the mutual information of image and category in the batch.
    Which images are one category is decided in the first steps, and what is consistent then stays: with `warmup` the
    other losses, such as labels, decide first.

    Black and white images that are moved have grey pixels between black and white ones: each is the mean of the pixels
    that it covers, and is not rounded, since rounded edges would be rougher than those of any image.

    References:
        Hu, Miyato, Tokui, Matsumoto and Sugiyama, Learning discrete representations via information maximizing
        self-augmented training, 2017: both together, with moved images or perturbed ones (virtual adversarial training)
        as T x.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    consistency: float = Field(0.0, ge=0)
    """Weight of C, which gives an image and the moved image the same category."""
    information: float = Field(0.0, ge=0)
    """Weight of I, which gives each image one category, and all categories equally many images."""
    shift: float = Field(2.0, ge=0, le=1000)
    """T moves an image by up to this many pixels, across and down."""
    rotate: float = Field(10.0, ge=0, le=180)
    """T rotates it by up to this many degrees."""
    zoom: float = Field(0.1, ge=0, lt=1)
    """T scales it by a factor of 1 - zoom to 1 + zoom."""
    adversarial: float = Field(0.0, ge=0, le=1000)
    """Then T adds the perturbation of this length that makes the image's category least likely; see `perturbed`."""
    warmup: int = Field(0, ge=0, le=1_000_000)
    """Steps over which both weights rise linearly from 0; step t has the weights times t / warmup."""

    @property
    def on(self) -> bool:
        """Whether there is something to train in each step."""
        return self.consistency > 0 or self.information > 0

    def losses(
        self, x: Tensor, logits_of: Callable[[Tensor], Tensor], step: Tensor | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the `encoder` descends, by its name; and C and I by theirs.

        Args:
            x: images [n, c, h, w] in [-1, 1].
            logits_of: gives the logits of q(y | x), [n, K], of images.
            step: the number of finished steps, int64 []; without it the weights have their final values.
        """
        if self.consistency:
            # One batch, so that batch normalisation sees images and moved images alike.
            both = logits_of(torch.cat([x, self.transformed(x, logits_of)])).log_softmax(1)
            log_q, of_moved = both.chunk(2)
            note = {"consistency": consistency(log_q, of_moved), "information": information(log_q)}
            loss = self.consistency * note["consistency"] - self.information * note["information"]
        else:
            note = {"information": information(logits_of(x).log_softmax(1))}
            loss = -self.information * note["information"]
        if self.warmup and step is not None:
            loss = warmed_up(1.0, self.warmup, step + 1, loss) * loss
        return {"encoder": loss}, note

    def transformed(self, x: Tensor, logits_of: Callable[[Tensor], Tensor]) -> Tensor:
        """T x of images."""
        if self.shift or self.rotate or self.zoom:
            x = moved(x, self.shift, self.rotate, self.zoom)
        return perturbed(x, logits_of, self.adversarial) if self.adversarial else x


class ClusterSorting(Sorting):
    """Losses that sort images into clusters, and where the clusters start."""

    start_steps: int = Field(0, ge=0, le=1_000_000)
    """Steps by reconstruction alone, and then as many towards k-means of its codes, before the first step; 0: none."""

    def for_one_step(self) -> Self:
        """The same with one step of each."""
        return self.model_copy(update={"start_steps": min(self.start_steps, 1)})


def consistency(log_q: Tensor, of_moved: Tensor) -> Tensor:
    """The cross-entropy of the categories of moved images, with those of the images as targets: a mean over images.

    Args:
        log_q: log q(. | x) of each image, [n, K]; it gets no gradient.
        of_moved: log q(. | T x) of the same images, moved, [n, K].
    """
    return -(log_q.detach().exp() * of_moved).sum(1).mean()


def perturbed(x: Tensor, logits_of: Callable[[Tensor], Tensor], length: float) -> Tensor:
    """Images with the perturbation of a length that makes their categories least likely, to first order.

    With k = argmax q(. | x), the category that the image has by now (a virtual label),

        x + length g / |g|,   g = -grad_x log q_k(x)

    The direction is computed from log q_k / (1 - q_k), which does not saturate and has the same one. Where the encoder
    adds noise, power iteration, which compares q of two almost equal images, would find that of the noise.

    Args:
        x: images [n, c, h, w] in [-1, 1]; what is added may leave that range.
        logits_of: gives the logits of q(y | x), [n, K], of images.
        length: the Euclidean norm of what is added to an image, on the scale of x.

    References:
        Miyato, Maeda, Koyama and Ishii, Virtual adversarial training, 2018, with a hard virtual label.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        logits = logits_of(at).float()
        k = logits.detach().argmax(1, keepdim=True)
        others = logits.scatter(1, k, -torch.inf).logsumexp(1)
        (g,) = torch.autograd.grad((others - logits.gather(1, k).squeeze(1)).sum(), at)
    norm = g.flatten(1).norm(dim=1).clamp(min=1e-20).view(-1, *[1] * (x.dim() - 1))
    added: Tensor = length * g / norm
    return x + added


def information(log_q: Tensor) -> Tensor:
    """The mutual information of image and category in a batch, H(mean q) - mean H(q): from 0 to log K nats.

    Args:
        log_q: log q(. | x) of each image, [n, K].
    """
    log_mean = log_q.logsumexp(0) - math.log(len(log_q))
    return (log_q.exp() * (log_q - log_mean)).sum(1).mean()  # mean KL(q || mean q), the same number
