"""Writes a report: one HTML file that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genprior import RunError, whole_file
from genprior_report.content import content_of
from genprior_report.page import MARK, page

__all__ = ["default_file", "write_report"]


def default_file(paths: Sequence[Path]) -> Path:
    """Where a report is written: into the only folder; where there are several, or an address, the working folder."""
    (path, *more) = paths
    folder = path.parent if path.name == "recipe.toml" else path
    return Path("report.html") if more or not folder.is_dir() else folder / "report.html"


def write_report(paths: Sequence[Path], out: Path, *, all_seeds: bool = False, seconds: float | None = None) -> None:
    """Write the report of runs.

    Args:
        paths: folders of runs, or folders above them.
        out: the HTML file.
        all_seeds: whether every run has pictures and curves, and not only one seed of each row.
        seconds: the time after which no section is begun that needs a model; None for all.

    Raises:
        RunError: a path does not exist, or a file that is no report would be overwritten; nothing is written.
        OSError: the file cannot be written.
    """
    _refuse_foreign(out)
    text = page(content_of(paths, all_seeds=all_seeds, seconds=seconds))
    with whole_file(out) as partial:
        partial.write_text(text, encoding="utf-8")


def _refuse_foreign(out: Path) -> None:
    """Refuse to overwrite what is no report.

    Raises:
        RunError: says what to do.
    """
    if out.is_dir():
        raise RunError(f"the report cannot be written to {out}: it is a folder; give a file, such as {out}/report.html")
    if out.is_symlink() or out.exists():
        with out.open("rb") as file:
            if MARK.encode() not in file.read(2000):
                raise RunError(
                    f"{out} is no report of genprior, and would be overwritten. Nothing was changed. Move that file, "
                    "or give another --out."
                )
