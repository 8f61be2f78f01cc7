"""The conditional gated PixelCNN, a decoder that samples an image pixel by pixel and has an exact likelihood."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from genprior import AutoregressiveDecoder, PartConfig, PlanError, Sizes
from genprior_std.layers.conditional_decoder import ConditionalDecoder
from genprior_std.layers.conditions import with_known
from genprior_std.layers.image_sizes import divided
from genprior_std.layers.masked import GatedLayer, LeftConvolution, gate
from genprior_std.layers.pixel_distributions import PixelForm, distribution_of
from genprior_std.layers.pixelcnn_sampling import sample_rows

__all__ = ["PixelCnnDecoder"]

REDUCTION = 4
"""Factor by which the first map of a code is smaller than the image."""


class PixelCnnDecoder(ConditionalDecoder, AutoregressiveDecoder):
    """The conditional gated PixelCNN: p(x | z) = prod_i p(x_i | x_<i, z), in the order of rows, columns, and R, G, B.

    A gated layer with a kernel of 7 that sees only earlier pixels (mask A), `blocks` gated layers with residuals (mask
    B), ReLU, a 1x1 convolution, ReLU, and a 1x1 convolution to the parameters of the distribution of each colour of
    each pixel. The code enters each layer as a bias: a vector that is the same at every pixel (`code = "invariant"`),
    or a map that depends on the position ("dependent"): FC to maps of a quarter of the image's sides, ReLU, an
    up-convolution, ReLU, an up-convolution to the size of the image, and a 1x1 convolution for each layer. Without a
    code (width 0) it is a plain PixelCNN; with "dependent" the map is then that of the constant 1, so the position of a
    pixel is still known.

    The probabilities of all images add up to one: of all black and white images for "bernoulli", which models refuse
    for grey images, because it rounds a pixel to white if it is above 0 and to black otherwise; of all images of
    bytes for "softmax" and "discretised_logistic", which round a pixel to the nearest byte.

    A pixel sees first_kernel // 2 + blocks (kernel // 2) rows up, and as many columns to the left and, in the rows
    above, to the right. A small receptive field makes a PixelGAN autoencoder: dependencies over longer distances can
    only come through the code. `forward` samples images and passes no gradient; train by `log_prob`.

    References:
        van den Oord et al., Conditional image generation with PixelCNN decoders, 2016, sections 2.2 to 2.4.
        Makhzani and Frey, PixelGAN autoencoders, 2017, section 2 (both forms of the code; a small receptive field).
    """

    name = "pixelcnn"

    class Config(PartConfig):
        """Settings of the conditional gated PixelCNN."""

        width: int = Field(default=32, gt=0)
        """Feature maps of each stack of a layer; a multiple of the number of colours, so 33 for colour images."""
        blocks: int = Field(default=3, ge=0)
        """Gated layers with residuals after the first layer."""
        first_kernel: int = Field(default=7, ge=3)
        """Kernel size of the first layer before masking, odd."""
        kernel: int = Field(default=3, gt=0)
        """Kernel size of the other layers before masking, odd."""
        head_width: int = Field(default=32, gt=0)
        """Maps of the 1x1 convolution before the last; a multiple of the number of colours."""
        distribution: PixelForm = "bernoulli"
        """Of one colour of one pixel: Bernoulli, a softmax over 256 bytes, or a logistic density in 256 bins."""
        code: Literal["invariant", "dependent"] = "invariant"
        """Whether the code is the same bias for all pixels, or a bias that depends on where a pixel is."""
        code_maps: int = Field(default=8, gt=0)
        """Maps of a "dependent" code."""
        conditional: bool = False
        """Whether the decoder sees `known`, beside the code."""

        @field_validator("first_kernel", "kernel")
        @classmethod
        def _check_odd(cls, value: int) -> int:
            """Refuse an even kernel size."""
            if value % 2 == 0:
                raise ValueError(
                    f"a kernel is centred on a pixel, so its size is odd; {value} is even, use {value + 1}"
                )
            return value

    @classmethod
    def likelihood_of(cls, config: Any) -> Literal["binary", "levels"]:
        """Of binary pixels with distribution `bernoulli`, of 256 levels with the others."""
        return "binary" if config.distribution == "bernoulli" else "levels"

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Make the network.

        Args:
            config: this part's settings.
            sizes: every size that it depends on.

        Raises:
            PlanError: a width is not a multiple of the number of colours, or `code = "dependent"` and a side of the
                image is not a multiple of 4.
        """
        super().__init__(config, sizes)
        cfg = self.config
        colours = sizes.image[0]
        _check_widths(colours, {"width": cfg.width, "head_width": cfg.head_width})
        self.distribution = distribution_of(cfg.distribution)
        inputs = sizes.code + (sizes.known if cfg.conditional else 0)
        self.code_map = None
        if cfg.code == "dependent":
            self.code_map = _code_map(max(inputs, 1), cfg.code_maps, sizes.image)
        describing = inputs if self.code_map is None else cfg.code_maps
        layers = [GatedLayer(colours, cfg.width, cfg.first_kernel, colours, describing, first=True)]
        for _ in range(cfg.blocks):
            layers.append(GatedLayer(cfg.width, cfg.width, cfg.kernel, colours, describing, first=False))
        self.layers = nn.ModuleList(layers)
        self.head = nn.ModuleList(
            LeftConvolution(before, after, 0, colours, own_colour=True)
            for before, after in ((cfg.width, cfg.head_width), (cfg.head_width, colours * self.distribution.count))
        )

    def described(self, z: Tensor, known: Tensor) -> Tensor | None:
        """The code as input of the layers: [n, d, 1, 1], or [n, code_maps, h, w] if "dependent"; None without a code.

        Args:
            z: codes [n, d].
            known: [n, k].
        """
        z = with_known(z, known) if self.config.conditional else z
        if not z.shape[1]:
            if self.code_map is None:
                return None
            z = z.new_ones(len(z), 1)
        code: Tensor = z[:, :, None, None] if self.code_map is None else self.code_map(z)
        return code

    def numbers(self, x: Tensor, z: Tensor, known: Tensor) -> Tensor:
        """The parameters of each pixel's distribution given the earlier pixels, [n, c, m, h, w], at least float32.

        Args:
            x: images [n, c, h, w]; pixel i of the result depends only on the pixels before it.
            z: codes [n, d].
            known: [n, k].
        """
        code = self.described(z, known)
        u: Tensor
        s: Tensor
        u, s = self.layers[0](x, x, code)
        for layer in self.layers[1:]:
            u, s = layer(gate(u), s, code)
        for layer in self.head:
            s = layer(s.relu())
        s = s.to(torch.promote_types(s.dtype, torch.float32))
        return s.view(len(s), *x.shape[1:2], self.distribution.count, *x.shape[2:])

    def log_prob(self, x: Tensor, z: Tensor, known: Tensor) -> Tensor:
        """The exact log p(x | z, known), [n] in nats, of x rounded to the nearest possible image.

        Args:
            x: images [n, c, h, w] in [-1, 1].
            z: codes [n, d].
            known: [n, k].
        """
        x = self.distribution.nearest(x)
        return self.distribution.log_prob(x, self.numbers(x, z, known)).flatten(1).sum(1)

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1], drawn from p(x | z, known), for codes z [n, d] and known [n, k]."""
        return self.sample(z, known)

    @torch.no_grad()
    def sample(self, z: Tensor, known: Tensor, uniforms: Tensor | None = None) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] from p(x | z, known), without a gradient, in at least single precision.

        Args:
            z: codes [n, d].
            known: [n, k].
            uniforms: [n, c, h, w] in [0, 1), one number for each pixel; drawn if None.
        """
        dtype = torch.promote_types(z.dtype, torch.float32)
        if uniforms is None:
            uniforms = torch.rand(len(z), *self.sizes.image, device=z.device, dtype=dtype)
        # For matrices this small half precision is slower, and its rounding would change the sampled pixels.
        with _without_autocast(z.device.type):
            own = next(self.head.parameters()).dtype
            code = self.described(z.to(own), known.to(own))
            return sample_rows(self.layers, self.head, self.distribution, code, uniforms)


def _without_autocast(device: str) -> contextlib.AbstractContextManager[object]:
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()


def _check_widths(colours: int, widths: dict[str, int]) -> None:
    for setting, width in widths.items():
        if width % colours:
            below, above = width // colours * colours, -(-width // colours) * colours
            possible = f"{below} and {above}" if below else f"{above}"
            raise PlanError(
                f"decoder 'pixelcnn' was asked for {setting} = {width}, but each of the {colours} colours of a pixel "
                f"needs the same number of maps; possible are multiples of {colours}, such as {possible}. "
                f"Set {setting} = {below or above}"
            )


def _code_map(inputs: int, maps: int, image: tuple[int, int, int]) -> nn.Sequential:
    h, w = divided("decoder 'pixelcnn' with code = \"dependent\"", image, REDUCTION, 'code = "invariant"')
    return nn.Sequential(
        nn.Linear(inputs, maps * h * w),
        nn.ReLU(inplace=True),
        nn.Unflatten(1, (maps, h, w)),
        nn.ConvTranspose2d(maps, maps, 4, 2, 1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(maps, maps, 4, 2, 1),
    )
