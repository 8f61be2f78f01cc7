from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genprior.storage import checkpoint


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_table_is_trained_and_shown(trained, call):
    table = json.loads((trained / "table.json").read_text())
    assert [row["label"] for row in table["rows"]] == ["AAE", "[A]"]
    assert {"table.md", "table.html", "rows.png", "AAE/seed-0/run.json", "[A]/seed-0/run.json"} <= files(trained)


def test_a_finished_row_is_skipped_at_a_second_call(trained, call):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("run.json")}
    result = call("train", trained.parent / "tiny.toml", "--out", trained, "--jobs", 1)
    assert result.exit_code == 0
    assert "AAE: was finished before" in result.stderr and "[A]: was finished before" in result.stderr
    assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("run.json")}
    assert "Tiny [two rows]" in result.stdout and "│ [A] │" in result.stdout
    assert str(trained / "table.md") in result.stdout.splitlines()


def test_a_changed_recipe_in_the_same_folder_is_refused(trained, call):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    recipe = trained.parent / "tiny.toml"
    result = call("train", recipe, "--out", trained, "--jobs", 1, "--with", "wide", "--set", "run.steps=5")
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {trained} holds runs of another recipe:\n"
        "  model.code_size: was 4, is 6 [row AAE, [A]]\n"
        "  run.steps: was 4, is 5 [row AAE, [A]]\n"
        "Nothing was changed. Give another --out, or remove the folders of those runs to train anew.\n"
    )
    assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("*")}


def test_the_default_folder_bears_the_names_of_the_changes(recipe, call, monkeypatch):
    monkeypatch.chdir(recipe.parent)
    options = ("--rows", "AAE", "--seeds", "3", "--jobs", 1, "--set", "run.steps=1")
    result = call("train", recipe, "--with", "wide", "--with", "A", *options)
    assert result.exit_code == 0, result.output
    assert (recipe.parent / "runs" / "tiny-wide-A" / "AAE" / "seed-3" / "run.json").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--rows", "AAE,AEA"], "--rows: there is no row 'AEA'; did you mean 'AAE'? Possible: AAE, [A]"),
        (["--with", "wid"], "--with: there is no change 'wid'; did you mean 'wide'? Possible: A, labels, long, wide"),
        (
            ["--set", "run.stepz=1"],
            "run.stepz (--set run.stepz=1): unknown key 'stepz'; did you mean 'steps'? Possible: batch, "
            "checkpoint_every, clip_norm, clip_value, compile, ema, ema_share, epochs, fit, graph, hooks, keep, "
            "labelled_batch, labels, log_every, on_divergence, precision, rotate, sample_every, seeds, shift, "
            "skip_hook_functions, steps, stop, sync_batch_norm, zoom [row AAE, [A]]",
        ),
    ],
)
def test_a_wrong_recipe_writes_nothing(recipe, call, options, line):
    result = call("train", recipe, "--out", recipe.parent / "out", *options)
    assert result.exit_code == 2
    assert result.stderr == f"error: the recipe has a mistake:\n  {recipe}: {line}\n"
    assert files(recipe.parent) == {"tiny.toml"}


def test_parts_that_do_not_fit_write_nothing(recipe, call):
    result = call(
        "train", recipe, "--out", recipe.parent / "out", "--jobs", 1, "--rows", "AAE", "--set", "run.batch=1500"
    )
    assert result.exit_code == 2
    assert result.stderr.startswith("checking: one step of each row\nerror: the recipe 'tiny' cannot be trained:\n")
    assert "run.batch = 1500 is more than the " in result.stderr and result.stderr.endswith("[row AAE]\n")
    assert files(recipe.parent) == {"tiny.toml"}


@pytest.mark.parametrize("seeds", ["0,x", "", "-1,2"])
def test_seeds_that_are_no_numbers_are_a_usage_error(recipe, call, seeds):
    result = call("train", recipe, "--seeds", seeds)
    assert result.exit_code == 2 and "--seeds" in result.stderr
    assert files(recipe.parent) == {"tiny.toml"}


def test_a_failed_row_lets_the_others_go_on(recipe, call):
    out = recipe.parent / "out"
    assert call("train", recipe, "--out", out, "--jobs", 1, "--rows", "[A]").exit_code == 0
    (out / "[A]" / "seed-0" / "run.json").unlink()
    newest = checkpoint.latest(out / "[A]" / "seed-0" / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:100])
    first = call("train", recipe, "--out", out, "--jobs", 1)
    assert first.exit_code == 1
    assert "AAE: finished in " in first.stderr and "[A]: failed: the checkpoint " in first.stderr
    assert "\nerror: 1 of 2 runs failed:\n  [A]: the checkpoint " in first.stderr
    assert "│ AAE │" in first.stdout and "Not finished: [A]" in first.stdout
    (out / "[A]" / "seed-0" / "recipe.toml").write_text("not = [toml")
    damaged = call("train", recipe, "--out", out, "--jobs", 1)
    assert damaged.exit_code == 2 and "AAE: was finished before" in damaged.stderr


def test_a_resumed_run_says_where_it_goes_on(recipe, call):
    out = recipe.parent / "out"
    options = ("--out", out, "--jobs", 1, "--rows", "AAE")
    assert call("train", recipe, *options).exit_code == 0
    folder = out / "AAE" / "seed-0"
    newest = checkpoint.latest(folder / "checkpoints")
    assert newest.stem == "step-00000004"
    newest.unlink()
    (folder / "run.json").unlink()
    again = call("train", recipe, *options)
    assert again.exit_code == 0
    assert "AAE: resumes after step 2\n" in again.stderr
    assert json.loads((folder / "run.json").read_text())["step"] == 4


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "genprior", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def interrupted_at(process: subprocess.Popen[str], pattern: str) -> str:
    """Press Ctrl-C when a line of stderr matches, and give all of stderr.

    As a terminal does, the signal goes to the whole process group, the workers included.
    """
    heard = []
    for line in process.stderr:
        heard.append(line)
        if re.search(pattern, line):
            os.killpg(process.pid, signal.SIGINT)
            break
    _, rest = process.communicate(timeout=120)
    return "".join(heard) + rest


@pytest.mark.timeout(300)
def test_ctrl_c_leaves_runs_that_the_same_command_finishes(recipe, call):
    out = recipe.parent / "out"
    command = ("train", recipe, "--with", "long", "--out", out, "--device", "cpu")
    process = start(*command, "--jobs", 2)
    heard = interrupted_at(process, r": step \d+ of 400")
    assert process.returncode == 130, heard
    assert re.search(r"stopped: [01] of 2 runs are finished; the same command resumes the others", heard)
    assert "Traceback" not in heard
    kept = {path.parent.parent.name: path for path in out.rglob("step-*.safetensors")}
    assert kept, "no checkpoint was left"
    # In this process and one row at a time, which spares the workers' imports and changes nothing else.
    again = call(*command, "--jobs", 1)
    assert again.exit_code == 0, again.output
    assert re.search(r"(AAE|\[A\]): resumes after step \d+", again.stderr)
    facts = [json.loads((out / row / "seed-0" / "run.json").read_text()) for row in ("AAE", "[A]")]
    assert [(each["finished"], each["step"]) for each in facts] == [(True, 400)] * 2
