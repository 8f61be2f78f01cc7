"""Further loops of `speed.py`: other models, pythae's where it has them, and steps without the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import genprior
from genprior.runs.trainer import Trainer

__all__ = ["COMPARISONS", "MODELS", "Loop", "bare_steps", "make"]

RECIPES = Path(__file__).parents[1] / "recipes"

MODELS = (
    "ours-vae-fp32", "pythae-vae", "ours-vampprior-fp32", "pythae-vampprior", "ours-wgan-gp-fp32", "ours-pixelgan-fp32",
    "engine-conv", "bare-conv", "engine-mlp", "bare-mlp",
)  # fmt: skip

# (ours, the other, the goal for the ratio, what is compared).
COMPARISONS = (
    ("ours-vae-fp32", "pythae-vae", 1.3, "VAE, mlp networks, against pythae at equal precision"),
    ("ours-vampprior-fp32", "pythae-vampprior", 1.3, "VampPrior VAE, against pythae at equal precision"),
    ("engine-conv", "bare-conv", 0.97, "engine, small convolutional VAE, against bare torch with the same operations"),
    ("engine-mlp", "bare-mlp", 0.90, "engine, the smallest VAE (mlp of 16, code of 4), against bare torch"),
)


class Loop(NamedTuple):
    """A training loop."""

    train: Callable[[int], object]
    """Trains for that many steps."""
    batch: int
    """Images of a step."""


def make(name: str, folder: Path, device: str) -> Loop:
    """A loop of `MODELS` by its name; on a CPU with the small sizes of the recipe's change `quick`."""
    import likelihood_speed

    folder.mkdir(parents=True, exist_ok=True)
    _, model = name.split("-", 1)
    if model.removesuffix("-fp32") in ("vae", "vampprior"):
        candidate = f"{model}-pythae" if name.startswith("pythae") else model
        setting = likelihood_speed.Setting()
        return Loop(likelihood_speed.make(candidate, setting, folder), setting.batch)
    if model == "mlp":
        small = likelihood_speed.Setting(hidden=(16,), code=4)
        trainer = likelihood_speed.our_trainer(small, "gaussian", "fp32", folder)
    else:
        recipe, row = {
            "wgan-gp-fp32": ("gans/wgan_gp.toml", "WGAN-GP"),
            "pixelgan-fp32": ("pixelgan_clustering.toml", "PixelGAN K = 30"),
            "conv": ("table1_priors.toml", "VAE"),
        }[model]
        trainer = _trainer(recipe, row, folder, device)
    return Loop(bare_steps(trainer) if name.startswith("bare") else _steps(trainer), trainer.plan.run.batch)


def _trainer(recipe: str, row: str, folder: Path, device: str) -> Trainer:
    changes = ["quick"] if device == "cpu" else []
    settings = ['run.precision="fp32"']
    plan = genprior.load_recipe(RECIPES / recipe, rows=[row], changes=changes, settings=settings).plans[0]
    plan = plan.model_copy(update={"run": plan.run.model_copy(update={"ema": None})})
    trainer = Trainer(plan, 0, Path(tempfile.mkdtemp(dir=folder)), device=device)
    trainer.prepare()
    trainer.model.train()
    return trainer


def _steps(trainer: Trainer) -> Callable[[int], object]:
    def train(steps: int) -> None:
        for _ in range(steps):
            trainer.one_step()

    return train


def bare_steps(trainer: Trainer) -> Callable[[int], object]:
    """The steps of a model of one phase and one loss as one writes them: gather, loss, backward, step.

    Networks, loss, batches and optimisers are those of the trainer, so that all else is the engine: seeding, the record
    of losses and gradient norms, the guard against what is not finite, and the choice of the parameters.
    """
    (phase,) = trainer.phases
    optimisers = list(dict.fromkeys(trainer.optimisers.values()))  # modules of equal settings share one
    done = 0

    def train(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            objectives: Any = phase.objectives(trainer.data.batch(done))
            (loss,) = {id(each): each for _, each in objectives.items()}.values()
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            loss.backward()
            for optimiser in optimisers:
                optimiser.step()
            done += 1

    return train
