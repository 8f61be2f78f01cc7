"""The command line.

`genprior --help` imports neither torch nor plugins: each command imports what it needs when it runs.

Every `GenpriorError` is printed as `error: <message>` without a traceback, and ends the process with the error's
`exit_code`: 2 for a mistake of the user (like usage errors), 1 for a run that failed, 130 for an interruption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genprior.cli.encoding import replace_unencodable
from genprior.cli.options import (
    Compared,
    Device,
    ExporterName,
    FigureName,
    FigureRuns,
    Kind,
    Layout,
    Measured,
    OnDevice,
    PartName,
    RealImages,
    Recipe,
    Resume,
    RowOfRecipe,
    RowOfTable,
    Rows,
    RunSeed,
    Sampled,
    Set,
    Shown,
    TrainedWith,
    With,
)
from genprior.cli.plugin_commands import Commands, disabled_commands
from genprior.cli.tracebacks import OPTION
from genprior.errors import visible

__all__ = ["app", "main"]


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Generative models with a choice of prior: train recipes, compare their rows, draw new images.",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(ctx: typer.Context, requested: bool) -> None:
    if requested and not ctx.resilient_parsing:
        from genprior.version import __version__

        typer.echo(f"genprior {__version__}")
        raise typer.Exit


@app.callback()
def _genprior(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option(OPTION, help="Print errors with their tracebacks; may also follow the command.")
    ] = False,
) -> None:
    """Take the options of the program itself; `Commands` reads `traceback`."""


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        seeds = [int(each) for each in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a list of whole numbers such as 0,1,2", param_hint="'--seeds'"
        ) from None
    if min(seeds) < 0:
        raise typer.BadParameter(f"'{text}' contains a negative number", param_hint="'--seeds'")
    return list(dict.fromkeys(seeds))


@app.command()
def train(
    recipe: Recipe,
    changes: With = None,
    settings: Set = None,
    rows: Rows = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="Seeds instead of run.seeds, as in 0,1,2.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For runs and table; runs/<recipe>[-<with>...] by default.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Rows to train in parallel; by default one per core, or one on a GPU.")
    ] = None,
    device: OnDevice = Device.AUTO,
    resume: Annotated[
        Resume,
        typer.Option(help="Checkpoint of unfinished rows; last-good moves damaged ones aside, to checkpoints/damaged."),
    ] = Resume.NEWEST,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Steps instead of run.steps; also lengthens runs.")
    ] = None,
) -> None:
    """Train and score every row of a recipe, and write the table.

    Finished rows are skipped and unfinished rows are resumed. Ctrl-C writes checkpoints and stops; the same command
    resumes. A second Ctrl-C ends at once. --steps trains finished and unfinished runs to another number of steps.
    """
    from genprior.cli.train import train as run
    from genprior.launch.reporter import default_jobs
    from genprior.recipe.load import load_recipe
    from genprior.runs.jobs import home_of

    found = load_recipe(
        recipe, changes=changes or (), settings=settings or (), rows=rows or None, seeds=_numbers(seeds)
    )
    folder = out if out is not None else home_of(found, changes or ())
    workers = jobs if jobs is not None else default_jobs(device.value)
    last_good = resume is Resume.LAST_GOOD
    raise typer.Exit(run(found, folder, jobs=workers, device=device.value, last_good=last_good, steps=steps))


@app.command()
def check(
    recipe: Recipe, changes: With = None, settings: Set = None, rows: Rows = None, device: OnDevice = Device.AUTO
) -> None:
    """Validate a recipe and take one step of each row, without writing files."""
    from genprior.cli.train import check as run
    from genprior.recipe.load import load_recipe

    found = load_recipe(recipe, changes=changes or (), settings=settings or (), rows=rows or None)
    run(found, device.value)


@app.command()
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
        settings=settings or (), published=published, device=device.value,
    )  # fmt: skip
    console.show_bench(found, watch, None if out is None else lambda table: write_table(table, out))
    if out is not None:
        console.print_written(out, FILES)


@app.command()
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
    from genprior.runs.part_settings import settings_table

    found = one_run(run, row, device=device.value)
    by_label = layout is Layout.LABELS
    path = to or export.default_file(found.folder, exporter, seed=seed, label=label, text=text or (), by_label=by_label)
    export.export(
        found, path, exporter=exporter, settings=settings_table(settings or (), "columns=5"), n=n, seed=seed,
        label=label, text=text or None, by_label=by_label, force=force,
    )  # fmt: skip
    console.print_line(f"{n} images of {found.label}, seed {seed}: {path}")


@app.command()
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


@app.command()
def show(
    path: Shown,
    row: RowOfRecipe = None,
    changes: With = None,
    settings: Set = None,
) -> None:
    """Show the resolved rows of a recipe, the state and scores of a run, or a table.

    The first row of a recipe is shown whole, and of each other row what differs from it; --row shows any row whole.
    """
    from genprior.cli import console
    from genprior.cli.print_recipe import print_rows
    from genprior.recipe.load import load_recipe
    from genprior.runs.find import nothing_at
    from genprior.runs.folder import RunFolder
    from genprior.runs.run import load_run
    from genprior.tables.gather import table_below

    if RunFolder(path).exists:
        console.print_run(load_run(path))
    elif path.is_dir():
        table = table_below([path])
        console.print_table(table)
        console.refuse_unread(table)
    elif path.suffix != ".toml" and not path.exists():
        raise nothing_at(path)
    else:
        recipe = load_recipe(path, changes=changes or (), settings=settings or (), rows=None if row is None else [row])
        print_rows(recipe.plans)


@app.command()
def parts(
    kind: Kind = None,
    name: PartName = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks of unloadable plugins.")] = False,
) -> None:
    """List the installed parts and their plugins, or the settings of one part."""
    from genprior.cli import print_parts
    from genprior.registry import installed

    if kind is not None and name is not None:
        print_parts.print_part(installed(), kind, name)
    else:
        print_parts.print_parts(
            installed(), kind, verbose=verbose, disabled=disabled_commands(typer.main.get_group(app).commands)
        )


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of printing.")] = None,
) -> None:
    """Print the JSON schema of recipes with the installed parts, for completion and validation in editors."""
    import json

    from genprior.cli.schema_file import write_schema
    from genprior.recipe.schema import recipe_schema
    from genprior.registry import installed

    recipes = recipe_schema(installed())
    if out is None:
        typer.echo(json.dumps(recipes, indent=2))
    else:
        write_schema(recipes, out)
        typer.echo(visible(f"written: {out}"))


def main() -> None:
    """Run the command line; the entry point of `genprior` and of `python -m genprior`."""
    replace_unencodable()
    app(prog_name="genprior")


if __name__ == "__main__":
    main()
