"""The README and the pages on papers are correct: commands run, code runs, quoted lines exist in their files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.stats
import torch
from typer.testing import CliRunner

import genprior
from genprior.cli.app import app
from genprior.testing import check_prior

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)


def test_make_knows_every_command_of_the_readme_and_of_contributing():
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert targets == {
        "demo",
        "test",
        "setup",
        "check",
        "format",
        "map",
        "reference",
        "docs",
        "changelog",
        "test-slow",
        "test-gpu",
        "fuzz",
        "faults",
    }
    for target in sorted(targets):
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_demo_is_the_command_that_the_readme_promises():
    done = subprocess.run(["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True)
    assert "genprior train recipes/table3_ablation.toml --with demo" in done.stdout


def test_every_genprior_command_of_the_readme_exists():
    commands = set(re.findall(r"`genprior ([a-z]+)", README)) | set(re.findall(r"^genprior ([a-z]+)", README, re.M))
    assert {"train", "check", "show", "parts", "sample", "bench", "priors"} <= commands
    for command in commands:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


LINES = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines() if "genprior train" in line]


@pytest.mark.parametrize("line", LINES)
def test_what_is_trained_resolves(line):
    arguments = shlex.split(line)[2:]
    shown = CliRunner().invoke(app, ["show", *arguments])
    assert shown.exit_code == 0, shown.output
    assert ("digits" if "quick" in arguments else "cifar10") in shown.output


def test_the_full_table_and_the_conditional_ones_are_trained():
    assert len(LINES) == 5 and sum("quick" in line for line in LINES) == 4


def test_the_python_lines_train_and_sample(monkeypatch, tmp_path):
    (code,) = [text for kind, text in BLOCKS if kind == "python" and "load_recipe" in text]
    short = code.replace('changes=["quick"]', 'changes=["quick"], settings=["run.steps=2", "scores=[]"]')
    assert short != code
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    names: dict = {}
    exec(compile(short, "README.md", "exec"), names)  # noqa: S102
    assert names["images"].shape == (100, 1, 16, 16)
    assert genprior.load_run(tmp_path / "runs/mine/A+B+C/seed-0").finished


def test_the_prior_of_the_readme_keeps_the_contract():
    (code,) = [text for kind, text in BLOCKS if kind == "python" and "class Laplace" in text]
    names: dict = {"__name__": "readme_prior"}
    exec(compile(code, "<README.md>", "exec"), names)  # noqa: S102
    check_prior(names["Laplace"])
    sizes = genprior.Sizes((1, 8, 8), 2, 0, 0)
    z = names["Laplace"].Config(scale=1.5).make(sizes).sample(torch.zeros(20_000, 0, dtype=torch.float64))
    # Under a fixed seed; the test refuses a right prior with probability 1e-4.
    assert scipy.stats.kstest(z.flatten().numpy(), scipy.stats.laplace(scale=1.5).cdf).pvalue > 1e-4


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(link):
    assert (ROOT / link).exists()


PAGES = [f"docs/{page}.md" for page in ("paper", "likelihood", "gans", "adversarial_autoencoders", "autoencoders")]


@pytest.mark.parametrize("page", PAGES)
def test_every_line_that_a_map_of_papers_quotes_stands_in_its_file(page):
    rows = re.findall(r"^\| .* \| `(.+)` \| `([^`]+)` \|$", (ROOT / page).read_text(), re.M)
    assert len(rows) >= 15
    for line, file in rows:
        assert line.replace("\\|", "|") in (ROOT / file).read_text(), f"{file} has no line {line}"


def test_ci_calls_the_test_command_of_the_readme():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "\nmake test\n" in README


def test_importing_genprior_imports_no_torch():
    code = "import sys, genprior; genprior.__version__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
