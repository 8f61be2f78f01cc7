"""pythae's VAE and VAMP, with networks of their own that compute what genprior's `mlp` networks compute."""

from __future__ import annotations

import itertools
import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["black_and_white", "carry_over", "make_model", "make_trainer"]


def make_model(
    prior: str, *, hidden: tuple[int, ...], code: int, components: int, image: tuple[int, int, int] = (1, 28, 28)
) -> Any:
    """A `VAE` (prior "gaussian") or a `VAMP` (prior "vampprior") of pythae, with a Bernoulli likelihood.

    Args:
        prior: which of the two.
        hidden: widths of the hidden ReLU layers of the encoder, and of the decoder.
        code: width of the code.
        components: pseudo-inputs of the VampPrior.
        image: shape of an image.
    """
    from pythae.models import VAE, VAMP, VAEConfig, VAMPConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class TheirEncoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _layers((math.prod(image), *hidden))
            self.mean = nn.Linear(hidden[-1], code)
            self.log_variance = nn.Linear(hidden[-1], code)

        def forward(self, x: Tensor) -> Any:
            h = self.layers(x.flatten(1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class TheirDecoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _layers((code, *hidden))
            self.to_image = nn.Sequential(nn.Linear(hidden[-1], math.prod(image)), nn.Sigmoid())

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.to_image(self.layers(z)).view(-1, *image))

    common: dict[str, Any] = {"input_dim": image, "latent_dim": code, "reconstruction_loss": "bce"}
    if prior == "vampprior":
        config = VAMPConfig(**common, number_components=components, linear_scheduling_steps=0)
        return VAMP(config, TheirEncoder(), TheirDecoder())
    return VAE(VAEConfig(**common), TheirEncoder(), TheirDecoder())


@torch.no_grad()
def carry_over(ours: Any, theirs: Any) -> None:
    """Copy genprior's weights into a model of pythae, converted such that both compute the same function.

    Pixels are t in [0, 1] there and x = 2 t - 1 here, so a layer that sees pixels is W x + b = 2 W t + (b - W 1), and
    the probability of a white pixel, (tanh(u) + 1) / 2 here, is sigmoid(2 u) there.

    Args:
        ours: a `vae` with `mlp` networks without batch normalisation, and a `gaussian` or a `vampprior` prior.
        theirs: what `make_model` made with the same sizes.
    """
    first, *rest = _linear(ours.encoder.layers)
    their_first, *their_rest = _linear(theirs.encoder.layers)
    their_first.weight.copy_(2 * first.weight)
    their_first.bias.copy_(first.bias - first.weight.sum(1))
    to_image, their_to_image = ours.decoder.to_image[0], theirs.decoder.to_image[0]
    their_to_image.weight.copy_(2 * to_image.weight)
    their_to_image.bias.copy_(2 * to_image.bias)
    pairs = [*zip(rest, their_rest, strict=True)]
    pairs += zip(_linear(ours.decoder.layers), _linear(theirs.decoder.layers), strict=True)
    for mine, copied in pairs:
        copied.weight.copy_(mine.weight)
        copied.bias.copy_(mine.bias)
    both = (theirs.encoder.mean, theirs.encoder.log_variance)
    for i, layer in enumerate(both):
        layer.weight.copy_(ours.encoder.to_code.weight.chunk(2)[i])
        layer.bias.copy_(ours.encoder.to_code.bias.chunk(2)[i])
    if hasattr(theirs, "pseudo_inputs"):
        theirs.pseudo_inputs[0].weight.copy_((0.5 * ours.prior.pseudo_inputs + 0.5).flatten(1).T)
        theirs.pseudo_inputs[0].bias.zero_()


def make_trainer(model: Any, images: Tensor, folder: Path, *, batch: int, learning_rate: float = 1e-3) -> Any:
    """The BaseTrainer of pythae, set up and ready for `trainer.train_step(epoch)`, with its own default Adam.

    Args:
        model: what `make_model` made.
        images: float [n, c, h, w] of zeros and ones.
        folder: where their trainer may write.
        batch: images a step.
        learning_rate: of Adam.
    """
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    # Each module of pythae sets its own log level, so the level of the package has no effect on it.
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("pythae"):
            logging.getLogger(name).setLevel(logging.ERROR)
    trainer = BaseTrainer(
        model=model,
        train_dataset=BaseDataset(images, torch.zeros(len(images))),
        training_config=BaseTrainerConfig(
            output_dir=str(folder),
            per_device_train_batch_size=batch,
            no_cuda=True,
            learning_rate=learning_rate,
            optimizer_cls="Adam",
        ),
    )
    trainer.prepare_training()
    return trainer


def black_and_white(n: int, image: tuple[int, int, int] = (1, 28, 28), seed: int = 0) -> Tensor:
    """Random bytes of 0 and 255 [n, c, h, w]; how fast a network runs does not depend on what it sees."""
    drawn = torch.rand(n, *image, generator=torch.Generator().manual_seed(seed)) < 0.2
    return drawn.to(torch.uint8) * 255


def _layers(widths: tuple[int, ...]) -> nn.Sequential:
    pairs = ((nn.Linear(a, b), nn.ReLU(inplace=True)) for a, b in itertools.pairwise(widths))
    return nn.Sequential(*itertools.chain.from_iterable(pairs))


def _linear(layers: Any) -> list[nn.Linear]:
    return [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]
