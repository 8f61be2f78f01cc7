"""genprior: generative models with a choice of prior.

Train a recipe and draw samples in four lines::

    recipe = genprior.load_recipe("recipes/table3_ablation.toml", changes=["quick"])
    genprior.train(recipe, rows=["A+B+C"], out="runs/demo")
    run = genprior.load_run("runs/demo/A+B+C/seed-0")
    images = run.sample(100)

Names are loaded on first use, so that importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genprior.version import __version__

_HOMES = {
    "genprior.parts": [
        "Asks", "Attribute", "AutoregressiveDecoder", "Batch", "Borrowed", "Build", "CategoricalPosterior", "Codes",
        "Column", "Condition", "Conditioner", "ConditionerSpec", "Critic", "CriticSpec", "DataInfo", "Dataset",
        "DatasetSpec", "Decoder", "DecoderSpec", "DensityPosterior", "DensityPrior", "Drawing", "Draws", "Embedder",
        "EmbedderConfig", "EmbedderSpec", "EmbedderState", "Encoder", "EncoderSpec", "EnergyPrior", "Exporter",
        "FeatureCritic", "Figure", "FittedPrior", "FittedPriorSpec", "Game", "GameSpec", "Hook", "HookConfig",
        "HookSpec", "ImageSet", "Inference", "LeaveOneOutPrior", "LikelihoodModel", "LocalPath", "Model", "ModelSpec",
        "ModulePart", "Objectives", "Optimiser", "OptimiserConfig", "OptimiserSpec", "Part", "PartConfig", "Phase",
        "PointPosterior", "Posterior", "Prior", "PriorSpec", "RecipeRows", "Reconstruction", "ReconstructionSpec",
        "SampleScore", "Schedule", "ScheduleConfig", "ScheduleSpec", "Score", "ScoreContext", "ScoreSpec",
        "SettingsTable", "Sizes", "StackedWeights", "TextConditioner", "TextExporter", "TrainedRun", "TrainingRun",
        "Widths",
    ],
    "genprior.cli.from_python": ["check", "train"],
    "genprior.errors": [
        "CheckpointError", "did_you_mean", "DataError", "GenpriorError", "GenpriorWarning", "Interrupted",
        "LaunchError", "NameTaken", "NewerFormat", "NotFinite", "OutOfMemory", "PartFailed", "PlanError",
        "PluginError", "RankLost", "RecipeError", "RunError", "ScoreError", "SystemFailure",
        "visible",
    ],
    "genprior.hookspecs": ["hookimpl"],
    "genprior.data.archives": ["array_to_uint8", "read_archive"],
    "genprior.data.downloads": ["downloading"],
    "genprior.data.in_memory": ["MemoryDataset"],
    "genprior.data.images": ["check_images", "check_levels", "fit_images", "images_to_float", "to_uint8"],
    "genprior.data.notices": ["notice"],
    "genprior.data.picture_files": ["PICTURE_KINDS", "PictureFiles", "list_pictures", "open_picture"],
    "genprior.data.cache": ["cache_file", "read_cache", "write_cache"],
    "genprior.data.labels": ["HIDDEN_LABEL"],
    "genprior.data.room": ["check_room"],
    "genprior.data.streamed": ["ImageSource", "StreamedImages"],
    "genprior.engine.fit": ["fit_prior"],
    "genprior.engine.sampling": ["as_batch", "evaluating", "generate", "generate_labels"],
    "genprior.engine.step": ["remember"],
    "genprior.launch.launchers": ["LaunchedTask", "Launcher", "LauncherSettings"],
    "genprior.launch.reporter": ["Reporter"],
    "genprior.launch.session": ["adapt", "register"],
    "genprior.launch.tasks": ["run_task"],
    "genprior.pictures.codes": ["draw_clusters", "draw_codes", "draw_walk", "principal_plane"],
    "genprior.pictures.grids": ["draw_curves", "draw_grid", "printable"],
    "genprior.pictures.panels": ["Tiles", "tile_panels"],
    "genprior.pictures.points": ["Points", "scatter_panels"],
    "genprior.randomness": ["seeded"],
    "genprior.recipe.load": ["Recipe", "load_recipe"],
    "genprior.recipe.make": ["make_recipe"],
    "genprior.runs.export": ["export"],
    "genprior.runs.in_memory": ["in_memory"],
    "genprior.runs.kept": ["KeptRun", "kept_runs"],
    "genprior.runs.onnx_file": ["export_onnx"],
    "genprior.runs.run": ["Run", "load_run"],
    "genprior.scoring.context": ["Extractor", "Features", "SampleContext", "sample_context"],
    "genprior.scoring.measure": ["needed_split"],
    "genprior.storage.cache": ["cache_folder", "content_hash", "hash_file", "keep_on_disk"],
    "genprior.storage.files": ["whole_file"],
    "genprior.storage.hashes": ["hash_files"],
    "genprior.tables.gather": ["table_below"],
    "genprior.tables.model_card": ["export_folder"],
    "genprior.tables.pushed": ["push_run"],
    "genprior.tables.table": ["Table", "is_bold"],
}  # fmt: skip
"""The public names by the module that defines them."""
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_PUBLIC_MODULES = ("testing",)
"""Modules that plugins may import beside the package; `genprior.testing` works after `import genprior` too."""

if TYPE_CHECKING:
    from genprior import testing as testing
    from genprior.cli.from_python import check as check
    from genprior.cli.from_python import train as train
    from genprior.data.archives import array_to_uint8 as array_to_uint8
    from genprior.data.archives import read_archive as read_archive
    from genprior.data.cache import cache_file as cache_file
    from genprior.data.cache import read_cache as read_cache
    from genprior.data.cache import write_cache as write_cache
    from genprior.data.downloads import downloading as downloading
    from genprior.data.images import check_images as check_images
    from genprior.data.images import check_levels as check_levels
    from genprior.data.images import fit_images as fit_images
    from genprior.data.images import images_to_float as images_to_float
    from genprior.data.images import to_uint8 as to_uint8
    from genprior.data.in_memory import MemoryDataset as MemoryDataset
    from genprior.data.labels import HIDDEN_LABEL as HIDDEN_LABEL
    from genprior.data.notices import notice as notice
    from genprior.data.picture_files import PICTURE_KINDS as PICTURE_KINDS
    from genprior.data.picture_files import PictureFiles as PictureFiles
    from genprior.data.picture_files import list_pictures as list_pictures
    from genprior.data.picture_files import open_picture as open_picture
    from genprior.data.room import check_room as check_room
    from genprior.data.streamed import ImageSource as ImageSource
    from genprior.data.streamed import StreamedImages as StreamedImages
    from genprior.engine.fit import fit_prior as fit_prior
    from genprior.engine.sampling import as_batch as as_batch
    from genprior.engine.sampling import evaluating as evaluating
    from genprior.engine.sampling import generate as generate
    from genprior.engine.sampling import generate_labels as generate_labels
    from genprior.engine.step import remember as remember
    from genprior.errors import *  # noqa: F403
    from genprior.hookspecs import hookimpl as hookimpl
    from genprior.launch.launchers import LaunchedTask as LaunchedTask
    from genprior.launch.launchers import Launcher as Launcher
    from genprior.launch.launchers import LauncherSettings as LauncherSettings
    from genprior.launch.reporter import Reporter as Reporter
    from genprior.launch.session import adapt as adapt
    from genprior.launch.session import register as register
    from genprior.launch.tasks import run_task as run_task
    from genprior.parts import *  # noqa: F403
    from genprior.pictures.codes import draw_clusters as draw_clusters
    from genprior.pictures.codes import draw_codes as draw_codes
    from genprior.pictures.codes import draw_walk as draw_walk
    from genprior.pictures.codes import principal_plane as principal_plane
    from genprior.pictures.grids import draw_curves as draw_curves
    from genprior.pictures.grids import draw_grid as draw_grid
    from genprior.pictures.grids import printable as printable
    from genprior.pictures.panels import Tiles as Tiles
    from genprior.pictures.panels import tile_panels as tile_panels
    from genprior.pictures.points import Points as Points
    from genprior.pictures.points import scatter_panels as scatter_panels
    from genprior.randomness import seeded as seeded
    from genprior.recipe.load import Recipe as Recipe
    from genprior.recipe.load import load_recipe as load_recipe
    from genprior.recipe.make import make_recipe as make_recipe
    from genprior.runs.export import export as export
    from genprior.runs.in_memory import in_memory as in_memory
    from genprior.runs.kept import KeptRun as KeptRun
    from genprior.runs.kept import kept_runs as kept_runs
    from genprior.runs.onnx_file import export_onnx as export_onnx
    from genprior.runs.run import Run as Run
    from genprior.runs.run import load_run as load_run
    from genprior.scoring.context import Extractor as Extractor
    from genprior.scoring.context import Features as Features
    from genprior.scoring.context import SampleContext as SampleContext
    from genprior.scoring.context import sample_context as sample_context
    from genprior.scoring.measure import needed_split as needed_split
    from genprior.storage.cache import cache_folder as cache_folder
    from genprior.storage.cache import content_hash as content_hash
    from genprior.storage.cache import hash_file as hash_file
    from genprior.storage.cache import keep_on_disk as keep_on_disk
    from genprior.storage.files import whole_file as whole_file
    from genprior.storage.hashes import hash_files as hash_files
    from genprior.tables.gather import table_below as table_below
    from genprior.tables.model_card import export_folder as export_folder
    from genprior.tables.pushed import push_run as push_run
    from genprior.tables.table import Table as Table
    from genprior.tables.table import is_bold as is_bold

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Load a public name from its home module, once; a public module is imported."""
    if name in _PUBLIC_MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'genprior' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names and modules."""
    return sorted([*__all__, *_PUBLIC_MODULES])
