"""What the user sees: progress, tables, settings, errors. Markup is off throughout, so brackets in labels stay."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table as Grid
from rich.text import Text

from genprior.errors import GenpriorError, Interrupted, PluginError, RunError, did_you_mean

__all__ = [
    "check",
    "console",
    "print_error",
    "print_line",
    "print_part",
    "print_parts",
    "print_run",
    "print_table",
    "print_toml",
    "print_written",
    "show_bench",
    "train",
]


def console(*, stderr: bool = False) -> Console:
    """A console without markup; wide where nobody watches, so that a file or a pipe gets whole lines."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = 200
    return made


def print_line(text: str, *, stderr: bool = False, style: str | None = None) -> None:
    """Print a text as it is, never wrapped."""
    console(stderr=stderr).print(Text(text, style=style or ""), soft_wrap=True)


def print_error(message: str) -> None:
    """Print `error: <message>` to stderr."""
    console(stderr=True).print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def print_toml(text: str, heading: str) -> None:
    """Print TOML under a comment line, highlighted on a terminal and bare elsewhere."""
    out = console()
    whole = f"# {heading}\n{text}"
    if out.is_terminal:
        out.print(Syntax(whole, "toml", background_color="default", word_wrap=True))
    else:
        print_line(whole)


def print_written(folder: Path, names: Sequence[str]) -> None:
    """Print the paths of the files that are there."""
    for name in names:
        if (folder / name).exists():
            print_line(str(folder / name), style="cyan")


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


def print_table(table: Any, notes: Sequence[str] = ()) -> None:
    """Print a `genprior.report.Table` with its footnote and notes; best cells are bold."""
    from genprior.table_screen import drawn

    console().print(drawn(table, notes))


def show_bench(bench: Any, seconds: float | None, write: Callable[[Any], None] | None) -> None:
    """Print the table of a `genprior.bench.Bench`, once or every so many seconds, and hand each one to `write`."""
    from genprior.table_screen import watch

    def look() -> Any:
        found = bench.table(watching=seconds is not None)
        if write is not None:
            write(found)
        return found

    if seconds is not None:
        watch(look, seconds, console())
    else:
        found = look()
        print_table(found.table, found.notes)


def print_run(run: Any) -> None:
    """Print what a run is, what it did last and how it scored."""
    from genprior.progress import clock

    facts = run.facts
    grid = Grid(title=Text(f"{run.plan.title or 'run'}: {run.label}, seed {run.seed}"), show_header=False)
    grid.title_justify, grid.title_style = "left", "bold"
    last = run.metrics[-1] if run.metrics else {}
    # Facts are written at the start and at the end, and records in between.
    step = max(int(facts.get("step", 0)), int(last.get("step", 0)))
    speed = facts.get("images_per_second")
    lines = {
        "folder": str(run.folder),
        "state": "finished" if run.finished else "not finished; give the same command again to go on",
        "step": f"{step:,} of {run.plan.run.steps:,}",
        "trained": clock(float(facts.get("seconds") or last.get("seconds") or 0)),
        "speed": f"{speed:,.0f} images/s" if speed else "-",
        "parameters": ", ".join(f"{name} {count:,}" for name, count in facts.get("parameters", {}).items() if count),
        "hardware": ", ".join(str(each) for each in facts.get("hardware", {}).values()),
        "versions": ", ".join(f"{name} {each}" for name, each in facts.get("versions", {}).items()),
        "plugins": ", ".join(f"{name} ({each})" for name, each in facts.get("plugins", {}).items()),
        "written": str(facts.get("written", "-")),
        "checkpoint": str(run.checkpoint.name) if run.checkpoint is not None else "-",
        "last record": ", ".join(f"{name} {_number(value)}" for name, value in last.items()) or "-",
        "scores": ", ".join(f"{name} {_number(value)}" for name, value in run.scores.items()) or "-",
    }
    for name, text in lines.items():
        grid.add_row(Text(name, style="cyan"), Text(text))
    console().print(grid)


def _number(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def print_parts(registry: Any, kind: str | None, *, verbose: bool = False) -> None:
    """Print the installed parts of one kind or of all, and the plugins that could not be loaded.

    Raises:
        PluginError: there is no such kind.
    """
    _known_kind(kind)
    out = console()
    grid = Grid()
    for heading in ("kind", "name", "plugin", "what it is"):
        grid.add_column(heading, overflow="fold")
    shown = [part for part in registry.all() if kind in (None, part.kind)]
    for same, group in itertools.groupby(shown, key=lambda part: part.kind):
        for place, part in enumerate(group):
            origin = registry.origin(part)
            where = f"{origin.plugin} ({origin.distribution})"
            kind_cell, name_cell = Text("" if place else same, style="cyan"), Text(part.name, style="bold")
            grid.add_row(kind_cell, name_cell, where, _summary(part))
        grid.add_section()
    out.print(grid)
    for broken in registry.broken:
        out.print(Text.assemble(("not loaded: ", "bold red"), f"{broken.origin}: {broken.reason}"), soft_wrap=True)
        if verbose and broken.details:
            out.print(Text(broken.details.rstrip(), style="dim"), soft_wrap=True)
    if registry.broken and not verbose:
        out.print(Text("--verbose shows the tracebacks", style="dim"))


def _known_kind(kind: str | None) -> None:
    from genprior.registry import KINDS

    if kind is not None and kind not in KINDS:
        raise PluginError(f"there is no kind of part '{kind}'{did_you_mean(kind, KINDS)}")


def _summary(part: Any) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def print_part(registry: Any, kind: str, name: str) -> None:
    """Print the settings of a part: types, defaults and what they mean.

    Raises:
        PluginError: there is no such kind or name.
    """
    _known_kind(kind)
    part = registry.find(kind, name)
    out = console()
    out.print(Text.assemble((f"{kind} '{name}'", "bold"), f" of {registry.origin(part)}: {_summary(part)}"))
    if part.borrows:
        out.print(Text(f"borrows: {', '.join(part.borrows)}"))
    settings = list(_settings(part.Config.model_json_schema()))
    if not settings:
        out.print("It has no settings.")
        return
    grid = Grid()
    for heading in ("setting", "type", "default", "meaning"):
        grid.add_column(heading, overflow="fold")
    for path, kind_of, default, meaning in settings:
        grid.add_row(Text(path, style="bold"), Text(kind_of), Text(default), Text(meaning))
    out.print(grid)


def _settings(schema: Mapping[str, Any]) -> Any:
    """(path, type, default, meaning) of each setting in a JSON schema; those of inner tables by dotted paths."""
    definitions = schema.get("$defs", {})

    def walk(table: Mapping[str, Any], at: str, given: Any) -> Any:
        for key, field in table.get("properties", {}).items():
            if key == "name" and not at:
                continue
            default = given[key] if isinstance(given, Mapping) and key in given else field.get("default", ...)
            path = f"{at}{key}"
            inner = definitions.get(field.get("$ref", "").rpartition("/")[2], {})
            if inner.get("properties"):
                yield from walk(inner, f"{path}.", default)
            else:
                shown = "required" if default is ... else "unset" if default is None else json.dumps(default)
                yield path, _type(field, definitions), shown, " ".join(field.get("description", "").split())

    return walk(schema, "", {})


_LIMITS = {
    "minimum": ">= {}", "exclusiveMinimum": "> {}", "maximum": "<= {}", "exclusiveMaximum": "< {}",
    "minItems": "at least {}", "maxItems": "at most {}", "minLength": "at least {} characters", "pattern": "like {}",
}  # fmt: skip


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "part" in field:
        return f"{'an' if field['part'][0] in 'aeiou' else 'a'} {field['part']}"
    if "$ref" in field:
        return _type(definitions.get(field["$ref"].rpartition("/")[2], {}), definitions)
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return " | ".join(json.dumps(each) for each in field["enum"])
    if "anyOf" in field:
        return " | ".join(_type(each, definitions) for each in field["anyOf"] if each.get("type") != "null")
    name = str(field.get("type", "any value"))
    if name == "array":
        if "prefixItems" in field:
            return f"[{', '.join(_type(each, definitions) for each in field['prefixItems'])}]"
        name = f"list of {_type(field.get('items', {}), definitions)}"
    elif name == "object":
        inside = field.get("additionalProperties")
        name = f"table of {_type(inside, definitions)}" if isinstance(inside, Mapping) else "table"
    limits = [text.format(field[key]) for key, text in _LIMITS.items() if key in field]
    return " ".join([name, ", ".join(limits)]).strip()


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


def train(recipe: Any, folder: Path, *, jobs: int, device: str) -> int:
    """Train a recipe with its progress on the screen, and print the table.

    Returns:
        The exit code: 0, 1 where a row failed, 130 where the user stopped it.

    Raises:
        GenpriorError: nothing was trained, as the recipe, the folder or the device is wrong.
    """
    from genprior import launch
    from genprior.progress import watching

    todo = launch.jobs_of(recipe, folder)
    refuse_changed(todo, folder)
    table, stopped = None, False
    with watching(console(stderr=True), device) as seen:
        try:
            table = launch.train(recipe, out=folder, jobs=jobs, device=device, reporter=seen)
        except Interrupted:
            stopped = True
        except GenpriorError:
            if not seen.failures:
                raise
    if stopped:
        print_line(
            f"stopped: {len(seen.done)} of {len(todo)} runs are finished, and the others can go on. "
            "Give the same command again.",
            stderr=True,
            style="yellow",
        )
        return Interrupted.exit_code
    if table is None:
        table = _so_far(todo, recipe.title)
    if table is not None:
        print_table(table)
        print_written(folder, ("table.md", "table.html", "rows.png"))
    if not seen.failures:
        return 0
    failed = "\n".join(f"  {job.name}: {str(error).replace(chr(10), chr(10) + '    ')}" for job, error in seen.failures)
    print_error(f"{len(seen.failures)} of {len(todo)} runs failed:\n{failed}")
    return 2 if all(isinstance(error, RunError) for _, error in seen.failures) else 1


def refuse_changed(jobs: Sequence[Any], folder: Path) -> None:
    """Refuse, before anything is trained, folders that hold runs of another recipe.

    Raises:
        RunError: lists what changed, and in which rows.
    """
    import tomllib

    changed: dict[str, list[str]] = {}
    for job in jobs:
        try:
            kept = tomllib.loads((job.folder / "recipe.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # nothing there, or damaged: the run itself says so, with what to do
        for line in job.plan.differences(kept):
            changed.setdefault(line, []).append(job.name)
    if changed:
        listed = "\n".join(f"  {line} [row {', '.join(names)}]" for line, names in changed.items())
        raise RunError(
            f"{folder} holds runs of another recipe:\n{listed}\n"
            "Nothing was touched. Give another --out, or remove the folders of those runs to train anew."
        )


def _so_far(jobs: Sequence[Any], title: str) -> Any:
    """The table of the jobs that are finished, or None if none is."""
    from genprior.report import gather
    from genprior.runs import load_run

    runs, missing = [], []
    for job in jobs:
        try:
            run = load_run(job.folder)
        except RunError:
            run = None
        if run is not None and run.finished:
            runs.append(run)
        else:
            missing.append(job.name)
    return gather(title, runs, missing) if runs else None


def check(recipe: Any, device: str) -> None:
    """Take one step of each row, and print the parameters of its modules.

    Raises:
        RecipeError: lists what is wrong with each row.
    """
    from genprior.build import build_model
    from genprior.data import as_trained
    from genprior.launch import preflight

    with _status("taking one step of each row"):
        preflight(recipe, device)
        infos: dict[str, Any] = {}
        counts: dict[str, dict[str, int]] = {}
        for plan in recipe.plans:
            key = f"{plan.run.labels} of {plan.data.model_dump_json()}"
            if key not in infos:
                infos[key] = as_trained(plan.data.make(), plan.run.labels)
            model = build_model(plan.model, infos[key], plan.run.seeds[0])
            modules = {name: sum(p.numel() for p in each.parameters()) for name, each in model.named_children()}
            counts[plan.label] = {name: count for name, count in modules.items() if count}
    names = list(dict.fromkeys(name for each in counts.values() for name in each))
    grid = Grid(title=Text(recipe.title), title_justify="left", title_style="bold", caption="parameters of each module")
    for place, heading in enumerate(["row", "model", "data", *names, "all"]):
        grid.add_column(heading, justify="left" if place < 3 else "right", overflow="fold")
    for plan in recipe.plans:
        own = counts[plan.label]
        numbers = [f"{own[name]:,}" if name in own else "-" for name in names]
        grid.add_row(plan.label, plan.model.name, plan.data.name, *numbers, f"{sum(own.values()):,}")
    console().print(grid)
    rows = "1 row" if len(recipe.plans) == 1 else f"{len(recipe.plans)} rows"
    print_line(f"ok: {rows}, one step of each was taken", style="green")


def _status(text: str) -> AbstractContextManager[Any]:
    return console(stderr=True).status(text)
