"""The prior of the Exemplar VAE: a mixture of Gaussians around the codes of training images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import (
    Batch,
    Borrowed,
    DataError,
    LeaveOneOutPrior,
    PartConfig,
    PlanError,
    Sizes,
    check_room,
    images_to_float,
)
from genprior_std.layers.batch_statistics import own_batch_statistics
from genprior_std.layers.kept import KeptValue
from genprior_std.layers.posterior import GaussianPosterior, log_prob_of_each
from genprior_std.layers.stored_tensor import StoredTensor

__all__ = ["Exemplar"]

ENCODED = 1000
"""Exemplars that are encoded at a time in evaluation mode."""
PAIRS = 2**22
"""Pairs of a code and an exemplar whose densities are computed at once."""


class Exemplar(LeaveOneOutPrior):
    """A mixture of Gaussians around the encoder's means m of N training images, the exemplars, with one variance.

        p(z) = 1/N sum_k N(z; m(x_k), sigma^2 I)

    sigma^2 is learned, and the encoder is the model's own at its present weights, so a loss of `log_prob` or of
    `sample` has a gradient in it. In training, the density of the code of image i leaves x_i out of the mixture
    (`log_prob_without`), else the encoder would only have to make sigma small: each code is near its own exemplar.

    In training the mixture is estimated by a uniform subset of `subset` exemplars, drawn anew in each call, of which
    only those are encoded; its logarithm is lower than that of all exemplars in expectation, the less the larger the
    subset. In evaluation mode all exemplars count.

    The exemplars are drawn from the training images when training begins, and checkpoints hold them as bytes, so that a
    run is loaded without its data. Before, the prior has none and is N(0, sigma^2 I). Samples are made from training
    images: whether they repeat them is to be measured (score `nearest_distance`).

    Batch normalisation: in training a subset is normalised as a batch of its own, without an effect on the running
    averages; in evaluation mode exemplars are encoded as all images are.

    Raises:
        PlanError: there is a condition `known`, or there is no memory for so many exemplars.

    References:
        Norouzi, Fleet and Norouzi, Exemplar VAE: Linking Generative Models, Nearest Neighbor Retrieval, and Data
        Augmentation, 2020, section 3. There the nearest exemplars are retrieved from a table of earlier codes; here the
        subset is uniform.
    """

    name = "exemplar"
    borrows = ("encoder",)

    class Config(PartConfig):
        """Settings of the exemplar prior."""

        exemplars: int | None = Field(default=None, ge=2)
        """N, the number of exemplars, different training images; all training images if not given."""
        subset: int = Field(default=512, ge=2)
        """The number of exemplars that are encoded in each call in training; all N if they are fewer."""
        variance: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """sigma^2 at the start."""

    def __init__(self, config: PartConfig, sizes: Sizes, encoder: Borrowed) -> None:
        """Borrow the encoder; the exemplars come with `begin` or from a checkpoint."""
        super().__init__(config, sizes)
        if sizes.known:
            raise PlanError(
                f"prior '{self.name}' encodes training images without what is known about them; this condition tells "
                f"the encoder {sizes.known} numbers about each image. "
                "Use conditioner 'none', or a prior that does not encode ('gaussian', 'code_generator')"
            )
        if self.config.exemplars is not None:
            _check_memory(self.name, self.config.exemplars, sizes.image)
        self.encoder = encoder
        self.log_variance = nn.Parameter(torch.full((1,), math.log(self.config.variance)))
        self.images = StoredTensor(torch.empty(0, *sizes.image, dtype=torch.uint8))
        """The exemplars, bytes [N, c, h, w]."""
        self.index = StoredTensor(torch.empty(0, dtype=torch.int64))
        """The place of each exemplar among the training images, [N], rising."""
        self._means = KeptValue()

    @torch.no_grad()
    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Take the exemplars from the training images, in their order.

        Raises:
            PlanError: there are too few training images, or no memory for so many.
        """
        asked: int | None = self.config.exemplars
        try:
            batch = draw(asked)
        except (PlanError, DataError) as error:
            raise PlanError(
                f"prior '{self.name}' has exemplars = {'all training images' if asked is None else asked}: {error}. "
                "Set exemplars to fewer"
            ) from error
        if len(batch.x) < 2 or batch.index is None:
            raise PlanError(
                f"prior '{self.name}' needs at least 2 training images with their index, since each is left out of the "
                f"density of its own code; it got {len(batch.x)}. Use more images, or prior 'gaussian'"
            )
        order = batch.index.argsort()
        self.images.set(((batch.x[order] + 1) * 127.5).round().to(torch.uint8))
        self.index.set(batch.index[order])

    def train(self, mode: bool = True) -> Exemplar:
        """Set the mode, and forget the codes of other weights."""
        self._means.drop()
        super().train(mode)
        return self

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z = m(x_k) + sigma e [n, d] with k uniform on 1 .. N, drawn anew for each row of `asked` [n, k]."""
        n = len(asked)
        if len(self.images):
            means = self._encoded(torch.randint(len(self.images), (n,), device=asked.device))
        else:
            means = self.log_variance.new_zeros(n, self.sizes.code)
        z = torch.addcmul(means, (0.5 * self.log_variance).exp(), torch.randn_like(means))
        return z.to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density logsumexp_k log N(z; m(x_k), sigma^2 I) - log N: [n] in nats for z [n, d]."""
        means, _ = self._mixture()
        return self._log_mean(z, means, None)

    def log_prob_without(self, z: Tensor, asked: Tensor, index: Tensor) -> Tensor:
        """The log-density of each code in the mixture without the exemplar of its own image: [n] in nats.

        An image that is no exemplar, or not in the subset of this call, is not in the mixture anyway.
        """
        means, places = self._mixture()
        return self._log_mean(z, means, index[:, None] == places)

    def _log_mean(self, z: Tensor, means: Tensor, left_out: Tensor | None) -> Tensor:
        """The log of the mean density over the K exemplars, but those that are left out of a code's mixture [n, K]."""
        q = GaussianPosterior(means, self.log_variance.expand_as(means))
        log_p = []
        for rows in torch.split(torch.arange(len(z), device=z.device), max(1, PAIRS // len(means))):
            each = log_prob_of_each(q, z[rows])
            if left_out is None:
                log_p.append(each.logsumexp(1) - math.log(len(means)))
            else:
                out = left_out[rows]
                number = len(means) - out.sum(1)
                log_p.append(each.masked_fill(out, -math.inf).logsumexp(1) - number.to(each.dtype).log())
        dtype = torch.promote_types(q.mean.dtype, z.dtype)
        return torch.cat(log_p).to(dtype) if log_p else z.new_zeros(0, dtype=dtype)

    def _mixture(self) -> tuple[Tensor, Tensor]:
        """The means [K, d] of the exemplars that count in this call, and their places among the training images [K]."""
        n, subset = len(self.images), self.config.subset
        if not n:
            return self.log_variance.new_zeros(1, self.sizes.code), self.index.value.new_full((1,), -1)
        if not self.training:
            weights = [*self.encoder.parameters(), *self.encoder.buffers(), self.images.value]
            return self._means(self._all_means, weights), self.index.value
        device = self.images.value.device
        chosen = torch.randperm(n, device=device)[:subset] if subset < n else torch.arange(n, device=device)
        return self._encoded(chosen), self.index.value[chosen]

    def _all_means(self) -> Tensor:
        pieces = torch.split(torch.arange(len(self.images), device=self.images.value.device), ENCODED)
        return torch.cat([self._encoded(piece) for piece in pieces])

    def _encoded(self, chosen: Tensor) -> Tensor:
        """The encoder's means of the chosen exemplars, [m, d]."""
        x = images_to_float(self.images.value.index_select(0, chosen)).to(self.log_variance.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        none = x.new_zeros(len(x), 0)
        with own_batch_statistics(self.encoder) if self.training else contextlib.nullcontext():
            mean: Tensor = self.encoder(x, none).mean
        return mean.to(self.log_variance.dtype)


def _check_memory(name: str, exemplars: int, image: tuple[int, int, int]) -> None:
    """Refuse exemplars for which this machine has no memory, before asking for it.

    Raises:
        PlanError: says how much they need and how much there is.
    """
    try:
        # A byte of each number is kept; while they are drawn, so are the numbers in single precision.
        check_room(5 * exemplars * math.prod(image), f"prior '{name}' has exemplars = {exemplars}; so many images")
    except DataError as error:
        raise PlanError(f"{error}. Set exemplars to fewer") from error
