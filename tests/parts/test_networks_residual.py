"""The residual encoder and decoder against Table 2: counts, maps, and a recomputation from the table's own words."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from genprior.parts import Sizes
from genprior_std.layers.residual import CodeToMap
from genprior_std.networks.residual_decoder import ResidualDecoder
from genprior_std.networks.residual_encoder import ResidualEncoder

from .by_hand import bn, count


def sizes(side=32, channels=3, code=64):
    return Sizes(image=(channels, side, side), code=code, known=0, asked=0)


def maps(module, *inputs):
    """The (channels, side) of each block's output."""
    seen = []
    for block in module.blocks:
        block.register_forward_hook(lambda _m, _i, out: seen.append((out.shape[1], out.shape[2])))
    module(*inputs)
    return seen


def residual_block(x, state, name, kind, batch_norm):
    """One residual block as Table 2 words it, with the skip up-sampled before its 1x1 convolution."""

    def weights(part):
        return state[f"{name}.{part}.weight"], state.get(f"{name}.{part}.bias")

    if kind == "up":
        h = F.conv_transpose2d(x, *weights("main.0"), stride=2, padding=1)
        skip = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), *weights("skip"))
    elif kind == "down":
        h = F.conv2d(x, *weights("main.0"), stride=2, padding=1)
        skip = F.conv2d(x, *weights("skip"))[:, :, ::2, ::2]
    else:
        h = F.conv2d(x, *weights("main.0"), padding=1)
        skip = x
    h = bn(h, state[f"{name}.main.1.weight"], state[f"{name}.main.1.bias"]) if batch_norm else h
    h = F.conv2d(h.clamp(min=0), *weights("main.3"), padding=1)
    h = bn(h, state[f"{name}.main.4.weight"], state[f"{name}.main.4.bias"]) if batch_norm else h
    return (h.clamp(min=0) + skip).clamp(min=0)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_encoder_computes_what_the_table_says(batch_norm, stem_stride):
    torch.manual_seed(0)
    config = ResidualEncoder.Config(width=3, batch_norm=batch_norm, stem_stride=stem_stride)
    encoder = config.make(sizes(code=5)).double()
    s = encoder.state_dict()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    h = F.conv2d(x, s["stem.0.weight"], s["stem.0.bias"], stride=stem_stride, padding=1).clamp(min=0)
    for i, kind in enumerate(["plain", "down", "down", "down"]):
        h = residual_block(h, s, f"blocks.{i}", kind, batch_norm)
    h = h.mean((2, 3))
    h = bn(h @ s["to_code.0.weight"].T, s["to_code.1.weight"], s["to_code.1.bias"]).clamp(min=0)
    expected = h @ s["to_code.3.weight"].T + s["to_code.3.bias"]
    torch.testing.assert_close(encoder(x, x.new_zeros(4, 0)).mean, expected)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_decoder_computes_what_the_table_says(batch_norm, memory_format):
    torch.manual_seed(0)
    config = ResidualDecoder.Config(width=3, batch_norm=batch_norm)
    decoder = config.make(sizes(code=5)).double().to(memory_format=memory_format)
    s = decoder.state_dict()
    z = torch.randn(4, 5, dtype=torch.float64)
    h = F.conv_transpose2d(z[:, :, None, None], s["stem.0.weight"])
    h = bn(h, s["stem.1.weight"], s["stem.1.bias"]).clamp(min=0)
    for i in range(3):
        h = residual_block(h, s, f"blocks.{i}", "up", batch_norm)
    expected = F.conv2d(h, s["to_image.0.weight"], s["to_image.0.bias"], padding=1).tanh()
    torch.testing.assert_close(decoder(z, z.new_zeros(4, 0)), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_code_to_map_is_the_transposed_convolution(memory_format):
    torch.manual_seed(0)
    layer = CodeToMap(5, 7).double().to(memory_format=memory_format)
    z = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    expected = F.conv_transpose2d(z[:, :, None, None], layer.weight)
    out = layer(z)
    torch.testing.assert_close(out, expected)
    assert out.is_contiguous(memory_format=memory_format)
    weights = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad((out * weights).sum(), (z, layer.weight)),
        torch.autograd.grad((expected * weights).sum(), (z, layer.weight)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_encoder_has_the_parameters_of_the_table():
    def convolution(i, o, kernel):
        return i * o * kernel**2 + o

    def down(i, o):
        return convolution(i, o, 3) + convolution(o, o, 3) + convolution(i, o, 1)

    plain = 2 * convolution(64, 64, 3)
    codes = 512 * 128 + 2 * 128 + 128 * 64 + 64
    expected = convolution(3, 64, 3) + plain + down(64, 128) + down(128, 256) + down(256, 512) + codes
    assert count(ResidualEncoder.Config(batch_norm=False).make(sizes())) == expected
    # Batch normalisation brings a scale and a shift for each channel, and takes the bias.
    normalised = 2 * (64 + 128 + 256 + 512)
    assert count(ResidualEncoder.Config().make(sizes())) == expected + normalised


def test_decoder_has_the_parameters_of_the_table():
    def up(i, o):
        return i * o * 16 + o + o * o * 9 + o + i * o + o

    expected = 64 * 512 * 16 + 2 * 512 + up(512, 256) + up(256, 128) + up(128, 64) + 64 * 3 * 9 + 3
    assert count(ResidualDecoder.Config(batch_norm=False).make(sizes())) == expected
    assert count(ResidualDecoder.Config().make(sizes())) == expected + 2 * (256 + 128 + 64)


PYRAMIDS = {
    8: [(2, 8), (4, 4)],
    16: [(2, 16), (4, 8), (8, 4)],
    32: [(2, 32), (4, 16), (8, 8), (16, 4)],
    64: [(2, 64), (4, 32), (8, 16), (16, 8), (16, 4)],
}


@pytest.mark.parametrize("side", PYRAMIDS)
def test_encoder_and_decoder_mirror_each_other_and_the_pool_meets_4_by_4(side):
    x, z, known = torch.randn(2, 1, side, side), torch.randn(2, 6), torch.zeros(2, 0)
    encoder = ResidualEncoder.Config(width=2).make(sizes(side, 1, 6))
    met = []
    encoder.pool.register_forward_hook(lambda _m, i, out: met.append((i[0].shape[2:], out.shape[2:])))
    assert maps(encoder, x, known) == PYRAMIDS[side]
    assert met == [((4, 4), (1, 1))]
    decoder = ResidualDecoder.Config(width=2).make(sizes(side, 1, 6))
    assert decoder.stem(z).shape[1:] == (PYRAMIDS[side][-1][0], 4, 4)
    assert maps(decoder, z, known) == PYRAMIDS[side][-2::-1]


def test_stem_as_printed_leaves_2_by_2_for_a_global_pool():
    encoder = ResidualEncoder.Config(width=2, stem_stride=2).make(sizes(32, 1, 6))
    met = []
    encoder.pool.register_forward_hook(lambda _m, i, out: met.append((i[0].shape[2:], out.shape[2:])))
    assert maps(encoder, torch.randn(2, 1, 32, 32), torch.zeros(2, 0)) == [(2, 16), (4, 8), (8, 4), (16, 2)]
    assert met == [((2, 2), (1, 1))]
