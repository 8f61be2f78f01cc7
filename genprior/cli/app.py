"""The command line.

`genprior --help` imports neither torch nor plugins: each command imports what it needs when it runs. The commands
are in `training_commands`, `run_commands`, `share_commands`, `show_commands`, `recipe_commands`, `doctor` and
`new_command`, those of plugins come by `plugin_commands`, and the options that several have are in `options`.

Every `GenpriorError` is printed as `error: <message>` without a traceback, and ends the process with the error's
`exit_code`: 2 for a mistake of the user (like usage errors), 1 for a run that failed, 130 for an interruption.
"""

from __future__ import annotations

from typing import Annotated

import typer

from genprior.cli import recipe_commands
from genprior.cli.doctor import doctor
from genprior.cli.encoding import open_closed_streams, replace_unencodable
from genprior.cli.new_command import new
from genprior.cli.plugin_commands import Commands
from genprior.cli.ranks import silence_others
from genprior.cli.run_commands import bench, figure, sample
from genprior.cli.share_commands import export
from genprior.cli.show_commands import parts, schema, show
from genprior.cli.tracebacks import OPTION
from genprior.cli.training_commands import check, priors, train

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


for _command in (train, check, priors, bench, sample, figure, export, show, parts, schema, doctor, new):
    app.command()(_command)
app.add_typer(recipe_commands.app, name="recipes")


def main() -> None:
    """Run the command line; the entry point of `genprior` and of `python -m genprior`."""
    open_closed_streams()
    silence_others()
    replace_unencodable()
    app(prog_name="genprior")


if __name__ == "__main__":
    main()
