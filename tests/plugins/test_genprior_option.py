"""`pytest --genprior MODULE`: a test for each part and check, and what is said where there is nothing to check."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

import genprior
from genprior import testing
from genprior.runs.plugin_parts import plugin_parts

pytest_plugins = ["pytester"]
ROOT = Path(genprior.__file__).parents[1]
INSTALLED = bool(metadata.entry_points(group="pytest11", name="genprior"))
PLUGIN = () if INSTALLED else ("-p", "genprior.testing.pytest_plugin")
"""The entry point loads it where genprior is installed."""

PARTS = '''
import torch
from genprior import EncoderSpec, Game, PartConfig, PlanError, Prior, Schedule, ScheduleConfig, hookimpl
from torch.nn.functional import softplus


class Wide(Prior):
    """N(0, scale^2)."""

    name = "wide"

    class Config(PartConfig):
        """Settings."""

        scale: float
        """The standard deviation."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        if sizes.asked:
            raise PlanError("prior 'wide' takes no condition; train without one")

    def sample(self, asked):
        return self.config.scale * torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)


class Halves(Schedule):
    """Half of the rate."""

    name = "halves"

    class Config(ScheduleConfig):
        """Settings."""

    def factor(self, step, steps):
        return 0.5


class Broken(Schedule):
    """A text in place of a factor."""

    name = "broken"

    class Config(ScheduleConfig):
        """Settings."""

    def factor(self, step, steps):
        return "half"


@hookimpl
def genprior_parts(register):
    for part in (Wide, Halves, Broken):
        register(part)
'''

RECIPE = """
title = "wide"
data = { name = "digits", size = 8 }
[run]
steps = 2
[optimiser.default]
lr = 1e-3
[model]
name = "aae"
code_size = 2
prior = { name = "wide", scale = 2.0 }
encoder = { name = "mlp", hidden = [8] }
decoder = { name = "mlp", hidden = [8] }
code_critic = { name = "code_mlp", hidden = [8] }
reconstruction = { name = "pixel" }
code_game = { name = "nonsaturating" }
"""


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """pytester forgets modules that were first imported in a run, and a second import would define classes again."""
    plugin_parts("genprior_std")
    for name in testing.__all__:
        getattr(testing, name)


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    (pytester.path / "my_parts.py").write_text(PARTS)
    (pytester.path / "wide.toml").write_text(RECIPE)
    (pytester.path / "test_other.py").write_text("def test_other():\n    pass\n")
    monkeypatch.syspath_prepend(str(pytester.path))
    return pytester.path


@pytest.fixture
def pytest_with(pytester: pytest.Pytester, folder: Path) -> Callable[..., pytest.RunResult]:
    """Runs pytest with the plugin in the folder, in this process, which has imported torch already."""

    def run(*options: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *PLUGIN, "-W", "error", *options)

    return run


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "plugins", folder)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


def printed(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def test_each_part_and_check_is_a_test_beside_the_others(pytest_with) -> None:
    done = pytest_with("--genprior", "my_parts", "-v", "-rs", "--tb=short")
    lines = [line.partition(" [")[0].rstrip() for line in done.outlines if "::" in line and "%]" in line]
    assert done.ret == 1
    assert [" ".join(line.partition(" (")[0].split()) for line in lines] == [
        "test_other.py::test_other PASSED",
        "my_parts::prior-wide::check_prior SKIPPED",
        "my_parts::prior-wide::check_prior[asked=3] SKIPPED",
        "my_parts::schedule-broken::check_schedule FAILED",
        "my_parts::schedule-halves::check_schedule PASSED",
    ]
    assert "schedule 'broken' (my_parts.Broken) breaks its contract" in str(done.stdout)
    assert (
        "Traceback" not in str(done.stdout)
        and "pytest_plugin.py" not in str(done.stdout).partition("short test summary")[0]
    )
    said = printed(done.outlines)
    assert "prior 'wide' has settings without a default: scale. Give a recipe that names the part with" in said


def test_a_recipe_gives_the_settings(pytest_with) -> None:
    options = ("--genprior", "my_parts", "--genprior-recipe", "wide.toml", "-k", "wide", "-rs")
    done = pytest_with(*options)
    assert done.ret == 0
    assert "1 passed, 1 skipped, 3 deselected" in str(done.stdout)
    assert "it refuses a condition: prior 'wide' takes no condition" in printed(done.outlines)


def test_a_package_of_which_the_entry_point_is_a_part_and_a_plugin_by_its_name(pytest_with) -> None:
    done = pytest_with("--genprior=genprior_std", "--genprior=my_parts", "--collect-only", "-q")
    assert "genprior_std::prior-gaussian::check_prior\n" in str(done.stdout)
    assert "genprior_std::critic-code_mlp::check_critic[known=3]\n" in str(done.stdout)
    assert "my_parts::schedule-halves::check_schedule\n" in str(done.stdout)


REFUSED = {
    "there is no module nothing.here": ("nothing.here", ""),
    "broken cannot be imported: ZeroDivisionError: division by zero": ("broken", "1 / 0\n"),
    "broken cannot be imported: ModuleNotFoundError: No module named 'absent'": ("broken", "import absent\n"),
    "broken cannot be imported: it called sys.exit(3)": ("broken", "raise SystemExit(3)\n"),
    "broken registers no part that can be checked: it has no hook function": ("broken", "\n"),
    "broken registers no part that can be checked: plugin 'broken' (not installed) offers nothing": (
        "broken",
        "import genprior\n@genprior.hookimpl\ndef genprior_parts(register):\n    pass\n",
    ),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_module_that_cannot_be_checked_ends_pytest_with_a_line(text: str, folder: Path, pytest_with) -> None:
    module, code = REFUSED[text]
    (folder / "broken.py").write_text(code)
    done = pytest_with("--genprior", module)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --genprior: {text}" in printed(done.errlines)
    assert "Traceback" not in f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("module", ["", ".", "..", ".parts", "./parts.py", "parts.py", "/a/parts", "parts:Wide", "a b"])
def test_a_file_in_place_of_a_module(module: str) -> None:
    with pytest.raises(genprior.GenpriorError, match="is no name of a module, such as genprior_mine: give the module"):
        plugin_parts(module)


def test_a_module_that_lacks_another_whose_name_begins_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking_other.py").write_text("import lacking")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(genprior.GenpriorError, match="lacking_other cannot be imported: .* No module named 'lacking'"):
        plugin_parts("lacking_other")


def test_a_recipe_without_a_module(pytest_with) -> None:
    done = pytest_with("--genprior-recipe", "wide.toml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "gives settings for the parts of --genprior MODULE, which is missing" in printed(done.errlines)


def test_a_recipe_that_is_wrong(folder: Path, pytest_with) -> None:
    (folder / "wide.toml").write_text(RECIPE.replace('"pixel"', '"pixels"'))
    done = pytest_with("--genprior", "my_parts", "--genprior-recipe", "wide.toml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "there is no reconstruction named 'pixels'; did you mean 'pixel'?" in printed(done.errlines)


def test_without_the_option_neither_torch_nor_other_modules_of_genprior_are_imported(folder: Path) -> None:
    (folder / "test_other.py").write_text(
        "import sys\n\n\ndef test_other():\n"
        "    assert 'torch' not in sys.modules\n"
        "    found = {name for name in sys.modules if name.split('.')[0] == 'genprior'}\n"
        "    assert found == {'genprior', 'genprior.version', 'genprior.testing', 'genprior.testing.pytest_plugin'}\n"
    )
    done = pytest_in(folder, *PLUGIN)
    assert done.returncode == 0, done.stdout


def test_pytest_finds_it_by_its_entry_point(folder: Path) -> None:
    about = folder / "genprior_installed-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: genprior-installed\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[pytest11]\ngenprior = genprior.testing.pytest_plugin\n")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\ngenprior = "genprior.testing.pytest_plugin"\n' in project
    if INSTALLED:  # twice would be an error
        (about / "entry_points.txt").unlink()
    done = pytest_in(folder, "--help")
    assert "--genprior=MODULE" in done.stdout
    off = pytest_in(folder, "-p", "no:genprior", "test_other.py")
    assert off.returncode == 0 and "1 passed" in off.stdout, off.stdout + off.stderr
