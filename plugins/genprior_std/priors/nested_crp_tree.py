"""The variational posterior over a truncated tree of Gaussians: expectations, closed-form updates, divergence.

Everything here is a pure function of a `Tree`. Nodes are numbered level by level from the root, 0; the children of a
node stand side by side, in the order in which sticks are broken, so the nodes of a level are a [parents, branching]
tensor. The edge into node p is edge p - 1. Letters: n codes, d code, L leaves, P nodes.

References:
    Goyal et al., Nonparametric Variational Auto-encoders for Hierarchical Representation Learning, 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Beta, kl_divergence
from torch.nn.functional import pad

__all__ = ["Tree", "TreeFamily"]


class Tree(NamedTuple):
    """q(alpha) q(nu), the variational posterior over the nodes and the sticks of a tree.

    q(alpha_p) = N(mu_p, s_p^2 I) for node p, q(nu_e) = Beta(a_e, b_e) for edge e.
    """

    means: Tensor
    """mu, [P, d]."""
    variances: Tensor
    """s^2, [P]."""
    a: Tensor
    """The first parameter of each stick, [P - 1]."""
    b: Tensor
    """The second one, [P - 1]."""


@dataclass(frozen=True)
class TreeFamily:
    """Trees of one shape, under one prior.

    alpha_root ~ N(0, sN^2 I), alpha_p ~ N(alpha_parent, sN^2 I), nu_e ~ Beta(1, g), and a code of leaf l is
    z ~ N(alpha_l, sD^2 I). Leaf l has the weight

        pi_l = prod_{e on the path to l} nu_e prod_{earlier siblings e'} (1 - nu_e')
    """

    branching: int
    """Children of each internal node that are represented."""
    depth: int
    """Levels of edges."""
    gamma: float
    """g."""
    node_std: float
    """sN."""
    leaf_std: float
    """sD."""

    @property
    def leaves(self) -> int:
        """L, the number of leaves."""
        return int(self.branching**self.depth)

    @property
    def nodes(self) -> int:
        """P, the number of nodes: internal ones and leaves."""
        stop: int = self.level(self.depth).stop
        return stop

    def level(self, depth: int) -> slice:
        """The nodes that are `depth` edges below the root."""
        first = (self.branching**depth - 1) // (self.branching - 1)
        return slice(first, first + self.branching**depth)

    def draw(self, d: int) -> Tree:
        """A tree whose means are a draw from the prior, with the optimal variances and sticks without data."""
        levels = [self.node_std * torch.randn(1, d)]
        for depth in range(1, self.depth + 1):
            above = levels[-1].repeat_interleave(self.branching, 0)
            levels.append(above + self.node_std * torch.randn(self.branching**depth, d))
        variances = torch.full((self.nodes,), self.node_std**2 / (1 + self.branching))
        variances[self.level(self.depth)] = self.node_std**2
        edges = self.nodes - 1
        return Tree(torch.cat(levels), variances, torch.ones(edges), torch.full((edges,), float(self.gamma)))

    # Expectations ----------------------------------------------------------------------------------------------------

    def expected_log_weights(self, tree: Tree) -> Tensor:
        """E log pi_l of every leaf, [L] in nats, with E log nu = psi(a) - psi(a + b), E log(1 - nu) = psi(b) - ..."""
        both = torch.digamma(tree.a + tree.b)
        return self._along_paths(torch.digamma(tree.a) - both, torch.digamma(tree.b) - both)

    def log_expected_weights(self, tree: Tree) -> Tensor:
        """The logarithm of E pi_l of every leaf, [L] in nats; sticks are independent.

        The weights sum to less than 1, because the tree is truncated.
        """
        both = tree.a + tree.b
        return self._along_paths((tree.a / both).log(), (tree.b / both).log())

    def _along_paths(self, taken: Tensor, left: Tensor) -> Tensor:
        """For every leaf: sum_{e on its path} (taken_e + sum_{earlier siblings e'} left_e'), [L] from two [P - 1]."""
        total = taken.new_zeros(1)
        for depth in range(1, self.depth + 1):
            edges = self._edges(depth)
            earlier = pad(left[edges].view(-1, self.branching).cumsum(1)[:, :-1], (1, 0))
            total = (total[:, None] + taken[edges].view(-1, self.branching) + earlier).flatten()
        return total

    def leaf_scores(self, tree: Tree, mean: Tensor, variance: Tensor) -> Tensor:
        """E log pi_l + E log N(z; alpha_l, sD^2 I) of every code z ~ N(m, diag(v)) in every leaf.

            E log N(z; alpha_l, sD^2 I) = -d/2 log(2 pi sD^2) - (|m - mu_l|^2 + d s_l^2 + sum_j v_j) / (2 sD^2)

        Args:
            tree: q(alpha) q(nu).
            mean: m, [n, d].
            variance: v, [n, d].

        Returns:
            [n, L], in nats.
        """
        d, leaves = mean.shape[1], self.level(self.depth)
        # Differences are squared directly: by matrix products they would cancel far from the origin.
        distance = torch.cdist(mean, tree.means[leaves], compute_mode="donot_use_mm_for_euclid_dist").square()
        square = distance + d * tree.variances[leaves] + variance.sum(1, keepdim=True)
        constant = 0.5 * d * math.log(2 * math.pi * self.leaf_std**2)
        return self.expected_log_weights(tree) - constant - square / (2 * self.leaf_std**2)

    def divergence(self, tree: Tree) -> Tensor:
        """KL(q(alpha) || p(alpha)) + KL(q(nu) || p(nu)), a scalar in nats.

        KL(q(alpha) || p(alpha)) = sum_p |mu_p - mu_parent|^2 / (2 sN^2)
                                   + d/2 ((s_p^2 + s_parent^2) / sN^2 - 1 - log(s_p^2 / sN^2))
        with mu_parent = 0 and s_parent = 0 above the root.
        """
        d, scale = tree.means.shape[1], self.node_std**2
        steps = (tree.means - self._of_parents(tree.means)).square().sum() / (2 * scale)
        spread = (tree.variances + self._of_parents(tree.variances)) / scale - 1 - (tree.variances / scale).log()
        # No validation of arguments: it would wait for the device.
        sticks = Beta(tree.a, tree.b, validate_args=False)
        fresh = Beta(torch.ones_like(tree.a), torch.full_like(tree.b, self.gamma), validate_args=False)
        return steps + 0.5 * d * spread.sum() + kl_divergence(sticks, fresh).sum()

    # Closed-form updates ---------------------------------------------------------------------------------------------

    def with_means(self, tree: Tree, depth: int, phi: Tensor, mean: Tensor) -> Tree:
        """The tree with the best q(alpha_p) of all nodes of one level, everything else as it is.

            a leaf:         1 / s^2 = 1 / sN^2 + sum_n phi / sD^2,  mu = s^2 (mu_parent / sN^2 + sum_n phi m_n / sD^2)
            an inner node:  1 / s^2 = (1 + branching) / sN^2,       mu = s^2 (mu_parent + sum_children mu_c) / sN^2

        Args:
            tree: q(alpha) q(nu).
            depth: the level; 0 is the root.
            phi: [n, L].
            mean: m, [n, d].
        """
        nodes, scale = self.level(depth), self.node_std**2
        parents = self._of_parents(tree.means)[nodes] / scale
        if depth == self.depth:
            precision = 1 / scale + phi.sum(0) / self.leaf_std**2
            pulls = parents + phi.T @ mean / self.leaf_std**2
        else:
            precision = tree.variances.new_full((self.branching**depth,), (1 + self.branching) / scale)
            pulls = parents + tree.means[self.level(depth + 1)].view(-1, self.branching, mean.shape[1]).sum(1) / scale
        means, variances = tree.means.clone(), tree.variances.clone()
        means[nodes] = pulls / precision[:, None]
        variances[nodes] = 1 / precision
        return tree._replace(means=means, variances=variances)

    def with_sticks(self, tree: Tree, phi: Tensor) -> Tree:
        """The tree with the best q(nu) of all sticks, everything else as it is.

        a_e = 1 + the mass of phi [n, L] under e; b_e = g + the mass under the LATER siblings of e, for which pi_l has a
        factor 1 - nu_e.
        """
        a, b = [], []
        mass = phi.sum(0)
        for _ in range(self.depth):
            siblings = mass.view(-1, self.branching)
            later = pad(siblings.flip(1).cumsum(1).flip(1)[:, 1:], (0, 1))
            a.append(1 + mass)
            b.append(self.gamma + later.flatten())
            mass = siblings.sum(1)
        return tree._replace(a=torch.cat(a[::-1]), b=torch.cat(b[::-1]))

    # Levels ----------------------------------------------------------------------------------------------------------

    def _edges(self, depth: int) -> slice:
        """The edges into the nodes of a level."""
        nodes = self.level(depth)
        return slice(nodes.start - 1, nodes.stop - 1)

    def _of_parents(self, x: Tensor) -> Tensor:
        """For every node the row of its parent, [P, ...] from [P, ...]; 0 for the root."""
        inner = x[: self.level(self.depth).start]
        return torch.cat([torch.zeros_like(x[:1]), inner.repeat_interleave(self.branching, 0)])
