"""The VampPrior: a mixture of what the encoder says about images that are learned."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import hardtanh
from torch.utils.checkpoint import checkpoint

from genprior.errors import PlanError
from genprior.parts import Borrowed, DensityPosterior, DensityPrior, PartConfig, Sizes
from genprior_std.networks.posterior import GaussianPosterior

__all__ = ["VampPrior"]

HELD = 2**24
"""Numbers of the [n, K, d] differences that are held at once."""


class VampPrior(DensityPrior):
    """A mixture of the encoder's posteriors of K learned images, the pseudo-inputs u_k in [-1, 1].

        p(z) = 1/K sum_k q(z | u_k),    u_k = hardtanh(w_k)

    The w_k [K, c, h, w] are the parameters of this prior. The encoder is the model's own at its present weights, so a
    loss of `log_prob` or of `sample` has a gradient in the pseudo-inputs and in the encoder, and a phase that names
    the encoder moves the prior with it. Numbers of w_k beyond [-1, 1] get no gradient.

    Batch normalisation: the K pseudo-inputs pass the encoder's normalisation as a batch of their own, in training and
    in evaluation alike, and leave its running averages to the data. So the prior that is sampled is the one that was
    trained. With the running averages it would be another, since pseudo-inputs drift away from the data. Everything
    else in the encoder works in the mode that the encoder is in.

    Raises:
        PlanError: something is told about images, the encoder's posterior has no density, or a single pseudo-input
            would have to be normalised by its own statistics.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, equation 9. The range [0, 1] of the paper is [-1, 1] here, and
        the default start, N(0.4, 0.05^2) there for CIFAR-10, is N(-0.2, 0.1^2).
    """

    name = "vampprior"
    borrows = ("encoder",)

    class Config(PartConfig):
        """Settings of the VampPrior."""

        components: int = Field(default=500, ge=1)
        """K, the number of pseudo-inputs."""
        mean: float = Field(default=-0.2, ge=-1, le=1)
        """Mean of a pixel of the initial pseudo-inputs, on the [-1, 1] scale; best near that of the data."""
        std: float = Field(default=0.1, gt=0, allow_inf_nan=False)
        """Standard deviation of a pixel of the initial pseudo-inputs."""

    def __init__(self, config: PartConfig, sizes: Sizes, encoder: Borrowed) -> None:
        """Borrow the encoder and draw the pseudo-inputs."""
        super().__init__(config, sizes)
        if sizes.known:
            raise PlanError(
                f"prior '{self.name}' encodes images that it learns, and nothing is known about those; this condition "
                f"tells the encoder {sizes.known} numbers about each image. "
                "Use conditioner 'none', or a prior that does not encode ('gaussian', 'code_generator')"
            )
        if self.config.components == 1 and _batch_norms(encoder):
            raise PlanError(
                f"prior '{self.name}' passes its pseudo-inputs through the batch normalisation of encoder "
                f"'{encoder.name}' as a batch of their own, and components = 1 is none. "
                "Set components to 2 or more, or take an encoder without batch normalisation"
            )
        self.encoder = encoder
        start = torch.empty(self.config.components, *sizes.image)
        self.pseudo_inputs = nn.Parameter(start.normal_(self.config.mean, self.config.std))

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z ~ q(z | u_k) [n, d] with k uniform on 1 .. K, a k of its own for each row of `asked` [n, k]."""
        q = self._posteriors()
        k = torch.randint(self.config.components, (len(asked),), device=asked.device)
        if isinstance(q, GaussianPosterior):
            z = GaussianPosterior(q.mean[k], q.log_variance[k]).rsample()
        else:
            z = torch.cat([q.mean[:0], *(q.rsample()[k[i : i + 1]] for i in range(len(k)))])
        return z.to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density, logsumexp_k log q(z | u_k) - log K: [n] in nats for z [n, d]."""
        q = self._posteriors()
        each = _gaussians(q, z) if isinstance(q, GaussianPosterior) else _one_by_one(q, z, self.config.components)
        log_sum: Tensor = each.logsumexp(1)
        return log_sum - math.log(self.config.components)

    def _posteriors(self) -> DensityPosterior:
        """q(z | u_k) of all K pseudo-inputs."""
        u = hardtanh(self.pseudo_inputs)
        with _statistics_of_its_own(self.encoder):
            q = self.encoder(u, u.new_zeros(len(u), 0))
        if not isinstance(q, DensityPosterior):
            raise PlanError(
                f"prior '{self.name}' is a mixture of the encoder's posteriors; encoder '{self.encoder.name}' gives "
                'each image a single code, which has no density. Set posterior = "gaussian" in the encoder\'s table'
            )
        return q


def _batch_norms(encoder: Borrowed) -> list[nn.modules.batchnorm._BatchNorm]:
    return [layer for layer in encoder.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


@contextlib.contextmanager
def _statistics_of_its_own(encoder: Borrowed) -> Iterator[None]:
    """Inside the block a batch is normalised by its own statistics, and the running averages stay as they are."""
    layers = _batch_norms(encoder)
    before = [(layer.training, layer.track_running_stats) for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.track_running_stats = True, False
        yield
    finally:
        for layer, (training, tracking) in zip(layers, before, strict=True):
            layer.training, layer.track_running_stats = training, tracking


def _gaussians(q: GaussianPosterior, z: Tensor) -> Tensor:
    """The log-densities log q_k(z_i) [n, K] of codes z [n, d] under K Gaussians.

    The squares of z - m are summed as they are: expanded into products of matrices they would need less memory, but
    cancel to within their own rounding error where variances are small. What does not fit into one piece is computed
    again in the backward pass.
    """
    m, v = q.mean, q.log_variance
    step = max(1, HELD // max(1, z.numel()))
    if step >= len(m):
        return _gaussians_of(z, m, v)
    pieces = [
        checkpoint(_gaussians_of, z, *part, use_reentrant=False, preserve_rng_state=False)
        for part in zip(torch.split(m, step), torch.split(v, step), strict=True)
    ]
    return torch.cat(pieces, 1)


def _gaussians_of(z: Tensor, m: Tensor, v: Tensor) -> Tensor:
    distance = ((z[:, None] - m).square() * (-v).exp()).sum(2)
    return -0.5 * (distance + v.sum(1) + m.shape[1] * math.log(2 * math.pi))


def _one_by_one(q: DensityPosterior, z: Tensor, components: int) -> Tensor:
    """The log-densities log q_k(z_i) [n, K] under posteriors of any form.

    Their contract pairs each code with one image's posterior, so each code in turn is repeated for all of them.
    """
    each = [q.log_prob(code.expand(components, -1)) for code in z]
    return torch.stack(each) if each else z.new_zeros(0, components)
