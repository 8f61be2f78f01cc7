"""The VampPrior: a mixture of the encoder's posteriors of learned images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import hardtanh

from genprior import Batch, Borrowed, DensityPosterior, DensityPrior, PartConfig, PlanError, Sizes
from genprior_std.layers.batch_statistics import batch_norms, own_batch_statistics
from genprior_std.layers.posterior import log_prob_of_each
from genprior_std.layers.row_posterior import RowPosterior

__all__ = ["VampPrior"]

NOISE = 0.02
"""Standard deviation of the noise on pseudo-inputs that start as images: 0.01 on the scale [0, 1] of the paper."""
BYTES = 16
"""Bytes per number of the pseudo-inputs in training: itself, its gradient and two moments of Adam, 4 each."""


class VampPrior(DensityPrior):
    """A mixture of the encoder's posteriors of K learned images, the pseudo-inputs u_k in [-1, 1].

        p(z) = 1/K sum_k q(z | u_k),    u_k = hardtanh(w_k)

    The w_k [K, c, h, w] are the parameters of this prior. The encoder is the model's own at its present weights, so a
    loss of `log_prob` or of `sample` has a gradient in the pseudo-inputs and in the encoder, and a phase that trains
    the encoder changes the prior with it. Numbers of w_k beyond [-1, 1] get no gradient.

    Batch normalisation: the K pseudo-inputs are normalised as a batch of their own, in training and evaluation mode
    alike, and do not update the running averages. So the prior that is sampled is the one that was trained. With the
    running averages of the data it would differ, since pseudo-inputs drift away from the data. All other layers of the
    encoder work in its present mode.

    Raises:
        PlanError: there is a condition `known`, the encoder's posterior has no density, a single pseudo-input would
            have to be normalised by its own statistics, there is no memory for so many, or so many training images
            to start from.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, equation 9. The range [0, 1] of the paper is [-1, 1] here, and
        the default start, N(0.4, 0.05^2) there for CIFAR-10, is N(-0.2, 0.1^2). The start from training images and
        its noise are those of the authors' code.
    """

    name = "vampprior"
    borrows = ("encoder",)
    supports = ("space", "unit_sphere")  # where the encoder's posteriors lie

    class Config(PartConfig):
        """Settings of the VampPrior."""

        components: int = Field(default=500, ge=1)
        """K, the number of pseudo-inputs."""
        start: Literal["random", "images"] = "random"
        """Pseudo-inputs start as normal noise, or as K different training images with a little noise."""
        mean: float = Field(default=-0.2, ge=-1, le=1)
        """Mean of a pixel of a random start, on the [-1, 1] scale; best near that of the data."""
        std: float = Field(default=0.1, gt=0, allow_inf_nan=False)
        """Standard deviation of a pixel of a random start."""

    def __init__(self, config: PartConfig, sizes: Sizes, encoder: Borrowed) -> None:
        """Borrow the encoder and draw the pseudo-inputs."""
        super().__init__(config, sizes)
        if sizes.known:
            raise PlanError(
                f"prior '{self.name}' encodes images that it learns, and nothing is known about those; this condition "
                f"tells the encoder {sizes.known} numbers about each image. "
                "Use conditioner 'none', or a prior that does not encode ('gaussian', 'code_generator')"
            )
        if self.config.components == 1 and batch_norms(encoder):
            raise PlanError(
                f"prior '{self.name}' normalises its pseudo-inputs as a batch of their own in encoder "
                f"'{encoder.name}', and components = 1 gives a batch of one. "
                "Set components to 2 or more, or take an encoder without batch normalisation"
            )
        _check_memory(self.name, self.config.components, sizes.image)
        self.encoder = encoder
        start = torch.empty(self.config.components, *sizes.image)
        self.pseudo_inputs = nn.Parameter(start.normal_(self.config.mean, self.config.std))

    @torch.no_grad()
    def begin(self, draw: Callable[[int], Batch]) -> None:
        """Make the pseudo-inputs K different training images with noise, u = x + N(0, 0.02^2), if `start` says so.

        Values that the noise moves beyond -1 or 1 are reflected. Many pixels are black or white, and half of them would
        otherwise lie where hardtanh has no gradient, and never change.

        Raises:
            PlanError: there are fewer than K training images.
        """
        if self.config.start != "images":
            return
        try:
            x = draw(self.config.components).x
        except PlanError as error:
            raise PlanError(
                f"prior '{self.name}' has components = {self.config.components} and start = \"images\", so it needs as "
                f'many different training images: {error}. Set components to fewer, or start = "random"'
            ) from error
        w = torch.add(x, torch.randn_like(x), alpha=NOISE)
        beyond = w.abs() - 1
        self.pseudo_inputs.copy_(torch.where(beyond > 0, w.sign() * (1 - beyond), w))

    def first_pseudo_inputs(self, n: int) -> Tensor:
        """The images u_k = hardtanh(w_k) of the first n pseudo-inputs, or of all K if they are fewer: [n, c, h, w].

        They show what was learned and are not samples; to sample images, decode codes of `sample`.
        """
        return hardtanh(self.pseudo_inputs[:n])

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z ~ q(z | u_k) [n, d] with k uniform on 1 .. K, drawn anew for each row of `asked` [n, k]."""
        q = self._posteriors()
        k = torch.randint(self.config.components, (len(asked),), device=asked.device)
        if isinstance(q, RowPosterior):
            z = q.map_rows(lambda rows: rows[k]).rsample()
        else:
            z = torch.cat([q.mean[:0], *(q.rsample()[k[i : i + 1]] for i in range(len(k)))])
        return z.to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density, logsumexp_k log q(z | u_k) - log K: [n] in nats for z [n, d]."""
        q = self._posteriors()
        log_p: Tensor = log_prob_of_each(q, z).logsumexp(1) - math.log(self.config.components)
        return log_p.to(torch.promote_types(q.mean.dtype, z.dtype))

    def _posteriors(self) -> DensityPosterior:
        """q(z | u_k) of all K pseudo-inputs."""
        u = hardtanh(self.pseudo_inputs)
        with own_batch_statistics(self.encoder):
            q = self.encoder(u, u.new_zeros(len(u), 0))
        if not isinstance(q, DensityPosterior):
            raise PlanError(
                f"prior '{self.name}' is a mixture of the encoder's posteriors; encoder '{self.encoder.name}' gives "
                'each image a single code, which has no density. Set posterior = "gaussian" in the encoder\'s table'
            )
        return q


def _check_memory(name: str, components: int, image: tuple[int, int, int]) -> None:
    """Refuse pseudo-inputs for which this machine has no memory, before asking for it.

    Raises:
        PlanError: says how much they need, how much there is, and how many would fit.
    """
    memory = _physical_memory()
    of_one = math.prod(image) * BYTES
    if memory is not None and components * of_one > memory:
        c, h, w = image
        raise PlanError(
            f"prior '{name}' has components = {components}; so many pseudo-inputs of {c} x {h} x {w} need "
            f"{components * of_one / 2**30:,.1f} GiB with their gradient and the moments of Adam, and this machine has "
            f"{memory / 2**30:,.1f} GiB of memory. At most {memory // of_one} would fit; "
            "the paper has 500 to 1000, so set components to about that"
        )


def _physical_memory() -> int | None:
    """Bytes of memory of this machine, or None if the system does not report it."""
    try:
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return page * pages if page > 0 and pages > 0 else None
