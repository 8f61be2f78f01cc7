"""Estimates of the weights, means and covariances of a mixture of Gaussians, for its start and for its fit to codes."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from genprior import PlanError

__all__ = ["SMALLEST", "clusters", "maximised", "of_conditions", "grouped"]

SMALLEST = 1e-4
"""The least standard deviation of a component: without one, a component on a single code has an unbounded density."""
ITERATIONS = 500
"""The most iterations of expectation maximisation."""
REGULARISATION = 1e-6
"""The share of the codes' variance that is added to the variances of each component in a fit."""
RESTARTS = 4
"""Starts of k-means, of which the best is kept."""


def grouped(z: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """The cluster [n] of each code of z [n, d], and the means [K, d] of the clusters, by k-means of scikit-learn."""
    from sklearn.cluster import KMeans  # slow to import, and parts are imported to be listed
    from sklearn.exceptions import ConvergenceWarning

    seed = int(torch.randint(2**31, ()))
    means = KMeans(components, n_init=RESTARTS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different codes than components
        label = torch.from_numpy(means.fit_predict(z.cpu().numpy())).to(z.device, torch.int64)
    return label, torch.as_tensor(means.cluster_centers_, device=z.device, dtype=z.dtype)


def clusters(z: Tensor, components: int, covariance: str) -> tuple[Tensor, Tensor, Tensor]:
    """The shares [K], means [K, d] and covariances of k-means clusters of codes z [n, d].

    A cluster of few codes has no covariance of its own, so that of a cluster is averaged with the mean variance of
    all clusters, which counts as much as d + 1 codes do.
    """
    label, centres = grouped(z, components)
    n, d = z.shape
    inside = z - centres[label]
    pooled = inside.square().sum() / (n * d) + SMALLEST
    member = nn.functional.one_hot(label, components).to(z.dtype)  # [n, K]
    count, extra = member.sum(0), d + 1
    if covariance == "full":
        squares = torch.einsum("nk,ni,nj->kij", member, inside, inside)
        own = pooled * torch.eye(d, device=z.device, dtype=z.dtype)
        spread = (squares + extra * own) / (count + extra)[:, None, None]
    else:
        spread = (member.T @ inside.square() + extra * pooled) / (count + extra)[:, None]
    return count.clamp_min(1) / count.clamp_min(1).sum(), centres, spread


def maximised(z: Tensor, components: int, covariance: str) -> tuple[Tensor, Tensor, Tensor]:
    """The weights [K], means [K, d] and covariances of a mixture fitted to codes z [n, d] by scikit-learn.

    Args:
        z: codes [n, d], float64.
        components: K.
        covariance: "diagonal" or "full"; covariances are variances [K, d] or matrices [K, d, d].
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Mixture  # slow to import

    mixture = Mixture(
        components,
        covariance_type="full" if covariance == "full" else "diag",
        max_iter=ITERATIONS,
        tol=1e-4,
        reg_covar=_least_variance(z),
        random_state=int(torch.randint(2**31, ())),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after so many iterations little is gained
        mixture.fit(z.cpu().numpy())
    weights, means, covariances = (
        torch.as_tensor(found, device=z.device, dtype=z.dtype)
        for found in (mixture.weights_, mixture.means_, mixture.covariances_)
    )
    return weights, means, covariances


def of_conditions(
    name: str, z: Tensor, condition: Tensor, components: int, covariance: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The shares [K], means [K, d] and covariances of the codes of each condition.

    Args:
        name: the prior's, for the message.
        z: codes [n, d], float64.
        condition: that of each code, [n], 0 .. K - 1.
        components: K.
        covariance: "diagonal" or "full"; covariances are variances [K, d] or matrices [K, d, d].

    Raises:
        PlanError: a condition has no codes.
    """
    count = torch.bincount(condition, minlength=components)
    if not bool((count > 0).all()):
        raise PlanError(
            f"prior '{name}' has a component for each of {components} conditions, and needs at least 1 code of each; "
            f"condition {int(count.argmin())} (of 0 to {components - 1}) has 0. Train with images of every condition, "
            "or use a prior that is fitted to all codes, such as 'flow'"
        )
    member = nn.functional.one_hot(condition, components).to(z.dtype)
    means = (member.T @ z) / count[:, None]
    inside = z - means[condition]
    floor = _least_variance(z)
    if covariance == "full":
        spread = torch.einsum("nk,ni,nj->kij", member, inside, inside) / count[:, None, None]
        spread = spread + floor * torch.eye(z.shape[1], device=z.device, dtype=z.dtype)
    else:
        spread = (member.T @ inside.square()) / count[:, None] + floor
    return count / count.sum(), means, spread


def _least_variance(z: Tensor) -> float:
    """A share of the variance of codes z [n, d], so that a component of few codes has some at any scale."""
    return float(z.var(0, correction=0).mean()) * REGULARISATION or SMALLEST**2
