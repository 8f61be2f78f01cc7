"""What the commands say of rows with a fitted prior: how many runs there are, their times, and their parameters."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from rich.console import Console

from genprior import Column, RunError
from genprior.cli.table_screen import render_table
from genprior.engine.fit import begin_fit
from genprior.launch.preflight import preflight
from genprior.registry import installed
from genprior.tables.ranking import Ranked, Ranking
from genprior.tables.table import Cell
from genprior_std.scores.reconstruction_fid import ReconstructionFID


@pytest.fixture
def fits(monkeypatch):
    """Calls a function before each fit but the rehearsed ones: `fits(do)`."""

    def before(do) -> None:
        rehearsed = []

        def checked(*arguments, timed):
            paces = preflight(*arguments, timed=timed)
            rehearsed.append(True)
            return paces

        def begun(prior, codes, seed):
            if rehearsed:
                do()
            return begin_fit(prior, codes, seed)

        monkeypatch.setattr("genprior.launch.train.preflight", checked)

        monkeypatch.setattr("genprior.runs.second_stage.begin_fit", begun)

    return before


def train_affine(call, recipe: Path, *arguments: object):
    """Train the row with a fitted prior alone, whose first stage is then no row."""
    options = ("--out", recipe.parent / "out", "--jobs", 1, "--device", "cpu", "--rows", "affine", "--seeds", "0")
    return call("train", recipe, *options, *arguments)


def test_ctrl_c_counts_the_first_stages_as_the_progress_does(no_curves, recipe, call, fits):
    fits(lambda: os.kill(os.getpid(), signal.SIGINT))
    result = train_affine(call, recipe)
    assert result.exit_code == 130
    assert "stopped: 1 of 2 runs are finished; the same command resumes the others." in result.stderr
    assert "1 of 2 runs done" in result.stderr  # the progress of the fit


def test_failures_are_of_all_runs(no_curves, recipe, call, fits):
    def fail() -> None:
        raise RunError("the codes are on a line")

    fits(fail)
    result = train_affine(call, recipe)
    assert result.exit_code == 2
    assert "1 of 2 runs failed:\n  affine: the codes are on a line" in result.output


def test_show_of_a_run_whose_prior_is_not_installed(no_curves, recipe, call):
    assert train_affine(call, recipe).exit_code == 0
    folder = recipe.parent / "out" / "affine" / "seed-0"
    known = [row for row in call("show", folder).stdout.splitlines() if "│ stage" not in row and row.startswith("│")]
    installed.cache_clear()  # as another process, in which no script has registered it
    result = call("show", folder)
    assert result.exit_code == 0
    shown = result.stdout.splitlines()
    assert "Few priors: affine, seed 0" in result.stdout
    for name in ("folder", "state", "step", "trained", "parameters", "checkpoint", "last record", "scores"):
        assert [row for row in known if row.startswith(f"│ {name} ")] == [
            row for row in shown if row.startswith(f"│ {name} ")
        ]
    said = " ".join(result.stdout.replace("│", " ").split())
    assert "does not fit the installed parts: model.fitted_prior: there is no prior named 'affine'" in said
    assert "A part of a script or notebook is registered there alone" in said


def test_show_of_a_damaged_run_is_the_error_alone(no_curves, recipe, call):
    assert train_affine(call, recipe).exit_code == 0
    folder = recipe.parent / "out" / "affine" / "seed-0"
    (folder / "recipe.toml").write_text("[run\n")
    result = call("show", folder)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{folder / 'recipe.toml'} is damaged" in result.stderr


def test_times_speeds_and_parameters_of_a_fitted_prior(no_curves, recipe, call):
    mixture = 'model.fitted_prior={name="gaussian_mixture",components=3}'
    result = train_affine(call, recipe, "--set", mixture)
    assert result.exit_code == 0, result.output
    out = recipe.parent / "out"
    folder = out / "affine" / "seed-0"
    facts = json.loads((folder / "run.json").read_text())
    parameters = 3 * 4 + 3 * 4 + 3  # means, scales and weights of 3 Gaussians in 4 dimensions
    assert facts["parameters"] == {"fitted_prior": parameters}
    # The table has the time of both stages, and no images/s.
    row = json.loads((out / "table.json").read_text())["rows"][0]
    assert row["seconds"] == [pytest.approx(facts["seconds"] + facts["first_stage"]["seconds"])]
    assert row["images_per_second"] is None
    # A fit is of codes.
    assert re.search(r"affine: step 1 of 1, [\d,]+ codes/s", result.stderr)
    assert re.search(
        r"first stage: step 4 of 4, [\d,]+ images/s|first stage: step 1 of 4, [\d,]+ images/s", result.stderr
    )
    assert re.search(r"speed +│ [\d,]+ codes/s", call("show", folder).stdout)

    def ranked() -> int:
        options = ("--out", out, "--no-train", "--rows", "affine", "--seeds", "0", "--set", mixture, "--json")
        return json.loads(call("priors", recipe, *options).stdout)["rows"][0]["parameters"]

    assert ranked() == parameters
    (folder / "run.json").write_text(json.dumps({**facts, "parameters": {}}))  # as of before
    assert ranked() == parameters


def test_the_printed_ranking_is_narrow_and_names_the_page(recipe):
    columns = [
        Column("fid", "FID", False),
        *ReconstructionFID(ReconstructionFID.Config()).columns,
        Column("nll", "NLL", False),
    ]
    cell = Cell((1.25, 1.5))
    scores = {column.key: cell for column in columns}
    rows = tuple(
        Ranked(label, "fitted afterwards", (0, 1), scores, training=cell) for label in ("gaussian", "flow", "kde")
    )
    page = recipe.parent / "priors.md"
    ranking = Ranking("priors", columns[0], tuple(columns[1:]), rows, "a CPU", protocols=("fid: of 10,000 images",))
    out = Console(width=120, file=io.StringIO())
    out.print(render_table(ranking.short(page)))
    shown = out.file.getvalue().splitlines()
    header = ["row", "rank", "FID ↓", "difference", "verdict", "prior is learned", "prior gap", "s to train"]
    assert [cell.strip() for cell in shown[2].strip("┃").split("┃")] == header
    assert [len([line for line in shown if line.startswith(f"│ {row.label}")]) for row in rows] == [1, 1, 1]
    assert max(map(len, shown)) <= 120
    assert str(page) in "".join(shown).replace("\n", "")
    assert "Protocol" not in "".join(shown)
    assert "| FID of reconstructions ↓ | prior gap | NLL ↓ | parameters |" in ranking.as_markdown()


def test_show_of_an_unfinished_run_whose_prior_is_not_installed_says_the_last_step(no_curves, recipe, call):
    """Between checkpoints the records say how far it is, as for a run whose parts are known."""
    assert train_affine(call, recipe).exit_code == 0
    folder = recipe.parent / "out" / "affine" / "seed-0"
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "finished": False, "step": 0}))
    shutil.rmtree(folder / "checkpoints")
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert last > 0

    def step():
        (shown,) = (row for row in call("show", folder).stdout.splitlines() if row.startswith("│ step "))
        return shown.split("│")[2].strip()

    known = step()
    installed.cache_clear()  # as another process, in which no script has registered it
    assert step() == known == f"{last:,} of 5"
