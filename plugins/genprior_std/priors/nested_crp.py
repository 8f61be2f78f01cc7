"""A tree of Gaussians whose leaves are weighted by a nested Chinese restaurant process."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from genprior import DensityPrior, PartConfig, Sizes
from genprior_std.layers.posterior import GaussianPosterior, log_prob_of_each
from genprior_std.priors.nested_crp_tree import Tree, TreeFamily

__all__ = ["NestedCrp"]

MOST_LEAVES = 4096
"""The largest number of leaves; phi of all codes and leaves is in memory at once."""


class NestedCrp(DensityPrior):
    """A mixture of Gaussians at the leaves of a tree that is itself inferred, by closed-form updates.

    Each node is drawn around its parent, each leaf is chosen by breaking a stick at every node on the way down, and a
    code is drawn around its leaf:

        alpha_root ~ N(0, sN^2 I),  alpha_p ~ N(alpha_parent, sN^2 I),  nu_e ~ Beta(1, g)
        p(c = l) = pi_l = prod_{e on the path to l} nu_e prod_{earlier siblings e'} (1 - nu_e'),  z ~ N(alpha_c, sD^2 I)

    The posterior is mean-field, q(alpha_p) = N(mu_p, s_p^2 I), q(nu_e) = Beta(a_e, b_e), q(c_n) = phi_n. Nothing here
    is trained by gradients: mu, s^2, a and b are buffers, set by `sweep`, each block to its optimum given the others.
    All are initialised from the prior, the means at random, so that the leaves differ.

    The tree is truncated to `branching` children per node and `depth` levels. Children beyond these keep their prior
    and get no codes, so each last sibling has a free stick, phi sums to 1 over the represented leaves, and `tree_elbo`
    bounds the evidence of the whole, infinite tree. The predictive density, which is sampled, renormalises instead:

        p(z) = sum_l w_l N(z; mu_l, (sD^2 + s_l^2) I),    w_l = E pi_l / sum_l' E pi_l'

    Codes are one group here, an ordinary tree-structured mixture; in the paper groups are videos, each with sticks of
    its own over a common tree, and their codes are frames. Leaves are not split or pruned, as they are in the paper's
    code: the weight of a leaf without codes fades instead. A faded leaf lies at its parent until codes come near.

    The condition is ignored; codes are [n, d] for any d.

    References:
        Goyal, Hu, Liang, Wang and Xing, Nonparametric Variational Auto-encoders for Hierarchical Representation
        Learning, 2017. The defaults are those of its public code. Blei and Jordan, Variational inference for
        Dirichlet process mixtures, 2006, for the sticks.
    """

    name = "nested_crp"
    updated_by_model: ClassVar[bool] = True

    class Config(PartConfig):
        """Settings of the tree."""

        branching: int = Field(default=4, ge=2)
        """Children of each internal node."""
        depth: int = Field(default=3, ge=1)
        """Levels of edges; there are branching^depth leaves."""
        gamma: float = Field(default=10.0, gt=0, allow_inf_nan=False)
        """g, the concentration of the sticks; the larger, the more children share a node's codes."""
        node_std: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """sN, standard deviation of a node around its parent, in each coordinate."""
        leaf_std: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """sD, standard deviation of a code around its leaf, in each coordinate."""

        @model_validator(mode="after")
        def _check_size(self) -> Any:
            # Depths beyond 12 have too many leaves in any case, and the power could be too large to compute.
            if self.depth > 12 or self.branching**self.depth > MOST_LEAVES:
                raise ValueError(
                    f"branching = {self.branching} and depth = {self.depth} make branching^depth leaves; at most "
                    f"{MOST_LEAVES} are possible. Lower one of them"
                )
            return self

    means: Tensor
    variances: Tensor
    stick_a: Tensor
    stick_b: Tensor

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Draw the tree's means from its prior."""
        super().__init__(config, sizes)
        c = self.config
        self.family = TreeFamily(c.branching, c.depth, c.gamma, c.node_std, c.leaf_std)
        start = self.family.draw(sizes.code)
        self.register_buffer("means", start.means)
        self.register_buffer("variances", start.variances)
        self.register_buffer("stick_a", start.a)
        self.register_buffer("stick_b", start.b)

    @property
    def tree(self) -> Tree:
        """q(alpha) q(nu) as it is now."""
        return Tree(self.means, self.variances, self.stick_a, self.stick_b)

    # The predictive density ------------------------------------------------------------------------------------------

    def sample(self, asked: Tensor) -> Tensor:
        """Draw codes [n, d], a leaf l ~ w and z ~ N(mu_l, (sD^2 + s_l^2) I), one for each row of `asked` [n, k]."""
        n, leaves = len(asked), self.family.level(self.config.depth)
        below = self._log_weights().softmax(0).cumsum(0)
        # The last sum may fall short of 1 by rounding.
        leaf = torch.searchsorted(below, torch.rand(n, device=asked.device, dtype=below.dtype), right=True)
        leaf = leaf.clamp(max=self.family.leaves - 1)
        std = (self.config.leaf_std**2 + self.variances[leaves][leaf]).sqrt().to(asked.dtype)
        noise = torch.randn(n, self.sizes.code, device=asked.device, dtype=asked.dtype)
        return torch.addcmul(self.means[leaves][leaf].to(asked.dtype), std[:, None], noise)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        """The predictive log-density, log sum_l w_l N(z; mu_l, (sD^2 + s_l^2) I): [n] in nats for z [n, d]."""
        leaves = self.family.level(self.config.depth)
        log_variance = (self.config.leaf_std**2 + self.variances[leaves]).log()
        each = log_prob_of_each(
            GaussianPosterior(self.means[leaves], log_variance[:, None].expand(-1, self.sizes.code)), z
        )
        return (each + self._log_weights().log_softmax(0)).logsumexp(1)

    def _log_weights(self) -> Tensor:
        return self.family.log_expected_weights(self.tree)

    # Codes in the tree -----------------------------------------------------------------------------------------------

    def bound(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The tree's bound on E log p(z) of each code z ~ N(m, diag(v)), with q(c) at its optimum.

            sum_l phi_l (E log N(z; alpha_l, sD^2 I) + E log pi_l - log phi_l) = log sum_l exp(E log N + E log pi_l)

        The divergence of the tree itself is not part of it. Its gradient in m and v is that with phi held fixed, since
        phi is at its optimum.

        Args:
            mean: m, [n, d].
            variance: v, [n, d].

        Returns:
            [n], in nats.
        """
        return self.family.leaf_scores(self.tree, mean, variance).logsumexp(1)

    def responsibilities(self, mean: Tensor, variance: Tensor) -> Tensor:
        """phi, the best q(c) of each code z ~ N(m [n, d], diag(v [n, d])): [n, L], rows sum to 1 over the leaves."""
        return self.family.leaf_scores(self.tree, mean, variance).softmax(1)

    def tree_elbo(
        self, mean: Tensor, variance: Tensor, weights: Tensor | None = None, phi: Tensor | None = None
    ) -> Tensor:
        """The tree's part of the evidence lower bound over n codes, a scalar in nats, with every constant.

            sum_n sum_l phi_nl (E log p(z_n | alpha_l) + E log pi_l - log phi_nl) - KL(q(alpha) || p) - KL(q(nu) || p)

        Args:
            mean: m of each code, [n, d].
            variance: v of each code, [n, d].
            weights: how often each code counts, [n]; once if not given.
            phi: q(c), [n, L]; at its optimum if not given.
        """
        scores = self.family.leaf_scores(self.tree, mean, variance)
        each = scores.logsumexp(1) if phi is None else (phi * scores - torch.xlogy(phi, phi)).sum(1)
        total = each.sum() if weights is None else (weights * each).sum()
        return total - self.family.divergence(self.tree)

    @torch.no_grad()
    def sweep(self, mean: Tensor, variance: Tensor, weights: Tensor | None = None) -> None:
        """Set phi, the leaves, the inner nodes up to the root, and the sticks, each to its optimum given the rest.

        `tree_elbo` of these codes never falls. Codes of weight 0 are ignored, and without any code the tree stays as it
        is.

        Args:
            mean: m of each code, [n, d].
            variance: v of each code, [n, d].
            weights: how often each code counts, [n]; once if not given.
        """
        phi = self.responsibilities(mean, variance)
        phi = phi if weights is None else weights[:, None] * phi
        tree = self.tree
        for depth in range(self.config.depth, -1, -1):
            tree = self.family.with_means(tree, depth, phi, mean)
        tree = self.family.with_sticks(tree, phi)
        for mine, new in zip(self.tree, tree, strict=True):
            # Without codes all nodes would collapse onto the root and never separate again.
            mine.copy_(torch.where(phi.sum() > 0, new, mine))
