"""Commands on runs: compare them, draw images and figures. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.options import (
    Against,
    Compared,
    Device,
    ExporterName,
    FigureName,
    FigureRuns,
    Layout,
    Measured,
    OnDevice,
    RealImages,
    RowOfTable,
    Rows,
    RunSeed,
    Sampled,
    Set,
    TrainedWith,
    With,
)

__all__ = ["bench", "figure", "sample"]


def bench(
    paths: Compared,
    score: Measured = None,
    data: RealImages = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Images per score, instead of the number in its settings.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write table.json, .md, .csv, .tex and .html there.")
    ] = None,
    watch: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Update this often, until all runs are finished.")
    ] = None,
    published: Annotated[Path | None, typer.Option(metavar="FILE", help="Further published numbers to show.")] = None,
    runs: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A recipe's runs; runs/<recipe>[-<with>...] by default.")
    ] = None,
    changes: With = None,
    settings: Set = None,
    device: OnDevice = Device.AUTO,
    against: Against = None,
) -> None:
    """Compare runs, recipes and images under any scores in one table.

    A TABLE is a part with settings, as in --score '{ name = "kid", subset_size = 100 }'. With a single
    score, rows are sorted from best to worst. Measured scores are cached.
    """
    from genprior.bench.bench import Bench
    from genprior.cli import console
    from genprior.tables.formats import FILES, refuse_foreign, write_table

    if out is not None:
        refuse_foreign(out, FILES)
    found = Bench(
        paths, scores=score or (), data=data, samples=samples, runs=runs, changes=changes or (),
        settings=settings or (), published=published, device=device.value, against=against,
    )  # fmt: skip
    console.show_bench(found, watch, None if out is None else lambda table: write_table(table, out))
    if out is not None:
        console.print_written(out, FILES)


def sample(
    run: Sampled,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Number of images.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of codes and conditions.")] = 0,
    label: Annotated[
        str | None, typer.Option(metavar="NAME|INDEX", help="Class of the images, for models conditioned on labels.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SENTENCE", help="What the images show, for models conditioned on text; several are taken in turn."
        ),
    ] = None,
    row: RowOfTable = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            "--out",
            metavar="FILE",
            help="A file, by default samples[-seed-1 ...].png (or the exporter's ending) in the run folder; its ending "
            "selects the exporter (.png, .npz, or a plugin's).",
        ),
    ] = None,
    layout: Annotated[
        Layout, typer.Option("--grid", help="Layout of a PNG: plain, or one class per column and one noise per row.")
    ] = Layout.PLAIN,
    exporter: ExporterName = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the exporter, as in columns=5; may be repeated."),
    ] = None,
    device: OnDevice = Device.CPU,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Draw new images from a run's newest checkpoint."""
    from genprior.cli import console
    from genprior.runs import export
    from genprior.runs.find import one_run
    from genprior.runs.hub import is_address
    from genprior.runs.part_settings import settings_table

    found = one_run(run, row, device=device.value)
    by_label = layout is Layout.LABELS
    home = Path() if is_address(run) else found.folder  # the copy of an address is not the user's
    path = to or export.default_file(home, exporter, seed=seed, label=label, text=text or (), by_label=by_label)
    export.export(
        found, path, exporter=exporter, settings=settings_table(settings or (), "columns=5"), n=n, seed=seed,
        label=label, text=text or None, by_label=by_label, force=force,
    )  # fmt: skip
    console.print_line(f"{n} images of {found.label}, seed {seed}: {path}")


def figure(
    name: FigureName = None,
    paths: FigureRuns = None,
    changes: TrainedWith = None,
    rows: Rows = None,
    run_seed: RunSeed = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the figure's noise and conditions.")] = 0,
    text: Annotated[
        list[str] | None, typer.Option(metavar="SENTENCE", help="A sentence, for figures of texts; may be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the figure, as in noises=5; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER|STEM", help="A folder, or the path without an ending; figures/NAME by default."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files.")] = False,
) -> None:
    """Draw a figure of finished runs as PNG and PDF, with its data as .npz; without a NAME, list the figures."""
    from genprior.cli import figure as command

    if name is None:
        command.list_figures()
    else:
        command.write_figure(
            name, paths or (), changes=changes or (), rows=rows or (), run_seed=run_seed, seed=seed, text=text or (),
            settings=settings or (), out=out, force=force,
        )  # fmt: skip
