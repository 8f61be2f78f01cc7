"""Makes figures of finished runs: `NAME.png`, `NAME.pdf`, and the data behind them as `NAME.npz`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from genprior.errors import PlanError, PluginError, RunError
from genprior.parts import Drawing, Figure, PartConfig
from genprior.registry import installed
from genprior.runs.figure_runs import RunsWanted, figure_runs
from genprior.runs.part_errors import naming_parts
from genprior.runs.part_settings import configured, settings_table
from genprior.runs.run import Run
from genprior.storage.files import write_files

__all__ = ["MadeFigure", "find_figure", "installed_figures", "make_figure"]

ENDINGS = (".png", ".pdf", ".npz")


class MadeFigure(NamedTuple):
    """A figure that was written."""

    files: tuple[Path, ...]
    runs: tuple[Run, ...]


def installed_figures() -> list[type[Figure]]:
    """All figures of the installed plugins, by name, numbers in it by their size."""
    figures = [part for part in installed().all() if issubclass(part, Figure)]
    return sorted(figures, key=lambda part: re.sub(r"\d+", lambda number: f"{number[0]:0>9}", part.name))


def find_figure(name: str) -> type[Figure]:
    """The figure of a name.

    Raises:
        PluginError: there is none; the message lists all.
    """
    return cast(type[Figure], installed().find(Figure.kind, name))


def make_figure(
    name: str,
    wanted: RunsWanted,
    *,
    settings: Sequence[str] = (),
    text: Sequence[str] = (),
    seed: int = 0,
    out: Path | None = None,
    force: bool = False,
) -> MadeFigure:
    """Draw a figure of finished runs and write it; nothing is written if an error is raised before.

    Args:
        name: an installed figure.
        wanted: which runs it shows, and where they are.
        settings: `KEY=VALUE` with TOML values, settings of the figure.
        text: the figure's setting `text`, if it is given.
        seed: draws noise and conditions.
        out: a folder that exists, for `NAME.png`, ..., or the path of the files without their endings; by default
            `figures/NAME`.
        force: overwrite files.

    Raises:
        PluginError: there is no such figure, or it returns no drawing.
        PlanError: it has no such setting, or the runs do not have what it shows.
        RunError: runs are missing, or a file exists, or a folder in the place of one.
        OSError: a file cannot be written; then none is.
        PartFailed: the figure raised another exception.
    """
    figure = find_figure(name)
    config = _configured(figure, settings, text)
    files = _files(name, out)
    folders = [str(path) for path in files if path.is_dir()]
    if folders:
        raise RunError(
            f"{', '.join(folders)} is a folder, and the figure writes a file there; move it, or give another --out"
        )
    existing = [str(path) for path in files if os.path.lexists(path)]
    if existing and not force:
        verb = "exist" if len(existing) > 1 else "exists"
        raise RunError(f"{', '.join(existing)} {verb} already; give another --out, or --force to overwrite")
    runs = figure_runs(figure, wanted)
    with naming_parts(registry=installed()):
        drawing = config.make().draw(runs, seed)
    contents = _contents(figure, drawing)
    write_files(dict(zip(files, contents, strict=True)))
    return MadeFigure(files, tuple(runs))


def _configured(figure: type[Figure], settings: Sequence[str], text: Sequence[str]) -> PartConfig:
    """The settings of the figure.

    Raises:
        PlanError: one cannot be read, does not exist, or has a wrong value, or sentences are given twice.
    """
    table = settings_table(settings, "noises=5")
    if text and "text" in table:
        raise PlanError(
            f"--text and --set text=... both give the sentences of figure '{figure.name}'; use one of them (--text may "
            "be repeated)"
        )
    return configured(figure, table | ({"text": list(text)} if text else {}))


def _files(name: str, out: Path | None) -> tuple[Path, ...]:
    """The files to write, one for each ending."""
    if out is None:
        stem = Path("figures", name)
    elif out.is_dir():
        stem = out / name
    else:
        stem = out.with_suffix("") if out.suffix.lower() in ENDINGS else out
    return tuple(stem.with_name(stem.name + ending) for ending in ENDINGS)


def _contents(figure: type[Figure], drawing: Any) -> tuple[bytes, ...]:
    """The bytes of the files: the same for the same drawing, without dates.

    Raises:
        PluginError: the figure returned no drawing, or the data is not numbers and texts.
    """
    from matplotlib.figure import Figure as Picture

    if not isinstance(drawing, Drawing) or not isinstance(drawing.picture, Picture):
        raise PluginError(
            f"figure '{figure.name}' of {installed().origin(figure)} returned {type(drawing).__name__} instead of a "
            "genprior.Drawing with a matplotlib Figure"
        )
    if drawing.objects:
        raise PluginError(
            f"figure '{figure.name}' of {installed().origin(figure)} returned arrays of objects, which an .npz would "
            f"pickle: {', '.join(drawing.objects)}; return numbers or texts"
        )
    return drawing.files()
