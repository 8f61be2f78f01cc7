"""Arguments and options that several commands have or that a shell completes, and the values that options may take."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from genprior.cli import completion

__all__ = [
    "AddedPriors", "Against", "Compared", "Device", "ExporterName", "FigureName", "FigureRuns", "Jobs", "Kind",
    "Layout", "Measured", "NewFile", "OnDevice", "OnLauncher", "PartName", "RealImages", "Recipe", "RecipeOfPriors",
    "Resume", "ResumeFrom", "RowOfRecipe", "RowOfTable", "RowToCopy", "Rows", "RunSeed", "RunsFolder", "Sampled",
    "Seeds", "Set", "ShippedName", "Shown", "Steps", "TrainedWith", "With", "rows_in_parallel",
]  # fmt: skip


class Device(enum.StrEnum):
    """The device to compute on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Resume(enum.StrEnum):
    """The checkpoint from which an unfinished run is resumed."""

    NEWEST = "newest"
    LAST_GOOD = "last-good"


class Layout(enum.StrEnum):
    """The layout of a PNG of samples."""

    PLAIN = "plain"
    LABELS = "labels"


Recipe = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe: a .toml file, or a name that `genprior recipes` lists.",
        autocompletion=completion.recipes,
    ),
]
RecipeOfPriors = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RECIPE]",
        help=f"A recipe whose rows differ in the prior; '{completion.PRIORS}' by default.",
        autocompletion=completion.recipes,
    ),
]
ShippedName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A name that `genprior recipes` lists.", autocompletion=completion.shipped),
]
NewFile = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="The new file, or a folder; NAME.toml in the current folder by default."
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME",
        help="Apply a change of the recipe to every row; may be repeated.",
        autocompletion=completion.changes,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set one key, as in run.steps=800; may be repeated."),
]
Rows = Annotated[
    list[str] | None,
    typer.Option(
        "--rows",
        metavar="LABELS",
        help="Only these rows, separated by commas; may be repeated.",
        autocompletion=completion.rows,
    ),
]
OnDevice = Annotated[Device, typer.Option("--device", help="Device to compute on; auto takes a GPU if there is one.")]
Seeds = Annotated[
    str | None, typer.Option("--seeds", metavar="NUMBERS", help="Seeds instead of run.seeds, as in 0,1,2.")
]
RunsFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="For runs and table; runs/<recipe>[-<with>...] by default."),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        metavar="NUMBER|auto",
        help="Rows to train in parallel; by default one per core, or one on a GPU. auto: on a GPU as many as fit.",
    ),
]
OnLauncher = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="NAME",
        help="Train on other machines, by an installed launcher: ray or 'ray={gpus=0.5}'.",
        autocompletion=completion.launchers,
    ),
]
ResumeFrom = Annotated[
    Resume,
    typer.Option(
        "--resume",
        help="Checkpoint of unfinished rows; last-good moves damaged ones aside, to checkpoints/damaged.",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, metavar="NUMBER", help="Steps instead of run.steps; also lengthens runs."),
]
AddedPriors = Annotated[
    list[str] | None,
    typer.Option(
        "--add",
        metavar="NAME",
        help="Add a row for an installed prior, as ring or 'ring={radius=2.0}'; may be repeated.",
        autocompletion=completion.parts_of("prior"),
    ),
]
RowToCopy = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="LABEL",
        help="The row of which added rows are copies; by default the first whose model takes the prior.",
        autocompletion=completion.row,
    ),
]

Compared = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH...",
        help="Folders of runs, recipes, folders of images, .npz files.",
        autocompletion=completion.recipes_and_runs,
    ),
]
Measured = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|TABLE",
        help="Show this score, and measure it if it is missing; may be repeated.",
        autocompletion=completion.parts_of("score"),
    ),
]
RealImages = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|TABLE|PATH",
        help="Real images to compare with: a data set, a recipe, or a folder.",
        autocompletion=completion.parts_of("dataset"),
    ),
]
Sampled = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run, or one above it.", autocompletion=completion.runs),
]
RowOfTable = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="The row, if RUN is a table's folder.", autocompletion=completion.row),
]
Against = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="The row that differences are to, instead of the best mean of each column."),
]
ExporterName = Annotated[
    str | None,
    typer.Option(
        "--exporter",
        "--export",
        metavar="NAME",
        help="An installed exporter; by default chosen by FILE's extension.",
        autocompletion=completion.parts_of("exporter"),
    ),
]
FigureName = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="A figure; without it, all are listed.", autocompletion=completion.parts_of("figure")
    ),
]
FigureRuns = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[RUN...]",
        help="Folders of runs; by default runs/<recipe>[-<with>...] of its recipes.",
        autocompletion=completion.runs,
    ),
]
TrainedWith = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME",
        help="The change that the runs were trained with; may be repeated.",
        autocompletion=completion.changes,
    ),
]
RunSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Seed of the runs; by default the first that all rows have.",
        autocompletion=completion.run_seeds,
    ),
]
Shown = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="A recipe, a run's folder, or a table's folder.",
        autocompletion=completion.recipes_and_runs,
    ),
]
RowOfRecipe = Annotated[
    str | None, typer.Option(metavar="LABEL", help="Only this row of a recipe.", autocompletion=completion.row)
]
Kind = Annotated[
    str | None,
    typer.Argument(metavar="[KIND]", help="A kind, such as prior, model or score.", autocompletion=completion.kinds),
]
PartName = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="A part, to show its settings.", autocompletion=completion.parts),
]


def rows_in_parallel(text: str | None, device: str, *, elsewhere: bool = False) -> int | Literal["auto"] | None:
    """The number of rows to train in parallel of `--jobs`, or "auto"; the default one if it is not given.

    Args:
        text: the value of `--jobs`.
        device: `auto`, `cpu` or `cuda`.
        elsewhere: whether a launcher trains the rows, whose scheduler decides by default: None.

    Raises:
        typer.BadParameter: it is neither.
    """
    from genprior.launch.reporter import default_jobs

    if text is None:
        return None if elsewhere else default_jobs(device)
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"'{text}' is neither a number of at least 1 nor auto", param_hint="'--jobs'")
    return int(text)
