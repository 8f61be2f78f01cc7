"""Arguments and options that several commands have, and the values that options may take."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Device", "Layout", "OnDevice", "Recipe", "Resume", "Rows", "Set", "With"]


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


Recipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, such as recipes/table3_ablation.toml.")]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="NAME", help="Apply a change of the recipe to every row; may be repeated."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set one key, as in run.steps=800; may be repeated."),
]
Rows = Annotated[
    list[str] | None,
    typer.Option("--rows", metavar="LABELS", help="Only these rows, separated by commas; may be repeated."),
]
OnDevice = Annotated[Device, typer.Option("--device", help="Device to compute on; auto takes a GPU if there is one.")]
