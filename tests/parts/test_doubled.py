"""Maps of twice the side: each pixel four times, in the precision of the map, under autocast too."""

from __future__ import annotations

import pytest
import torch

from genprior_std.layers.doubled import Doubled, doubled


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_each_pixel_is_repeated_and_the_gradient_is_the_sum_of_four(dtype, memory):
    x = torch.rand(2, 3, 4, 5).to(dtype).contiguous(memory_format=memory).requires_grad_()
    y = doubled(x)
    assert torch.equal(y, x.repeat_interleave(2, 2).repeat_interleave(2, 3)) and y.dtype == dtype
    weight = torch.randint(-8, 8, y.shape).to(dtype)  # sums of four are exact
    (gradient,) = torch.autograd.grad((y * weight).sum(), x)
    assert torch.equal(gradient, weight.view(2, 3, 4, 2, 5, 2).sum((3, 5)).to(dtype))


def test_the_layer_has_nothing_to_store_and_does_the_same():
    x = torch.rand(1, 2, 3, 3)
    assert Doubled().state_dict() == {} and torch.equal(Doubled()(x), doubled(x))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_autocast_does_not_widen_it(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    with torch.autocast(device, dtype=torch.bfloat16):
        assert doubled(torch.rand(1, 2, 4, 4, device=device).bfloat16()).dtype == torch.bfloat16


def test_sizes_are_found_without_memory():
    assert doubled(torch.empty(1, 2, 3, 4, device="meta")).shape == (1, 2, 6, 8)
