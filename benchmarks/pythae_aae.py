"""pythae's adversarial autoencoder on genprior's networks: pythae's unmodified model and AdversarialTrainer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["ReadyBatches", "make_trainer"]


class ReadyBatches(list[dict[str, Tensor]]):
    """Precomputed batches in place of a DataLoader, so that timings exclude data loading."""

    @property
    def dataset(self) -> list[int]:
        """A list as long as there are images, because pythae's trainer reads the length of the loader's data set."""
        return list(range(sum(len(batch["data"]) for batch in self)))


def make_trainer(networks: dict[str, Any], images: Tensor, folder: Path, *, code: int, rec_weight: float = 10.0) -> Any:
    """The trainer of pythae for the AAE phase, set up and ready for `trainer.train_step(epoch)`.

    The loss scales are such that both libraries have the same losses: 0.5 sum_j e_j^2 s = w mean_j e_j^2 with
    s = 2 w / (c h w'), and an adversarial weight of 1.

    Args:
        networks: genprior's `encoder`, `decoder` and `code_critic`.
        images: float [n, c, h, w] in [-1, 1], of which their trainer takes its first batch to check the model.
        folder: where their trainer may write.
        code: width of the code.
        rec_weight: w, the weight of the mean squared pixel error.
    """
    from pythae.data.datasets import BaseDataset
    from pythae.models import Adversarial_AE, Adversarial_AE_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
    from pythae.trainers import AdversarialTrainer, AdversarialTrainerConfig

    class TheirEncoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks["encoder"]

        def forward(self, x: Tensor) -> Any:
            z = self.network(x, x.new_zeros(len(x), 0)).mean
            return ModelOutput(embedding=z, log_covariance=torch.zeros_like(z))

    class TheirDecoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks["decoder"]

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(z, z.new_zeros(len(z), 0)))

    class TheirDiscriminator(BaseDiscriminator):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks["code_critic"]

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(embedding=self.network(z, z.new_zeros(len(z), 0)).sigmoid().unsqueeze(1))

    image = tuple(images.shape[1:])
    config = Adversarial_AE_Config(
        input_dim=image,
        latent_dim=code,
        adversarial_loss_scale=1.0,
        reconstruction_loss_scale=2 * rec_weight / images[0].numel(),
        deterministic_posterior=True,
    )
    model = Adversarial_AE(config, TheirEncoder(), TheirDecoder(), TheirDiscriminator())
    # Each module of pythae sets its own log level, so the level of the package has no effect on it.
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("pythae"):
            logging.getLogger(name).setLevel(logging.ERROR)
    trainer = AdversarialTrainer(
        model=model,
        train_dataset=BaseDataset(images, torch.zeros(len(images))),
        training_config=AdversarialTrainerConfig(
            output_dir=str(folder),
            per_device_train_batch_size=64,
            no_cuda=images.device.type == "cpu",
            autoencoder_learning_rate=2e-4,
            discriminator_learning_rate=2e-4,
            autoencoder_optimizer_params={"betas": (0.5, 0.999)},
            discriminator_optimizer_params={"betas": (0.5, 0.999)},
        ),
    )
    trainer.prepare_training()
    return trainer
