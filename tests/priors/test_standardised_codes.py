"""Standardised codes: mean, scale, inverse, log-determinant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genprior_std.layers.standardised_codes import StandardisedCodes


def test_the_result_is_numpys_and_the_inverse_restores_the_codes() -> None:
    torch.manual_seed(0)
    z = 3 + torch.tensor([0.1, 40.0, 1e-3]) * torch.randn(1000, 3)
    codes = StandardisedCodes(3)
    assert torch.equal(codes(z), z)
    assert float(codes.log_determinant()) == 0
    codes.set(z)
    expected = (z.numpy().astype(np.float64) - z.numpy().mean(0, dtype=np.float64)) / z.numpy().std(0, dtype=np.float64)
    assert codes(z).numpy() == pytest.approx(expected, abs=2e-3)  # float32 of 3.0 has steps of 2.4e-7, and sd is 1e-3
    assert torch.allclose(codes.inverse(codes(z)), z, rtol=1e-5)


def test_the_log_determinant_is_that_of_autograds_jacobian() -> None:
    codes = StandardisedCodes(4).double()
    codes.set(torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 7)
    jacobian = torch.autograd.functional.jacobian(codes, torch.randn(4, dtype=torch.float64))
    assert float(codes.log_determinant()) == pytest.approx(float(torch.linalg.slogdet(jacobian).logabsdet))


def test_numbers_that_do_not_vary_stay_finite() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    codes = StandardisedCodes(2)
    codes.set(z)
    assert codes.scale.tolist() == pytest.approx([1e-5, 1.0])
    assert torch.isfinite(codes(z)).all()
    codes.set(z[:1])
    assert codes.scale.tolist() == [1, 1]
    assert codes(z[:1]).tolist() == [[0, 0]]
