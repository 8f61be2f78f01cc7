"""The extension points: parts, and one base class for each kind of part.

Letters: n batch, d code, k condition, c h w image. Images are [n, c, h, w] in [-1, 1].

A part has a `kind` (set by its base class), a `name` (which recipes use), a nested pydantic `Config`, and the roles
that it `borrows` from the model that uses it. A capability is a class: a model that needs a density requires a
`DensityPrior`, once, when it is built.
"""

from __future__ import annotations

from genprior.parts.base import (
    Borrowed,
    ConditionerSpec,
    CriticSpec,
    DatasetSpec,
    DecoderSpec,
    EmbedderSpec,
    EncoderSpec,
    GameSpec,
    LocalPath,
    ModelSpec,
    ModulePart,
    Part,
    PartConfig,
    PriorSpec,
    ReconstructionSpec,
    ScoreSpec,
)
from genprior.parts.conditioners import Conditioner, TextConditioner
from genprior.parts.datasets import Dataset
from genprior.parts.drawings import Drawing
from genprior.parts.embedders import Embedder, EmbedderConfig, EmbedderState
from genprior.parts.evaluation import Column, Exporter, SampleScore, Score, ScoreContext, TextExporter
from genprior.parts.figures import Figure, RecipeRows, TrainedRun
from genprior.parts.games import Game
from genprior.parts.hooks import Hook, HookConfig, HookSpec
from genprior.parts.likelihood import Draws, Inference, LikelihoodModel
from genprior.parts.models import Build, Model
from genprior.parts.networks import (
    AutoregressiveDecoder,
    CategoricalPosterior,
    Critic,
    Decoder,
    DensityPosterior,
    Encoder,
    FeatureCritic,
    PointPosterior,
    Posterior,
)
from genprior.parts.optimisers import (
    Optimiser,
    OptimiserConfig,
    OptimiserSpec,
    Schedule,
    ScheduleConfig,
    ScheduleSpec,
    StackedWeights,
)
from genprior.parts.phases import Objectives, Phase
from genprior.parts.priors import DensityPrior, EnergyPrior, FittedPrior, FittedPriorSpec, LeaveOneOutPrior, Prior
from genprior.parts.reconstructions import Reconstruction
from genprior.parts.settings_table import SettingsTable
from genprior.parts.training_run import TrainingRun
from genprior.parts.values import Asks, Attribute, Batch, Codes, Condition, DataInfo, ImageSet, Sizes, Widths

__all__ = [
    "Asks",
    "Attribute",
    "AutoregressiveDecoder",
    "Batch",
    "Borrowed",
    "Build",
    "CategoricalPosterior",
    "Codes",
    "Column",
    "Condition",
    "Conditioner",
    "ConditionerSpec",
    "Critic",
    "CriticSpec",
    "DataInfo",
    "Dataset",
    "DatasetSpec",
    "Decoder",
    "DecoderSpec",
    "DensityPosterior",
    "DensityPrior",
    "Drawing",
    "Draws",
    "Embedder",
    "EmbedderConfig",
    "EmbedderSpec",
    "EmbedderState",
    "Encoder",
    "EncoderSpec",
    "EnergyPrior",
    "Exporter",
    "FeatureCritic",
    "Figure",
    "FittedPrior",
    "FittedPriorSpec",
    "Game",
    "GameSpec",
    "Hook",
    "HookConfig",
    "HookSpec",
    "ImageSet",
    "Inference",
    "LeaveOneOutPrior",
    "LikelihoodModel",
    "LocalPath",
    "Model",
    "ModelSpec",
    "ModulePart",
    "Objectives",
    "Optimiser",
    "OptimiserConfig",
    "OptimiserSpec",
    "Part",
    "PartConfig",
    "Phase",
    "PointPosterior",
    "Posterior",
    "Prior",
    "PriorSpec",
    "RecipeRows",
    "Reconstruction",
    "ReconstructionSpec",
    "SampleScore",
    "Schedule",
    "ScheduleConfig",
    "ScheduleSpec",
    "Score",
    "ScoreContext",
    "ScoreSpec",
    "SettingsTable",
    "Sizes",
    "StackedWeights",
    "TextConditioner",
    "TextExporter",
    "TrainedRun",
    "TrainingRun",
    "Widths",
]
