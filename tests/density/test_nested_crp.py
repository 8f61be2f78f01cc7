"""The nested Chinese restaurant process: bound and updates against sums written out, exact evidence and autograd."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
import torch
from pydantic import ValidationError
from scipy import integrate, special, stats

from genprior.parts import Sizes
from genprior.testing import check_prior
from genprior_std.priors.nested_crp import NestedCrp

ERROR_RATE = 1e-3
"""How often a right sampler would be refused under a random seed; the seeds here are fixed."""


def prior_of(seed=0, code=2, drift=1.0, **settings):
    """A small tree in float64, away from its start by random variances and sticks."""
    torch.manual_seed(seed)
    settings = {"branching": 3, "depth": 2, "gamma": 2.5, "node_std": 1.3, "leaf_std": 0.7, **settings}
    prior = NestedCrp.Config(**settings).make(Sizes((1, 8, 8), code, 0, 0)).double()
    if drift:
        prior.variances.mul_((drift * torch.randn_like(prior.variances)).exp())
        prior.stick_a.copy_(1 + 5 * drift * torch.rand_like(prior.stick_a))
        prior.stick_b.copy_(0.5 + 5 * drift * torch.rand_like(prior.stick_b))
    return prior


def codes(seed, n=40, code=2):
    """Means and variances of n codes."""
    torch.manual_seed(1000 + seed)
    return 2 * torch.randn(n, code, dtype=torch.float64), torch.rand(n, code, dtype=torch.float64)


def nothing(n):
    return torch.zeros(n, 0, dtype=torch.float64)


def parent(p, branching):
    return (p - 1) // branching


def path(leaf, prior):
    """The nodes from a leaf, counted from the left, up to a child of the root."""
    branching, depth = prior.config.branching, prior.config.depth
    p = sum(branching**t for t in range(depth)) + leaf
    nodes = []
    while p:
        nodes.append(p)
        p = parent(p, branching)
    return nodes


def earlier(p, branching):
    first = branching * parent(p, branching) + 1
    return range(first, p)


# ---------------------------------------------------------------------------------------------------------------------
# The bound
# ---------------------------------------------------------------------------------------------------------------------


def log_beta(t, a, b):
    """The log-density of Beta(a, b) at t."""
    return (a - 1) * math.log(t) + (b - 1) * math.log1p(-t) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)


def expected(stick, f):
    """E f(t) over t ~ Beta(a, b), by numerical integration."""
    return integrate.quad(lambda t: math.exp(log_beta(t, *stick)) * f(t), 0, 1, limit=200)[0]


def written_out(prior, mean, variance, phi, weights):
    """The tree's ELBO, node by node and leaf by leaf, with expectations over sticks by numerical integration."""
    c, d = prior.config, mean.shape[1]
    mu, s2 = prior.means.numpy(), prior.variances.numpy()
    sticks = list(zip(prior.stick_a.tolist(), prior.stick_b.tolist(), strict=True))
    total = 0.0
    log_taken, log_left = [], []
    for q in sticks:
        log_taken.append(expected(q, lambda t: math.log(t)))
        log_left.append(expected(q, lambda t: math.log1p(-t)))
        total -= expected(q, lambda t, q=q: log_beta(t, *q) - log_beta(t, 1.0, c.gamma))
    for p in range(len(mu)):
        above, spread = (mu[parent(p, c.branching)], s2[parent(p, c.branching)]) if p else (numpy.zeros(d), 0.0)
        cross = ((mu[p] - above) ** 2).sum() + d * (s2[p] + spread)
        total += -0.5 * d * math.log(2 * math.pi * c.node_std**2) - cross / (2 * c.node_std**2)
        total += stats.multivariate_normal(mu[p], s2[p] * numpy.eye(d)).entropy()
    for n, leaf in itertools.product(range(len(mean)), range(phi.shape[1])):
        nodes = path(leaf, prior)
        log_pi = sum(log_taken[p - 1] + sum(log_left[e - 1] for e in earlier(p, c.branching)) for p in nodes)
        square = ((mean[n].numpy() - mu[nodes[0]]) ** 2).sum() + d * s2[nodes[0]] + float(variance[n].sum())
        log_z = -0.5 * d * math.log(2 * math.pi * c.leaf_std**2) - square / (2 * c.leaf_std**2)
        share = float(phi[n, leaf])
        total += float(weights[n]) * share * (log_pi + log_z - math.log(share))
    return total


@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (3, 2)])
def test_the_bound_is_the_sum_written_out(shape):
    prior = prior_of(1, branching=shape[0], depth=shape[1])
    mean, variance = codes(1, n=5)
    phi = torch.rand(5, shape[0] ** shape[1], dtype=torch.float64).softmax(1)
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5]).double()
    got = float(prior.tree_elbo(mean, variance, weights, phi))
    assert got == pytest.approx(written_out(prior, mean, variance, phi, weights), rel=1e-7)
    best = prior.responsibilities(mean, variance)
    torch.testing.assert_close(best.sum(1), torch.ones(5).double())
    got = float(prior.tree_elbo(mean, variance, weights))
    assert got == pytest.approx(written_out(prior, mean, variance, best, weights), rel=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_lies_below_the_exact_evidence_of_a_tree_of_two_leaves(seed):
    """Nodes and sticks integrate out in closed form given which leaf each code sits in; all choices are summed.

    Codes share the root, and their leaf if they sit in one. The weights of a stick nu_1 and the free stick nu_2 are
    E nu_1^k (1 - nu_1)^m nu_2^m for k codes in the first leaf and m in the second.
    """
    prior = prior_of(seed, code=1, branching=2, depth=1)
    c = prior.config
    z, _ = codes(seed, n=4, code=1)
    log_p = []
    for leaves in itertools.product((0, 1), repeat=4):
        m = sum(leaves)
        log_c = special.betaln(5 - m, c.gamma + m) + special.betaln(1 + m, c.gamma) - 2 * special.betaln(1, c.gamma)
        same = numpy.equal.outer(leaves, leaves)
        covariance = c.leaf_std**2 * numpy.eye(4) + c.node_std**2 * (1 + same)
        log_p.append(log_c + stats.multivariate_normal(numpy.zeros(4), covariance).logpdf(z[:, 0].numpy()))
    evidence = special.logsumexp(log_p)
    exact = torch.zeros_like(z)  # codes that are known: only the tree is inferred
    assert float(prior.tree_elbo(z, exact)) < evidence
    for _ in range(200):
        prior.sweep(z, exact)
    gap = evidence - float(prior.tree_elbo(z, exact))
    assert 0 < gap < 4  # mean-field over 3 nodes, 2 sticks and 4 choices; any start loses far more


@pytest.mark.parametrize("seed", range(5))
def test_what_the_tree_says_of_codes_lies_below_the_predictive_density(seed):
    """Jensen, three times: log E >= E log over nodes, sticks and leaves; over known codes it holds for each one."""
    prior = prior_of(seed)
    z = 3 * torch.randn(50, 2, dtype=torch.float64)
    assert (prior.bound(z, torch.zeros_like(z)) < prior.log_prob(z, nothing(50))).all()


def test_the_gradient_in_a_code_is_that_with_phi_held_fixed():
    """The network step of the paper: sum_l phi_l E|z - alpha_l|^2 / (2 sD^2), phi without a gradient."""
    prior = prior_of(3)
    mean, variance = (t.requires_grad_() for t in codes(3))
    got = torch.autograd.grad(-prior.bound(mean, variance).sum(), [mean, variance])
    phi = prior.responsibilities(mean, variance).detach()
    leaves = prior.means[-9:]
    square = (mean[:, None] - leaves).square().sum(2) + 2 * prior.variances[-9:] + variance.sum(1, keepdim=True)
    expected = torch.autograd.grad((phi * square).sum() / (2 * prior.config.leaf_std**2), [mean, variance])
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


# ---------------------------------------------------------------------------------------------------------------------
# The updates
# ---------------------------------------------------------------------------------------------------------------------


def updates(prior, mean, phi):
    """Every single update of a sweep but that of phi, by name: a function from a tree to a tree."""
    depth = prior.config.depth
    means = {f"means {t}": lambda tree, t=t: prior.family.with_means(tree, t, phi, mean) for t in range(depth, -1, -1)}
    return {**means, "sticks": lambda tree: prior.family.with_sticks(tree, phi)}


def put(prior, tree):
    for mine, new in zip(prior.tree, tree, strict=True):
        mine.copy_(new)


@pytest.mark.parametrize("seed", range(12))
def test_no_single_update_lowers_the_bound(seed):
    prior = prior_of(seed, branching=2 + seed % 3, depth=1 + seed % 3, gamma=0.3 + seed)
    mean, variance = codes(seed)
    phi = torch.randn(40, prior.family.leaves, dtype=torch.float64).mul(2).softmax(1)
    for _ in range(4):
        for name, update in updates(prior, mean, phi).items():
            before = prior.tree_elbo(mean, variance, phi=phi)
            put(prior, update(prior.tree))
            assert prior.tree_elbo(mean, variance, phi=phi) > before - 1e-9 * before.abs(), name
        before = prior.tree_elbo(mean, variance, phi=phi)
        phi = prior.responsibilities(mean, variance)
        assert prior.tree_elbo(mean, variance, phi=phi) > before


@pytest.mark.parametrize("seed", range(5))
def test_an_update_leaves_no_gradient_in_what_it_sets_and_touches_nothing_else(seed):
    """Autograd of the bound knows nothing of the closed forms; with concavity in each block it shows the optimum."""
    prior = prior_of(seed)
    mean, variance = codes(seed)
    phi = torch.randn(40, 9, dtype=torch.float64).softmax(1)
    for name, update in updates(prior, mean, phi).items():
        before, after = prior.tree, update(prior.tree)
        after = type(after)(*(t.clone().requires_grad_() for t in after))
        elbo = (phi * (prior.family.leaf_scores(after, mean, variance) - phi.log())).sum()
        gradient = torch.autograd.grad(elbo - prior.family.divergence(after), list(after))
        rows = prior.family.level(int(name[-1])) if name != "sticks" else slice(None)
        means = name != "sticks"
        for field, g, old, new in zip(after._fields, gradient, before, after, strict=True):
            if (field in ("means", "variances")) == means:
                assert g[rows].abs().max() < 1e-9, (name, field)
                rest = torch.ones(len(old), dtype=torch.bool)
                rest[rows] = False
                assert torch.equal(old[rest], new[rest])
                assert not torch.equal(old[rows], new[rows])
                assert g[rest].abs().max() > 1e-3 if rest.any() else True
            else:
                assert torch.equal(old, new)


def test_phi_is_at_its_optimum():
    """The bound as a function of logits of phi: no gradient there."""
    prior = prior_of(2)
    mean, variance = codes(2)
    logits = prior.responsibilities(mean, variance).log().requires_grad_()
    (gradient,) = torch.autograd.grad(prior.tree_elbo(mean, variance, phi=logits.softmax(1)), logits)
    assert gradient.abs().max() < 1e-10


@pytest.mark.parametrize("seed", range(6))
def test_a_sweep_never_lowers_the_bound_and_the_rule_of_earlier_siblings_does(seed):
    prior, wrong = prior_of(seed, gamma=1.0, drift=0), prior_of(seed, gamma=1.0, drift=0)
    mean, variance = codes(seed, n=200)
    bounds, falls = [prior.tree_elbo(mean, variance)], 0
    for _ in range(15):
        prior.sweep(mean, variance)
        bounds.append(prior.tree_elbo(mean, variance))
        phi = wrong.responsibilities(mean, variance)
        before = wrong.tree_elbo(mean, variance, phi=phi)
        mass = phi.sum(0)
        b = []
        for _ in range(2):
            siblings = mass.view(-1, 3)
            b.insert(0, (1.0 + siblings.cumsum(1) - siblings).flatten())
            mass = siblings.sum(1)
        put(wrong, wrong.family.with_sticks(wrong.tree, phi)._replace(b=torch.cat(b)))
        falls += bool(wrong.tree_elbo(mean, variance, phi=phi) < before - 1e-6)
    steps = torch.stack(bounds).diff()
    assert (steps > -1e-9 * bounds[0].abs()).all() and steps[0] > 1
    assert falls > 0


def test_weights_count_codes():
    mean, variance = codes(0, n=6)
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 0.0]).double()
    rows = torch.tensor([0, 1, 1, 3, 4, 4, 4])
    one, other = prior_of(1), prior_of(1)
    torch.testing.assert_close(one.tree_elbo(mean, variance, weights), one.tree_elbo(mean[rows], variance[rows]))
    one.sweep(mean, variance, weights)
    other.sweep(mean[rows], variance[rows])
    for left, right in zip(one.tree, other.tree, strict=True):
        torch.testing.assert_close(left, right)


def test_without_codes_the_tree_stays_as_it_is():
    prior = prior_of(1)
    before = [t.clone() for t in prior.tree]
    mean, variance = codes(0)
    prior.sweep(mean, variance, mean.new_zeros(40))
    prior.sweep(mean[:0], variance[:0])
    assert all(torch.equal(old, new) for old, new in zip(before, prior.tree, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_three_clouds_of_codes_end_in_different_leaves(seed):
    prior = prior_of(seed, drift=0, node_std=4.0, leaf_std=1.0)
    torch.manual_seed(seed)
    centres = torch.tensor([[8.0, 0.0], [-8.0, 8.0], [-8.0, -8.0]], dtype=torch.float64)
    cloud = torch.arange(60) % 3
    mean = centres[cloud] + 0.5 * torch.randn(60, 2, dtype=torch.float64)
    for _ in range(30):
        prior.sweep(mean, torch.full_like(mean, 0.1))
    leaf = prior.responsibilities(mean, torch.zeros_like(mean)).argmax(1)
    largest = sum(int(torch.bincount(cloud[leaf == one]).max()) for one in leaf.unique())
    assert largest == 60  # purity 1: no leaf holds codes of two clouds
    weights = prior._log_weights().softmax(0)
    shares = [float(weights[leaf[cloud == k].unique()].sum()) for k in range(3)]
    assert sum(shares) > 0.8  # leaves that no code needs have faded


# ---------------------------------------------------------------------------------------------------------------------
# The predictive density
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [0, 3])
def test_it_keeps_the_contract(asked):
    check_prior(NestedCrp, asked=asked)
    check_prior(NestedCrp.Config(branching=2, depth=2, gamma=1.0), code=5, asked=asked)


def test_the_density_is_a_mixture_with_the_expected_weights():
    prior = prior_of(4)
    c = prior.config
    a, b = prior.stick_a.numpy(), prior.stick_b.numpy()
    taken = a / (a + b)
    w = numpy.array(
        [
            math.prod(taken[p - 1] * math.prod(1 - taken[e - 1] for e in earlier(p, 3)) for p in path(leaf, prior))
            for leaf in range(9)
        ]
    )
    assert w.sum() < 1
    z = 3 * torch.randn(7, 2, dtype=torch.float64)
    means, variances = prior.means[-9:].numpy(), prior.variances[-9:].numpy()
    each = [
        stats.multivariate_normal(m, c.leaf_std**2 + v).pdf(z.numpy()) for m, v in zip(means, variances, strict=True)
    ]
    expected = numpy.log((w / w.sum()) @ numpy.array(each))
    numpy.testing.assert_allclose(prior.log_prob(z, nothing(7)).numpy(), expected, rtol=1e-10)
    torch.manual_seed(5)
    draws = prior.sample(nothing(4000)).numpy()
    std, share = numpy.sqrt(c.leaf_std**2 + variances), w / w.sum()
    for axis in range(2):
        fit = stats.kstest(draws[:, axis], lambda t, m=means[:, axis]: stats.norm.cdf((t[:, None] - m) / std) @ share)
        assert fit.pvalue > ERROR_RATE / 2


def test_the_start_is_a_draw_of_the_prior():
    """Steps from parents to children are N(0, sN^2): Kolmogorov and Smirnov over 84 nodes of 50 numbers."""
    torch.manual_seed(0)
    prior = NestedCrp.Config(node_std=1.7).make(Sizes((1, 8, 8), 50, 0, 0))
    means = prior.means.numpy()
    assert prior.means.shape == (85, 50) and not list(prior.parameters())
    steps = means[1:] - means[[parent(p, 4) for p in range(1, 85)]]
    assert stats.kstest(steps.ravel() / 1.7, stats.norm.cdf).pvalue > ERROR_RATE
    assert (prior.stick_a == 1).all() and (prior.stick_b == 10).all()
    prior.double()
    start = [t.clone() for t in prior.tree]
    no_codes = torch.zeros(0, 64, dtype=torch.float64)
    for depth in range(3, -1, -1):  # the variances are those that no data would leave
        put(prior, prior.family.with_means(prior.tree, depth, no_codes, no_codes[:, :50]))
    torch.testing.assert_close(prior.variances, start[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "settings", [{"branching": 1}, {"depth": 0}, {"gamma": 0.0}, {"node_std": math.inf}, {"leaf_std": -1.0}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        NestedCrp.Config(**settings)


@pytest.mark.parametrize(("branching", "depth"), [(4, 7), (2, 13), (2, 10**6)])
def test_a_tree_of_too_many_leaves_is_refused(branching, depth):
    with pytest.raises(ValidationError) as caught:
        NestedCrp.Config(branching=branching, depth=depth)
    assert (
        f"branching = {branching} and depth = {depth} make branching^depth leaves; at most 4096 are possible. "
        "Lower one of them"
    ) in str(caught.value)
    assert NestedCrp.Config(branching=2, depth=12).branching == 2
