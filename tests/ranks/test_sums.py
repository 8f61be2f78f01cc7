"""Averages and batch statistics over real processes, beside those of one process."""

from __future__ import annotations

import pytest
import torch

from genprior.data.batches import slice_of
from genprior.engine.buckets import BUCKET

from . import gradients
from .layers import CASES, given, numbers


@pytest.mark.parametrize("world", [2, 3])
def test_synchronised_batch_norm_is_that_of_one_process(start, tmp_path, world):
    """Outputs, first and second derivatives and running averages, of slices that need not be equal."""
    for ended in start(world, "group", ["normalise", str(tmp_path)]).ended():
        assert ended == (0, "")
    for number, case in enumerate(CASES):
        layer, x, weights = given(*case)
        expected = numbers(layer, x.requires_grad_(), weights)
        for rank in range(world):
            found = torch.load(tmp_path / f"norm-{number}-{rank}.pt")
            assert found.keys() == expected.keys()
            for name, whole in expected.items():
                own = whole[slice_of(len(x), rank, world)] if name in ("output", "input", "input bend") else whole
                torch.testing.assert_close(found[name], own, rtol=1e-8, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


def expected(shares):
    """The weighted averages over ranks of gradients and losses, by autograd in one process."""
    gradients_of_ranks, losses_of_ranks = [], []
    for rank, share in enumerate(shares):
        modules = gradients.modules()
        objectives = gradients.phase(modules).objectives(gradients.images(rank))
        found = {}
        for name, loss in objectives.items():
            of = torch.autograd.grad(loss, list(modules[name].parameters()), retain_graph=True, allow_unused=True)
            found[name] = [share * g for g in of if g is not None]
        gradients_of_ranks.append(found)
        losses_of_ranks.append([share * loss.detach().float() for loss in objectives.values()])
    sums = {n: [sum(each) for each in zip(*(f[n] for f in gradients_of_ranks), strict=True)] for n in modules}
    return sums, [sum(each) for each in zip(*losses_of_ranks, strict=True)]


# Bytes of a bucket, and how many leave before the end of the backward passes, and in all: of 9 gradients in single
# precision, the losses, and 2 in double precision, of which the last bucket waits for the end.
@pytest.mark.parametrize("shares", [None, (0.25, 0.75), (0.2, 0.3, 0.5)])
@pytest.mark.parametrize(("size", "early", "all_of_them"), [(BUCKET, 1, 3), (1, 10, 12), (100, 3, 5)])
def test_gradients_and_losses_are_averaged_by_the_shares_of_ranks(start, tmp_path, shares, size, early, all_of_them):
    """In each dtype, with an unused and a shared parameter; full buckets leave before the backward pass is over."""
    weights = shares or (0.5, 0.5)
    for ended in start(len(weights), "group", ["average", str(tmp_path), shares, size]).ended():
        assert ended == (0, "")
    sums, losses = expected(weights)
    for rank in range(len(weights)):
        found, numbers, before, after = torch.load(tmp_path / f"average-{len(weights)}-{rank}.pt")
        assert found.keys() == sums.keys()
        for name, values in sums.items():
            torch.testing.assert_close(found[name], values)
        torch.testing.assert_close(numbers, losses)
        assert (before, after) == (early, all_of_them)
