"""A 1x1 convolution with a stride is that of torch, with its gradients, for few and for many channels."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from genprior_std.layers.residual import DownBlock, Pointwise


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("inputs", [1, 2, 5, 7, 8, 12])
def test_outputs_and_gradients_are_those_of_the_definition(inputs, stride, side, memory_format):
    """y[n, o, i, j] = b_o + sum_c W[o, c] x[n, c, s i, s j], by einsum in double precision."""
    layer = Pointwise(inputs, 6, stride).double().to(memory_format=memory_format)
    x = torch.randn(3, inputs, side, side, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    weight, bias = (each.detach().clone().requires_grad_() for each in (layer.weight, layer.bias))
    kept = x.detach().clone().requires_grad_()
    seen = kept[:, :, torch.arange(0, side, stride)][:, :, :, torch.arange(0, side, stride)]
    expected = torch.einsum("ncij,oc->noij", seen, weight[:, :, 0, 0]) + bias[:, None, None]
    out = layer(x)
    torch.testing.assert_close(out, expected)
    along = torch.randn_like(expected)
    found = torch.autograd.grad(out, [x, layer.weight, layer.bias], along)
    torch.testing.assert_close(found, torch.autograd.grad(expected, [kept, weight, bias], along))


def test_many_backward_passes_of_narrow_blocks_leave_memory_whole():
    """Single precision, channels last: where the weight's gradient went beyond its end, this ended the process."""
    block = DownBlock(4, 8, 2, batch_norm=True).to(memory_format=torch.channels_last)
    x = torch.randn(64, 4, 16, 16).to(memory_format=torch.channels_last)
    for _ in range(30):
        block(x).square().mean().backward()
        others = [torch.zeros(n) for n in (5, 50, 500, 5000)]
        assert not any(each.any() for each in others)
    assert block.skip.weight.grad.isfinite().all()
    plain = functional.conv2d(x.contiguous(), block.skip.weight, block.skip.bias, stride=2)
    torch.testing.assert_close(block.skip(x), plain)
