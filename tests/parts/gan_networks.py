"""Small versions of the networks of the GAN baselines, and of the spectrally normalised critics."""

from __future__ import annotations

import pytest
import torch

from genprior.parts import Decoder, Sizes
from genprior_std.networks.autoencoder_critic import AutoencoderCritic
from genprior_std.networks.began_decoder import BeganDecoder
from genprior_std.networks.dcgan_critic import DcganCritic
from genprior_std.networks.dcgan_decoder import DcganDecoder
from genprior_std.networks.image_convolutional import ConvolutionalImageCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.infogan_critic import InfoganCritic
from genprior_std.networks.infogan_decoder import InfoganDecoder
from genprior_std.networks.larsen_critic import LarsenCritic
from genprior_std.networks.wgan_resnet_critic import WganResnetCritic
from genprior_std.networks.wgan_resnet_decoder import WganResnetDecoder

from .by_hand import images, rows

DECODERS = {
    "dcgan": DcganDecoder.Config(width=2),
    "dcgan-he": DcganDecoder.Config(width=2, init="he"),
    "wgan_resnet": WganResnetDecoder.Config(width=4),
    "began": BeganDecoder.Config(width=3),
    "infogan": InfoganDecoder.Config(width=2, hidden=7),
}
SPECTRAL = {
    "dcgan-spectral": DcganCritic.Config(width=2, batch_norm=False, spectral_norm=True),
    "wgan_resnet-spectral": WganResnetCritic.Config(width=4, spectral_norm=True),
    "image_convolutional-spectral": ConvolutionalImageCritic.Config(
        width=2, hidden=7, batch_norm=False, spectral_norm=True
    ),
    "image_mlp-spectral": MlpImageCritic.Config(hidden=(9, 7), spectral_norm=True),
    "larsen-spectral": LarsenCritic.Config(width=2, hidden=7, spectral_norm=True),
}
CRITICS = {
    "dcgan": DcganCritic.Config(width=2),
    "dcgan-plain": DcganCritic.Config(width=2, init="he", batch_norm=False),
    "wgan_resnet": WganResnetCritic.Config(width=4),
    "autoencoder": AutoencoderCritic.Config(width=3, hidden=5),
    "infogan": InfoganCritic.Config(width=2, hidden=7),
    **SPECTRAL,
}
OWN_CRITICS = {k: v for k, v in CRITICS.items() if not k.startswith(("image", "larsen"))}
NETWORKS = {f"{c.part.kind}-{k}": c for group in (DECODERS, CRITICS) for k, c in group.items()}


def each(configs):
    return [pytest.param(config, id=name) for name, config in configs.items()]


def sizes(side=32, channels=3, code=128, known=0):
    return Sizes(image=(channels, side, side), code=code, known=known, asked=0)


def made(config, image=(1, 8, 8), known=0, code=3, **more):
    torch.manual_seed(0)
    config = config.model_copy(update=more)
    return config.make(Sizes(image=image, code=code, known=known, asked=0)).double()


def inputs(module, n=4):
    return rows(n, module.sizes.code) if isinstance(module, Decoder) else images(n, *module.sizes.image)


def layers_of(module, kind):
    return [m for m in module.modules() if isinstance(m, kind)]
