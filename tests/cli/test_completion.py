"""Completion, driven as a shell does it: the words of the command line are in the environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genprior.cli import completion
from genprior.cli.part_names import keep_part_names, part_names, want_part_names
from genprior.recipe.shipped import shipped_recipes
from genprior.registry import KINDS, installed

from .conftest import TINY

ROOT = Path(__file__).parents[2]
PROGRAM = """
import contextlib, io, json, os, sys
from genprior.cli.app import main
answers = []
for given in json.load(sys.stdin):
    os.environ.update(given)
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    answers.append((out.getvalue(), err.getvalue(), code or 0))
slow = {"torch", "numpy", "genprior_std", "genprior.parts", "genprior.registry"}
json.dump((answers, sorted(slow & sys.modules.keys())), sys.stdout)
"""
RUNS = ("tiny/AAE/seed-0", "tiny/AAE/seed-3", "tiny/learned prior/seed-0", "other/base/seed-12")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The current folder of the shell: recipes, runs and other files; the names of the parts are known."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "recipes" / "more").mkdir(parents=True)
    for name in ("tiny.toml", "recipes/one.toml", "recipes/priors.toml", "recipes/more/two.toml"):
        (folder / name).write_text(TINY)
    shutil.copy(ROOT / "recipes" / "fig15_colours.toml", folder / "recipes" / "fig15_colours.toml")
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (folder / "commas.toml").write_text(TINY.replace('"[A]"', '"AAE, learned (A)"'))
    (folder / "broken.toml").write_text("[run]\nsteps = \n")
    for run in RUNS:
        (folder / "runs" / run).mkdir(parents=True)
        (folder / "runs" / run / "run.json").write_text("{}")
    for name in ("one", "two"):
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "run.json").write_text("{}")
        (folder / "models" / name / "model.json").write_text('{"exported_by": "genprior"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENPRIOR_DATA", str(folder / "cache"))
        keep_part_names(first=True)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def asked(words, shell):
    """The environment in which a shell asks what may stand for the last word."""
    line = ["genprior", *words]
    own = {"COMP_WORDS": "\n".join(line), "COMP_CWORD": str(len(words))}
    if shell != "bash":
        own = {"_TYPER_COMPLETE_ARGS": " ".join(line), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return {**own, "_GENPRIOR_COMPLETE": f"complete_{shell}"}


ASKED = asked


def complete(home, cases, program=PROGRAM):
    """What shells are offered, for each (words, shell); all in one process, so that this is quick."""
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "GENPRIOR_DATA": str(home / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps([asked(*each) for each in cases]),
        cwd=home, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    answers, slow = json.loads(done.stdout)
    assert slow == []
    assert [answer[1:] for answer in answers] == [["", 0]] * len(cases)
    return [[line for line in answer[0].splitlines() if line] for answer in answers]


RECIPES = ["broken.toml", "commas.toml", "recipes/fig15_colours.toml", "recipes/more/two.toml", "recipes/one.toml"]
RECIPES += ["recipes/priors.toml", "tiny.toml"]
SHIPPED = [name for name in shipped_recipes() if name not in ("fig15_colours", "priors")]


CASES = [
    (["tr"], ["train"]),
    (["train", ""], [*RECIPES, *SHIPPED]),
    (["train", "gans/b"], ["gans/began"]),
    (["train", "vae_gan", "--with", ""], ["VAE", "quick"]),
    (["train", "gans/began", "--rows", ""], ["BEGAN"]),
    (["recipes", "copy", "gans/w"], ["gans/wgan_gp", "gans/wgan_gp_plain"]),
    (["recipes", ""], ["copy"]),
    (["train", "recipes/o"], ["recipes/one.toml"]),
    (["train", "./recipes/o"], ["./recipes/one.toml"]),
    (["train", "recipes/more/"], ["recipes/more/two.toml"]),
    (["check", "ti"], ["tiny.toml"]),
    (["train", "tiny.toml", "--with", ""], ["A", "wide", "long", "labels"]),
    (["train", "tiny.toml", "--with", "wide", "--with", ""], ["A", "long", "labels"]),
    (["train", "tiny.toml", "--rows", "A"], ["AAE"]),
    (["train", "tiny.toml", "--rows", "AAE,"], ["AAE,\\[A\\]"]),
    (["train", "recipes/fig15_colours.toml", "--rows", ""], ["fixed\\ prior", "learned\\ prior"]),
    (["train", "recipes/fig15_colours.toml", "--rows", '"fixed p'], ["fixed prior"]),
    (["train", "broken.toml", "--rows", ""], []),
    (["train", "commas.toml", "--rows", "AA"], ["AAE", "AAE,\\ learned\\ \\(A\\)"]),
    (["train", "commas.toml", "--rows", '"AAE, l'], ["AAE, learned (A)"]),
    (["train", "commas.toml", "--rows", '"AAE, learned (A),'], ["AAE, learned (A),AAE"]),
    (["train", "commas.toml", "--rows", '"AAE,'], ["AAE, learned (A)", "AAE,AAE, learned (A)"]),
    (["priors", "commas.toml", "--rows", "nothing,"], []),
    (["train", "nowhere.toml", "--with", ""], []),
    (["train", "tiny.toml", "--device", "c"], ["cpu", "cuda"]),
    (["show", "t"], ["tiny.toml", "table1_priors", "table2_gans", "table3_ablation"]),
    (["show", "runs/o"], ["runs/other", "runs/other/base", "runs/other/base/seed-12"]),
    (["show", "tiny.toml", "--row", "A"], ["AAE"]),
    (["sample", ""], ["runs/other", "runs/tiny"]),
    (["sample", "runs/tiny/A"], ["runs/tiny/AAE", "runs/tiny/AAE/seed-0", "runs/tiny/AAE/seed-3"]),
    (["sample", "runs/tiny", "--row", ""], ["AAE", "learned\\ prior"]),
    (["sample", "runs/tiny", "--exporter", "n"], ["npz"]),
    (["sample", "models", "--row", "t"], ["two"]),
    (["bench", "runs/other", "tin"], ["tiny.toml"]),
    (["bench", "runs/other", "--score", "f"], ["fid"]),
    (["bench", "runs/other", "--data", "mn"], ["mnist"]),
    (["parts", "pr"], ["prior"]),
    (["parts", "dataset", "cif"], ["cifar10"]),
    (["parts", "nothing", ""], []),
    (["figure", "fig15"], ["fig15_colours"]),
    (["figure", "fig15_colours", "--with", ""], ["learned", "quick"]),
    (["figure", "fig15_colours", "runs/tiny/AAE/seed-3"], ["runs/tiny/AAE/seed-3"]),
    (["figure", "fig15_colours", "--run-seed", ""], ["0", "3", "12"]),
    (["figure", "fig15_colours", "runs/other", "--run-seed", ""], ["12"]),
    (["--version", "sho"], ["show"]),
    (["priors", "ti"], ["tiny.toml"]),
    (["priors", "tiny.toml", "--add", "vam"], ["vampprior"]),
    (["priors", "tiny.toml", "--add", "bag", "--like", "A"], ["AAE"]),
    (["priors", "--with", ""], ["A", "wide", "long", "labels"]),
    (["priors", "--rows", "AA"], ["AAE"]),
    (["train", "--re"], ["--resume"]),
    (["nothing", "x"], []),
]


@pytest.fixture(scope="module")
def offers(home):
    return complete(home, [(words, "bash") for words, _ in CASES])


@pytest.mark.parametrize("place", range(len(CASES)), ids=[" ".join(words) for words, _ in CASES])
def test_a_shell_is_offered(offers, place):
    assert offers[place] == CASES[place][1]


def test_zsh_and_fish_are_told_what_a_part_is(home):
    words = ["parts", "prior", "mixt"]
    (zsh,), (fish,) = complete(home, [(words, "zsh"), (words, "fish")])
    assert zsh.startswith('_arguments \'*: :(("mixture":"K Gaussians of equal weight')
    assert fish.startswith("mixture\tK Gaussians of equal weight")


@pytest.mark.parametrize(("shell", "between"), [("zsh", '":"'), ("fish", "\t")])
def test_every_prior_is_told_of_in_one_line(home, shell, between):
    (lines,) = complete(home, [(["parts", "prior", ""], shell)])
    assert len(lines) > 20
    assert all(between in line for line in lines)


def test_bash_completes_with_the_script_that_is_shown(home, tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    environment = {
        **os.environ,
        "PYTHONPATH": ":".join(sys.path),
        "GENPRIOR_DATA": str(home / "cache"),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    shown = subprocess.run(
        [sys.executable, "-m", "genprior", "--show-completion", "bash"],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert "complete -o default -F _genprior_completion genprior" in shown
    program = tmp_path / "genprior"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m genprior "$@"\n')
    program.chmod(0o755)
    script = (
        f"{shown}\nCOMP_WORDS=(genprior train recipes/fig15_colours.toml --rows le); COMP_CWORD=4\n"
        f'_genprior_completion {program}\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run([bash, "-c", script], cwd=home, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("learned\\ prior\n", "")


def test_names_of_parts_are_those_of_the_registry(home, monkeypatch):
    monkeypatch.setenv("GENPRIOR_DATA", str(home / "cache"))
    assert {kind: list(names) for kind, names in part_names().items()} == {
        kind: installed().names(kind) for kind in KINDS
    }


def test_names_of_parts_are_kept_up_to_date_only_for_who_uses_completion(call, cache):
    assert call("parts", "prior").exit_code == 0
    assert not (cache / "completion").exists() and part_names() == {}
    keep_part_names(first=True)
    (file,) = (cache / "completion").iterdir()
    whole = part_names()
    file.write_text(json.dumps({"kinds": {"prior": {"gone": ""}}, "figures": {}}))
    assert call("parts", "prior").exit_code == 0
    assert part_names() == whole
    file.write_text("{")
    assert part_names() == {}
    assert call("parts", "prior").exit_code == 0
    assert part_names() == whole


def test_who_completes_without_the_names_of_parts_gets_them_from_the_next_command(home, call, cache, monkeypatch):
    words = (["parts", "prior", "mixt"], "bash")
    monkeypatch.setattr(sys.modules[__name__], "asked", lambda *given: {**ASKED(*given), "GENPRIOR_DATA": str(cache)})
    assert complete(home, [words]) == [[]]
    assert call("parts", "prior").exit_code == 0
    assert complete(home, [words]) == [["mixture"]]
    shutil.rmtree(cache)
    cache.write_text("a file")
    assert complete(home, [words]) == [[]]


def test_a_cache_that_cannot_be_written_does_not_end_a_command(call, cache):
    cache.write_text("a file")
    want_part_names()
    keep_part_names(first=True)
    assert call("parts", "prior").exit_code == 0


@pytest.mark.skipif("not hasattr(__import__('os'), 'mkfifo')", reason="there are no named pipes here")
def test_a_pipe_is_not_waited_for(home):
    os.mkfifo(home / "pipe.toml")
    assert complete(home, [(["train", "pip"], "bash")]) == [[]]


def test_a_failure_while_completing_prints_nothing(home):
    fail = (
        "import genprior.cli.plugin_commands as plugins\n"
        "def fail(self, ctx): raise OSError(5, 'input/output error')\n"
        "plugins.Commands.list_commands = fail\nanswers = []\n"
    )
    assert complete(home, [(["tr"], "bash")], PROGRAM.replace("answers = []\n", fail)) == [[]]


FUNCTIONS = [
    completion.recipes, completion.runs, completion.recipes_and_runs, completion.changes, completion.row,
    completion.rows, completion.run_seeds, completion.kinds, completion.parts, completion.shipped,
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["row", "change", "label", "kinds", "figures", "prior"]), inner, max_size=3)
    ),
)


@given(VALUES, st.text(max_size=6))
@settings(max_examples=40, deadline=None)
def test_no_content_of_files_ends_a_completion(tmp_path_factory, value, incomplete):
    folder = tmp_path_factory.mktemp("odd")
    recipe, names = folder / "a.toml", folder / "cache"
    recipe.write_text("\n".join(f"{key} = {json.dumps(each)}" for key, each in dict(x=value, row=value).items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENPRIOR_DATA", str(names))
        patch.setattr("genprior.cli.part_names._kept", lambda: value if isinstance(value, dict) else {})
        ctx = types.SimpleNamespace(params={"recipe": recipe, "kind": "prior", "name": "x"}, args=[incomplete])
        for function in FUNCTIONS:
            assert isinstance(function(ctx, incomplete), list)
