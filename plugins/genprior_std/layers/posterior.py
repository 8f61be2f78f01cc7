"""The posteriors q(z | x) of encoders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from genprior import CategoricalPosterior, DensityPosterior, Encoder, PlanError, PointPosterior, Posterior
from genprior_std.layers.row_posterior import RowPosterior
from genprior_std.layers.stacked import StackedLinear
from genprior_std.layers.von_mises_fisher import VonMisesFisher

__all__ = [
    "POSTERIORS",
    "CodeNorm",
    "GaussianPosterior",
    "PosteriorEncoder",
    "PosteriorForm",
    "SoftCategory",
    "code_norm",
    "log_category",
    "log_prob_of_each",
    "posterior_from",
    "posterior_layer",
]

PosteriorForm = Literal["point", "gaussian", "softmax", "von_mises_fisher"]


class GaussianPosterior(RowPosterior):
    """A Gaussian with a diagonal covariance, q(z | x) = N(z; m, diag(exp(v))).

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014, section 2.4 (the reparameterisation).
    """

    def __init__(self, mean: Tensor, log_variance: Tensor) -> None:
        """Describe one Gaussian for each image.

        Both are kept in at least single precision: a log density is a small difference of large numbers, which the
        half precision of autocast would round away.

        Args:
            mean: m, [n, d].
            log_variance: v, the natural logarithm of the variance, [n, d].
        """
        self._mean = _at_least_single(mean)
        self._log_variance = _at_least_single(log_variance)

    @property
    def mean(self) -> Tensor:
        """The mean code m, [n, d]."""
        return self._mean

    @property
    def log_variance(self) -> Tensor:
        """The natural logarithm of the variance of each coordinate, v, [n, d]."""
        return self._log_variance

    def rsample(self) -> Tensor:
        """A code z = m + exp(v / 2) e with e ~ N(0, I), [n, d], differentiable in m and v."""
        return torch.addcmul(self._mean, (0.5 * self._log_variance).exp(), torch.randn_like(self._mean))

    def log_prob(self, z: Tensor) -> Tensor:
        """The log density, -(1/2) sum_j (log 2 pi + v_j + (z_j - m_j)^2 exp(-v_j)).

        Args:
            z: codes [n, d].

        Returns:
            [n], in nats.
        """
        m, v = self._mean, self._log_variance
        return -0.5 * (math.log(2 * math.pi) + v + (z - m).square() * (-v).exp()).sum(1)

    def map_rows(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The Gaussians of other rows of m and v."""
        return type(self)(change(self._mean), change(self._log_variance))

    def log_prob_of_each(self, z: Tensor) -> Tensor:
        """The log-densities [m, n] of codes z [m, d], in double precision."""
        return _gaussians(self, z)


class SoftCategory(PointPosterior, CategoricalPosterior):
    """A soft category: all mass on the one code softmax(u) of logits u [n, K]."""

    def __init__(self, logits: Tensor) -> None:
        """Put all mass on the softmax of `logits`."""
        # In at least single precision: bfloat16 has no number between 0.996 and 1.
        self.logits = _at_least_single(logits)
        super().__init__(self.logits.softmax(1))

    @property
    def log_mean(self) -> Tensor:
        """The log softmax of the logits, [n, K], whose gradient does not vanish where a probability rounds to 0."""
        return self.logits.log_softmax(1)


POSTERIORS: dict[PosteriorForm, type[Posterior]] = {
    "point": PointPosterior,
    "gaussian": GaussianPosterior,
    "softmax": SoftCategory,
    "von_mises_fisher": VonMisesFisher,
}
"""The posterior of each form."""
SPREADS: dict[PosteriorForm, str] = {"gaussian": "variances", "von_mises_fisher": "concentrations"}
"""What the outputs of an encoder say about the spread of its posterior, by form."""


class PosteriorEncoder(Encoder):
    """An encoder with settings `posterior`, the form of q(z | x), and `conditional`, whether it takes `known`."""

    @classmethod
    def posterior_of(cls, config: Any) -> type[Posterior]:
        """The class that the setting `posterior` names, see `POSTERIORS`."""
        return POSTERIORS[config.posterior]

    @classmethod
    def sees_known(cls, config: Any) -> bool:
        """Whether the setting `conditional` is on."""
        return bool(config.conditional)


def log_category(q: Posterior) -> Tensor:
    """The logarithm of a soft category, [n, K].

    For a `CategoricalPosterior` it is its own `log_mean`. For any other posterior it is the logarithm of the mean,
    clamped at the smallest positive number, below which the gradient is zero.

    Args:
        q: the posterior of an encoder whose codes are soft categories.
    """
    if isinstance(q, CategoricalPosterior):
        return q.log_mean
    return q.mean.clamp(min=torch.finfo(q.mean.dtype).tiny).log()


class CodeNorm(nn.BatchNorm1d):
    """Batch normalisation of codes [n, d], each coordinate separately, in at least single precision."""

    def forward(self, u: Tensor) -> Tensor:
        """(u - mean) / deviation * scale + shift, over the batch while training: [n, d]."""
        return super().forward(_at_least_single(u))


def code_norm(encoder: str, form: PosteriorForm, code: int, on: bool) -> nn.Module:
    """The module between the last layer of an encoder and its posterior: a `CodeNorm`, or the identity.

    Normalising the logits over the batch prevents collapse into one category, by which an encoder loses to its critic:
    no weights of the last layer can prefer the same category for all images of a batch. Only the learned shift could,
    and it changes slowly.

    Args:
        encoder: its name, for the message.
        form: the form of its posterior.
        code: d, the width of a code.
        on: whether codes are normalised.

    Raises:
        PlanError: the posterior has a spread; normalised variances would depend on the other images.
    """
    if on and form in SPREADS:
        raise PlanError(
            f"encoder '{encoder}' was asked for normalise_code = true and posterior = \"{form}\", whose "
            f"{SPREADS[form]} should not depend on the other images of a batch. "
            'Use posterior = "point" or "softmax", or leave normalise_code out'
        )
    return CodeNorm(code) if on else nn.Identity()


def posterior_layer(form: PosteriorForm, inputs: int, code: int, bias: bool = True) -> nn.Linear:
    """The last layer of an encoder: 2d outputs for a Gaussian, d + 1 for von Mises-Fisher, else d.

    The mean or direction of a code and its spread are layers of their own, which are computed as one.

    Args:
        form: the form of its posterior.
        inputs: input width.
        code: d, the width of a code.
        bias: whether the layer has a bias.

    Raises:
        PlanError: a code of one number has no direction.
    """
    if form == "von_mises_fisher" and code < 2:
        raise PlanError(
            'posterior = "von_mises_fisher" gives codes on the unit sphere, and that of code_size = 1 is two points. '
            'Set code_size to 2 or more, or posterior = "gaussian"'
        )
    return StackedLinear(inputs, (code, *{"gaussian": [code], "von_mises_fisher": [1]}.get(form, [])), bias)


def posterior_from(form: PosteriorForm, out: Tensor) -> Posterior:
    """Make the posterior from an encoder's output.

    Args:
        form: `"point"`; `"gaussian"`; `"softmax"`, a point whose numbers are positive and sum to 1; or
            `"von_mises_fisher"`, on the unit sphere.
        out: [n, d] codes of a point, or their logits; [n, 2d] means and then log variances of a Gaussian; [n, d + 1]
            directions and then concentrations of a von Mises-Fisher distribution, see `VonMisesFisher.from_output`.

    Returns:
        An object of the class in `POSTERIORS`.
    """
    if form == "von_mises_fisher":
        return VonMisesFisher.from_output(out)
    if form == "gaussian":
        mean, log_variance = out.chunk(2, dim=1)
        return GaussianPosterior(mean, log_variance)
    return SoftCategory(out) if form == "softmax" else PointPosterior(out)


def log_prob_of_each(q: DensityPosterior, z: Tensor) -> Tensor:
    """The log-density of every code under the posterior of every image, log q(z_i | x_k).

    Args:
        q: the posteriors of K images.
        z: codes [n, d].

    Returns:
        [n, K], in nats; of a `RowPosterior` in double precision.
    """
    if isinstance(q, RowPosterior):
        return q.log_prob_of_each(z)
    # `log_prob` pairs each code with one image's posterior, so each code is repeated for all K of them.
    each = [q.log_prob(code.expand(len(q.mean), -1)) for code in z]
    return torch.stack(each) if each else z.new_zeros(0, len(q.mean))


def _gaussians(q: GaussianPosterior, z: Tensor) -> Tensor:
    """The log-densities log q_k(z_i) [n, K] of codes z [n, d] under K Gaussians, in double precision.

    The squares are expanded, sum_j (z_j - m_j)^2 e^-v_j = z^2 . e^-v - 2 z . (m e^-v) + m^2 . e^-v, so that the work
    is a product of matrices [n, 2d] and [2d, K]: it needs no [n, K, d] differences, and takes a fifth of their time.
    Its rounding error is about machine precision times sum_j (z_j^2 + m_j^2) e^-v_j: with d = 40, means within 4 and
    log variances down to -6 some thousandths of a nat in single precision, and 1e-11 in double precision, which is why
    it is in double, and more exact than single differences are.
    """
    m, v, z = q.mean.double(), q.log_variance.double(), z.double()
    precision = (-v).exp()
    scaled = m * precision
    constant = -0.5 * ((m * scaled + v).sum(1) + m.shape[1] * math.log(2 * math.pi))
    return torch.addmm(constant, torch.cat([z.square(), z], 1), torch.cat([-0.5 * precision, scaled], 1).T)


def _at_least_single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
