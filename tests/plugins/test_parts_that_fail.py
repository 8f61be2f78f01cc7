"""What a part raises becomes one line with row, role, part, plugin and the line of the plugin's file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import genprior
from genprior import PartFailed
from genprior.registry import GROUP, installed
from genprior.runs.part_errors import naming_parts, part_failed

SOURCE = """
import sys
import torch
from genprior import Decoder, Exporter, PartConfig, Prior, Score, hookimpl

def helper(a, b):
    return a @ b

class Bad(Prior):
    name = "bad"
    class Config(PartConfig):
        how: str = "raises"
        after: int = 0
    calls = 0
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        if config.how == "not made":
            raise KeyError("weights")
    def sample(self, asked):
        type(self).calls += 1
        if self.config.how == "leaves":
            sys.exit(0)
        if self.config.how == "library":
            helper(torch.zeros(3), torch.zeros(4))
        if self.config.how == "raises" and type(self).calls > self.config.after:
            raise ValueError("bad\\n  codes")
        return torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)

class BadScore(Score):
    name = "bad_score"
    higher_is_better = True
    def measure(self, context):
        raise ZeroDivisionError("no images")

class BadExporter(Exporter):
    name = "bad_exporter"
    suffixes = (".bad",)
    def write(self, model, path, *, n, seed, label):
        raise RuntimeError("no colour")

@hookimpl
def genprior_parts(register):
    for part in (Bad, BadScore, BadExporter):
        register(part)
"""
NAMED = "of plugin 'bad' (genprior-bad 1.2)"


@pytest.fixture
def bad(tmp_path, monkeypatch, no_curves):
    """The module of a plugin with parts that raise, installed."""
    site = tmp_path / "site"
    info = site / "genprior_bad-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "fake_genprior_bad.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genprior-bad\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nbad = fake_genprior_bad\n")
    monkeypatch.syspath_prepend(site)
    installed.cache_clear()
    installed()
    yield sys.modules["fake_genprior_bad"]
    sys.modules.pop("fake_genprior_bad")
    installed.cache_clear()


def line(text: str) -> int:
    return [text in each for each in SOURCE.splitlines()].index(True) + 1


def prior(how: str, after: int = 0) -> list[str]:
    return ["--set", f'model.prior={{name="bad", how="{how}", after={after}}}', "--rows", "AAE"]


CASES = {
    "raises": (f"{NAMED} raised ValueError: bad codes", 'raise ValueError("bad'),
    "not made": (f"{NAMED} raised KeyError: 'weights'", 'raise KeyError("weights")'),
    "leaves": (f"{NAMED} called sys.exit(0)", "sys.exit(0)"),
    "library": (f"{NAMED} raised RuntimeError: ", "return a @ b"),
}


@pytest.mark.parametrize("how", CASES)
def test_check_tells_in_one_line(bad, tiny, call, how):
    told, code = CASES[how]
    result = call("check", tiny, *prior(how))
    assert result.exit_code == 2
    headline, text, hint = result.stderr.strip().splitlines()[-3:]
    assert headline == "error: the recipe 'tiny' cannot be trained:"
    assert text.startswith(f"  prior 'bad' {told}")
    assert text.endswith(f", at {bad.__file__}:{line(code)} [row AAE]")
    assert hint == "--traceback shows the traceback"
    assert "Traceback" not in result.output


@pytest.mark.parametrize("before", [True, False])
def test_traceback_shows_all(bad, tiny, call, before):
    arguments = ["check", tiny, *prior("raises")]
    result = call(*(["--traceback", *arguments] if before else [*arguments, "--traceback"]))
    assert result.exit_code == 2
    assert "Traceback (most recent call last):" in result.stderr
    assert f'File "{bad.__file__}", line {line("raise ValueError")}, in sample' in result.stderr
    assert "--traceback shows" not in result.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_train_names_the_row_and_goes_on_with_the_others(bad, tiny, call, tmp_path, monkeypatch, jobs):
    text = tiny.read_text().replace(
        'label = "AAE"\nchanges = []',
        'label = "AAE"\nchanges = ["bad"]\n[change.bad.model.prior]\nname = "bad"\nafter = 3',
    )
    monkeypatch.setenv("PYTHONPATH", f"{Path(bad.__file__).parent}:{':'.join(sys.path)}")
    tiny.write_text(text)
    no_pictures = ("--set", "run.hooks.pictures.enabled=false")  # workers would import what draws them
    result = call("train", tiny, "--out", tmp_path / "out", "--jobs", jobs, *no_pictures)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    place = f"at {bad.__file__}:{line('raise ValueError')}"
    assert f"  AAE: row 'AAE': prior 'bad' {NAMED} raised ValueError: bad codes, {place}" in result.stderr
    assert "error: 1 of 2 runs failed:" in result.stderr
    assert "--traceback shows the traceback" in result.stderr and "Traceback" not in result.stderr
    assert genprior.load_run(tmp_path / "out" / "A+B+C" / "seed-0").finished


def test_sample_names_the_row(bad, tiny, call, tmp_path):
    recipe = genprior.load_recipe(tiny, rows=["AAE"], settings=['model.prior={name="bad", how="works"}'])
    genprior.train(recipe, out=tmp_path / "out", device="cpu")
    run = tmp_path / "out" / "AAE" / "seed-0"
    result = call("sample", run, "--to", tmp_path / "images.bad")
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: row 'AAE': exporter 'bad_exporter' {NAMED} raised RuntimeError: no colour, at "
        f"{bad.__file__}:{line('no colour')}\n--traceback shows the traceback\n",
    )
    scored = call("bench", run, "--score", "bad_score")
    told = f"score 'bad_score' {NAMED} raised ZeroDivisionError: no images, at {bad.__file__}:{line('no images')}"
    assert told in scored.output, scored.output
    assert scored.exit_code == 2 and "Traceback" not in scored.output
    recipe_file = run / "recipe.toml"
    recipe_file.write_text(recipe_file.read_text().replace('"works"', '"raises"'))
    with pytest.raises(PartFailed, match="row 'AAE': prior 'bad' of plugin 'bad'"):
        genprior.load_run(run).sample(2)


def test_the_role_is_named_where_it_is_not_the_kind(bad):
    from genprior import Sizes
    from genprior.engine.build import Builder

    builder = Builder("some_model", 0)
    with pytest.raises(PartFailed) as caught, naming_parts("AAE"):
        builder("style_prior", bad.Bad.Config(how="not made"), Sizes((1, 8, 8), 2, 0, 0))
    assert str(caught.value).startswith(f"row 'AAE': prior 'bad' (style_prior) {NAMED} raised KeyError: 'weights', at ")


def test_what_no_part_raised_is_left_alone():
    error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError) as caught, naming_parts("AAE"):
        raise error
    assert caught.value is error and part_failed(error) is None
    with pytest.raises(KeyboardInterrupt), naming_parts("AAE"):
        raise KeyboardInterrupt
