"""Averages and batch statistics over real processes, beside those of one process."""

from __future__ import annotations

import pytest
import torch

from genprior.data.batches import slice_of

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


@pytest.mark.parametrize("shares", [None, (0.25, 0.75)])
def test_averages_are_weighted_by_the_shares_of_the_ranks_in_each_dtype(start, tmp_path, shares):
    for ended in start(2, "group", ["average", str(tmp_path), shares]).ended():
        assert ended == (0, "")
    mean = 0.5 if shares is None else 0.75
    for rank in range(2):
        first, second = torch.load(tmp_path / f"average-2-{rank}.pt")
        assert torch.equal(first, torch.full((2, 3), mean))
        assert torch.equal(second, torch.full((4,), 10 * mean, dtype=torch.float64))
