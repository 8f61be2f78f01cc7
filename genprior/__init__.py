"""genprior: generative models whose prior is a choice.

Four lines from nothing to samples::

    recipe = genprior.load_recipe("recipes/table3_ablation.toml", changes=["quick"])
    genprior.train(recipe, rows=["A+B+C"], out="runs/demo")
    run = genprior.load_run("runs/demo/A+B+C/seed-0")
    images = run.sample(100)

Names are loaded when they are first used, so that importing the package imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(
        [
            "AutoregressiveDecoder", "Batch", "Borrowed", "Build", "CategoricalPosterior", "Condition", "Conditioner",
            "ConditionerSpec", "Critic", "CriticSpec", "DataInfo", "Dataset", "DatasetSpec", "Decoder", "DecoderSpec",
            "DensityPosterior", "DensityPrior", "Draws", "Encoder", "EncoderSpec", "Exporter", "FeatureCritic",
            "Game", "GameSpec", "ImageSet", "Inference", "LikelihoodModel", "Model", "ModelSpec", "ModulePart",
            "Objectives", "Part", "PartConfig", "Phase", "PointPosterior", "Posterior", "Prior", "PriorSpec",
            "Reconstruction", "ReconstructionSpec", "Score", "ScoreContext", "ScoreSpec", "Sizes", "Widths",
        ],
        "genprior.parts",
    ),
    **dict.fromkeys(
        [
            "CheckpointError", "DataError", "GenpriorError", "Interrupted", "NameTaken", "NotFinite", "PlanError",
            "PluginError", "RecipeError", "RunError", "ScoreError",
        ],
        "genprior.errors",
    ),
    "hookimpl": "genprior.hookspecs",
    "load_recipe": "genprior.recipe",
    "load_run": "genprior.runs",
    "train": "genprior.launch",
}  # fmt: skip

if TYPE_CHECKING:
    from genprior.errors import *  # noqa: F403
    from genprior.hookspecs import hookimpl as hookimpl
    from genprior.launch import train as train
    from genprior.parts import *  # noqa: F403
    from genprior.recipe import load_recipe as load_recipe
    from genprior.runs import load_run as load_run

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Load a public name from its home module, once."""
    if name not in _HOME:
        raise AttributeError(f"module 'genprior' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names."""
    return sorted(__all__)
