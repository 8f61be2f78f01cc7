"""Prints the state, facts, last record and scores of a run, also of one whose parts are not all installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table as Grid
from rich.text import Text

from genprior.cli.console import console
from genprior.errors import GenpriorError, visible

__all__ = ["print_run", "print_unread"]


def print_run(run: Any) -> None:
    """Print the state, facts, last record and scores of a run."""
    facts = run.facts
    lines = {
        **_begun(run.folder, run.finished, run.step, run.plan.own_run.steps),
        **_of_first_stage(run),
        **_of_early_stopping(run),
        **_trained(facts, run.metrics, "images" if run.plan.fitted_prior is None else "codes"),
        "checkpoint": str(run.checkpoint.name) if run.checkpoint is not None else "-",
        **_measured(run.metrics, run.scores),
    }
    if failures := facts.get("hook_failures"):
        lines["hook failures"] = ", ".join(f"{name} {_number(count)}" for name, count in failures.items())
    if run.absent:
        lines["no number"] = "; ".join(dict.fromkeys(run.absent.values()))
    _print(f"{run.plan.title or 'run'}: {run.label}, seed {run.seed}", lines)


def print_unread(path: Path, error: GenpriorError) -> None:
    """Print what the files of a run say whose recipe does not fit the installed parts.

    Args:
        path: the folder of the run.
        error: why its recipe cannot be read.

    Raises:
        GenpriorError: `error`, if its recipe or its run.json cannot be read at all.
    """
    from genprior.runs.folder import RunFolder

    files = RunFolder(path)
    facts, recipe = files.facts(), files.recipe()
    if facts is None or recipe is None:
        raise error
    fitted, run = recipe["model"].get("fitted_prior"), recipe["run"]
    stage = run if fitted is None else run.get("fit")
    steps = stage.get("steps", "?") if isinstance(stage, dict) else "?"
    records = files.metrics()
    step = files.last_step(facts["step"], records)
    checkpoint = files.best_checkpoint
    lines = {
        **_begun(path, facts["finished"], step, steps),
        "recipe": f"{error}. A part of a script or notebook is registered there alone: genprior.load_run reads the run "
        "where it is registered, and a plugin makes it known everywhere",
        **_trained(facts, records, "images" if fitted is None else "codes"),
        "checkpoint": checkpoint.name if checkpoint is not None else "-",
        **_measured(records, files.scores() if facts["finished"] else {}),
    }
    _print(f"{recipe.get('title') or 'run'}: {recipe['label']}, seed {facts['seed']}", lines)


def _begun(folder: Path, finished: bool, step: int, steps: Any) -> dict[str, str]:
    return {
        "folder": str(folder),
        "state": "finished" if finished else "not finished; give the same command again to resume",
        "step": f"{step:,} of {_number(steps)}",
    }


def _trained(facts: Mapping[str, Any], records: list[dict[str, Any]], what: str) -> dict[str, str]:
    from genprior.cli.progress import clock

    last = records[-1] if records else {}
    speed = facts.get("images_per_second")
    return {
        "trained": clock(float(facts.get("seconds") or last.get("seconds") or 0)),
        "speed": f"{speed:,.0f} {what}/s" if speed else "-",
        "parameters": ", ".join(f"{name} {count:,}" for name, count in facts.get("parameters", {}).items() if count),
        "hardware": ", ".join(_with_unit(name, each) for name, each in facts.get("hardware", {}).items()),
        "versions": ", ".join(f"{name} {each}" for name, each in facts.get("versions", {}).items()),
        "plugins": ", ".join(f"{name} ({each})" for name, each in facts.get("plugins", {}).items()),
        "written": str(facts.get("written", "-")),
    }


def _measured(records: list[dict[str, Any]], scores: Mapping[str, float]) -> dict[str, str]:
    last = records[-1] if records else {}
    return {
        "last record": ", ".join(f"{name} {_number(value)}" for name, value in last.items()) or "-",
        "scores": ", ".join(f"{name} {_number(value)}" for name, value in scores.items()) or "-",
    }


def _print(title: str, lines: Mapping[str, str]) -> None:
    grid = Grid(title=Text(title), show_header=False)
    grid.title_justify, grid.title_style = "left", "bold"
    for name, text in lines.items():
        grid.add_row(Text(name, style="cyan"), Text(visible(text)))
    console().print(grid)


def _of_first_stage(run: Any) -> dict[str, str]:
    """The line on the first stage of a run with a fitted prior."""
    first = run.first_stage
    if run.plan.fitted_prior is None:
        return {}
    if first is None:
        return {"stage": f"fits prior '{run.plan.fitted_prior.name}' to codes"}
    from genprior.cli.progress import clock

    return {
        "stage": f"fits prior '{run.plan.fitted_prior.name}' to the codes of {first['folder']} "
        f"(weights {first['weights']}), trained in {clock(float(first['seconds']))}"
    }


def _of_early_stopping(run: Any) -> dict[str, str]:
    """Lines on early stopping: where it stopped, and the best checkpoint."""
    facts, lines = run.facts, {}
    if run.stopped_early:
        lines["stopped early"] = run.stopped_early
    if run.finished and facts.get("best_step") is not None:
        lines["best"] = f"{facts['best_of']} {_number(facts['best_value'])} on validation images, at step "
        lines["best"] += f"{facts['best_step']:,}; the scores are of this checkpoint"
    return lines


def _with_unit(name: str, value: Any) -> str:
    """A fact for a line of facts: a number with its name, `2 threads` or `bf16_speed 1.2`, and a text without."""
    if isinstance(value, float):
        return f"{name} {_number(value)}"
    return f"{value} {name.removesuffix('s') if value == 1 else name}" if isinstance(value, int) else str(value)


def _number(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
