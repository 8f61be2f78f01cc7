"""A mixture of Gaussians whose weights, means and covariances are learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import Batch, Borrowed, Codes, DensityPrior, FittedPrior, PartConfig, PlanError, Posterior, Sizes
from genprior_std.layers.batch_statistics import own_batch_statistics
from genprior_std.layers.mixture_estimates import SMALLEST, clusters, maximised, of_conditions
from genprior_std.layers.posterior import GaussianPosterior, log_prob_of_each
from genprior_std.priors.one_hot import check_one_hot

__all__ = ["GaussianMixture"]

PER_COMPONENT = 50
"""Training images for each component whose codes the start "codes" clusters, where there are so many."""


class GaussianMixture(DensityPrior, FittedPrior):
    """K Gaussians in d dimensions, of which weights, means and covariances are learned.

        p(z) = sum_k pi_k N(z; m_k, L_k L_k^T),    pi = softmax(logits)

    L_k is lower triangular, and for `covariance = "diagonal"` a diagonal. A standard deviation (the diagonal of L_k) is
    f + exp(s), with the floor f = 1e-4; in a fit f is 1e-4 root mean square deviations of the codes. Codes are [n, d]
    for any d. With `asked` [n, K], a one-hot, samples and density are those of that component alone, and no weights
    are learned; without a condition they are those of the mixture.

    Gradients: `log_prob` is differentiable in all parameters. `sample` draws a component k, then z = m_k + L_k e with e
    ~ N(0, I), which is differentiable in m and L. The choice of the component is discrete, so samples pass no gradient
    to the weights: where only samples are used, as by `wae` and by an adversarial autoencoder that improves its prior,
    the weights stay as they started, equal for `start = "spread"`.

    `start = "spread"` draws the means from N(0, spread^2 I), with standard deviations of spread K^(-1/d) in each
    component and equal weights. `start = "codes"` borrows the encoder, clusters the codes of training images under its
    first weights by k-means, and starts from the clusters' shares, means and covariances. Codes of first weights lie
    close together: where nothing trains the prior, as in `aae` without `improves.prior`, it stays that narrow; use
    "spread" there.

    As a `fitted_prior` it is fitted to all codes by expectation maximisation, from k-means clusters: the algorithm is
    that of scikit-learn, in double precision, which runs until the mean log-likelihood gains less than 1e-4 in an
    iteration, at most 500 times. It follows the scale of the codes, however small; `start` and `spread` have no part in
    it. With a one-hot condition component k has the mean and the covariance of the codes with that condition.

    Raises:
        PlanError: the condition is not a one-hot of K; with `start = "codes"`, there are fewer images than components,
            or a condition of new images or one that the encoder sees.

    References:
        Dilokthanakul et al., Deep Unsupervised Clustering with Gaussian Mixture Variational Autoencoders, 2016;
        Tomczak and Welling, VAE with a VampPrior, 2017 (the mixture of Gaussians as a learned prior of a VAE); Ghosh et
        al., From variational to deterministic autoencoders, 2020 (the mixture that is fitted to codes afterwards).
    """

    name = "gaussian_mixture"
    joint = True
    closed_form = True
    floor: Tensor | None
    """The least standard deviation, a scalar; None, and in no checkpoint, where it is 1e-4, as in no fit."""

    class Config(PartConfig):
        """Settings of the mixture of Gaussians."""

        components: int = Field(default=10, ge=1)
        """K, the number of Gaussians."""
        covariance: Literal["diagonal", "full"] = "diagonal"
        """The form of each covariance."""
        start: Literal["spread", "codes"] = "spread"
        """Components start at random, or as clusters (k-means) of codes of training images; a fit does the latter."""
        spread: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """Standard deviation of the means at the start "spread"; a fit after training ignores it."""

    @classmethod
    def borrows_of(cls, config: Any) -> tuple[str, ...]:
        """The encoder, if the components start from codes."""
        return ("encoder",) if config.start == "codes" else ()

    def __init__(self, config: PartConfig, sizes: Sizes, encoder: Borrowed | None = None) -> None:
        """Draw the components."""
        super().__init__(config, sizes)
        k, d = self.config.components, sizes.code
        check_one_hot(self.name, sizes)
        if sizes.asked not in (0, k):
            raise PlanError(
                f"prior '{self.name}' has {k} components, so a condition must be a one-hot of {k}; the one asked here "
                f"has width {sizes.asked}. Set components = {sizes.asked}, use a prior that takes any condition "
                "('gaussian', 'code_generator'), or ask for nothing (conditioner 'none', where the model has one)"
            )
        self.encoder = encoder
        self.register_buffer("floor", None)
        self.means = nn.Parameter(self.config.spread * torch.randn(k, d))
        scale = torch.full((k, d), self.config.spread * k ** (-1 / d))
        start = self._raw_scale(scale)
        self.factors = nn.Parameter(torch.diag_embed(start) if self.config.covariance == "full" else start)
        weights = torch.zeros(k)
        if sizes.asked:
            self.register_buffer("logits", weights)  # no loss depends on them
        else:
            self.logits = nn.Parameter(weights)

    @torch.no_grad()
    def begin(self, draw: Callable[[int], Batch]) -> None:
        """Make the components clusters of codes of training images, if `start` says so.

        Raises:
            PlanError: there are fewer training images than components, or a condition that the start does not have.
        """
        if self.encoder is None:
            return
        _check_start(self.name, self.sizes, self.encoder)
        x = _images(self.name, self.config.components, draw)
        with own_batch_statistics(self.encoder):
            q: Posterior = self.encoder(x, x.new_zeros(len(x), self.sizes.known))
        self.set_mixture(*clusters(q.rsample().double(), self.config.components, self.config.covariance))

    @torch.no_grad()
    def set_mixture(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Set the parameters, in any precision.

        Args:
            weights: pi [K], positive, with sum 1.
            means: m_k [K, d].
            covariances: of components: variances [K, d] where covariances are diagonal, else matrices [K, d, d].

        Raises:
            PlanError: a shape does not fit, or a covariance is not positive definite.
        """
        k, d = self.means.shape
        shape = (k, d, d) if self.config.covariance == "full" else (k, d)
        for what, given, needed in (
            ("weights", weights, (k,)),
            ("means", means, (k, d)),
            ("covariances", covariances, shape),
        ):
            if given.shape != needed:
                raise PlanError(
                    f"prior '{self.name}' with {k} components, {self.config.covariance} covariances and codes of {d} "
                    f"numbers was given {what} {list(given.shape)}; {list(needed)} are needed"
                )
        if self.config.covariance == "full":
            lower, failures = torch.linalg.cholesky_ex(covariances.double())
            fits = not bool(failures.any())
            scale = lower.diagonal(dim1=1, dim2=2)
            raw = lower.tril(-1) + torch.diag_embed(self._raw_scale(scale))
        else:
            fits = bool((covariances > 0).all())
            raw = self._raw_scale(covariances.double().sqrt())
        if not fits:
            raise PlanError(
                f"prior '{self.name}' was given a covariance that is not positive definite. Add a small number, such "
                "as 1e-6, to its diagonal, or fit fewer components"
            )
        self.logits.copy_(weights.log())
        self.means.copy_(means)
        self.factors.copy_(raw)

    def check_codes(self, n: int) -> None:
        """Refuse more components than codes."""
        if n < self.config.components:
            raise PlanError(
                f"prior '{self.name}' has components = {self.config.components}, and there are {n} codes to fit them "
                f"to; 1 to {n} components are possible"
            )
        if n < 2:
            raise PlanError(
                f"prior '{self.name}' is fitted to the spread of the codes, and needs at least 2; the number of codes "
                f"is {n}. Train with more images, or raise run.fit.draws"
            )

    def begin_fit(self, codes: Codes) -> None:
        """Fit the components to all codes by expectation maximisation, or to those of each condition."""
        z, k = codes.z.double(), self.config.components
        deviation = z.var(0, correction=0).mean().sqrt()
        self.floor = (SMALLEST * torch.where(deviation > 0, deviation, 1.0)).to(self.means)
        if self.sizes.asked:
            self.set_mixture(*of_conditions(self.name, z, codes.asked.argmax(1), k, self.config.covariance))
        else:
            self.set_mixture(*maximised(z, k, self.config.covariance))

    def sample(self, asked: Tensor) -> Tensor:
        """Draw z = m_k + L_k e [n, d], with k of `asked` [n, K or 0] or drawn from the weights, and e ~ N(0, I)."""
        n = len(asked)
        if self.sizes.asked:
            k = asked.argmax(1)
        else:
            k = (
                torch.multinomial(self.logits.detach().float().softmax(0), n, replacement=True)
                if n
                else asked.new_zeros(0, dtype=torch.int64)
            )
        noise = torch.randn(n, self.sizes.code, device=asked.device, dtype=self.means.dtype)
        if self.config.covariance == "full":
            z = self.means[k] + (self._factors()[k] * noise[:, None]).sum(2)
        else:
            z = torch.addcmul(self.means[k], self._scales()[k], noise)
        return z.to(asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The log-density, logsumexp_k (log pi_k + log N(z; m_k, L_k L_k^T)): [n] in nats for z [n, d]."""
        dtype = torch.promote_types(z.dtype, torch.float32)
        each = self._log_each(z.to(dtype))
        if self.sizes.asked:
            return each.gather(1, asked.argmax(1, keepdim=True))[:, 0].to(dtype)
        return (each + self.logits.to(each.dtype).log_softmax(0)).logsumexp(1).to(dtype)

    def _log_each(self, z: Tensor) -> Tensor:
        """The log-density of each code under each component, [n, K]."""
        if self.config.covariance == "diagonal":
            return log_prob_of_each(GaussianPosterior(self.means, 2 * self._scales().log()), z)
        lower = self._factors().to(z.dtype)
        difference = z.T - self.means.to(z.dtype)[..., None]  # [K, d, n]
        white: Tensor = torch.linalg.solve_triangular(lower, difference, upper=False)
        log_volume = lower.diagonal(dim1=1, dim2=2).log().sum(1) + 0.5 * z.shape[1] * math.log(2 * math.pi)
        return (-0.5 * white.square().sum(1) - log_volume[:, None]).T

    def _scales(self) -> Tensor:
        """The standard deviations, or the diagonals of L, [K, d]."""
        raw: Tensor = self.factors.diagonal(dim1=1, dim2=2) if self.config.covariance == "full" else self.factors
        scales: Tensor = self._floor() + raw.exp()
        return scales

    def _factors(self) -> Tensor:
        """L, [K, d, d]."""
        return self.factors.tril(-1) + torch.diag_embed(self._scales())

    def _raw_scale(self, scale: Tensor) -> Tensor:
        """The s of which scale = floor + exp(s)."""
        floor = self._floor()
        raw: Tensor = (scale - floor).clamp_min(SMALLEST * floor).log()
        return raw

    def _floor(self) -> Any:
        """The least standard deviation: a scalar, or a number."""
        return SMALLEST if self.floor is None else self.floor

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Hold a floor if the state has one, as that of a fitted mixture does."""
        self.floor = self.means.new_empty(()) if prefix + "floor" in state_dict else None
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_start(name: str, sizes: Sizes, encoder: Borrowed) -> None:
    """Refuse a start from codes where codes depend on a condition, which a prior does not have at its start.

    Raises:
        PlanError: there is a condition of new images, or the encoder sees that of images.
    """
    if sizes.asked or (sizes.known and encoder.sees_known(encoder.config)):
        cause = (
            "its components belong to the conditions of new images, and clusters of codes belong to none"
            if sizes.asked
            else f"encoder '{encoder.name}' encodes an image with its condition, and the start has images alone"
        )
        raise PlanError(
            f"prior '{name}' has start = \"codes\", and {cause}. Set start = \"spread\", or use conditioner 'none'"
        )


def _images(name: str, components: int, draw: Callable[[int], Batch]) -> Tensor:
    """Different training images: 50 for each component, or as many as there are, up to a factor of two.

    Raises:
        PlanError: there are fewer images than components.
    """
    n = PER_COMPONENT * components
    while n > components:
        try:
            return draw(n).x
        except PlanError:
            n = max(n // 2, components)
    try:
        return draw(n).x
    except PlanError as error:
        raise PlanError(
            f"prior '{name}' has components = {components} and start = \"codes\", so it needs codes of as many "
            f'different training images: {error}. Set components to fewer, or start = "spread"'
        ) from error
