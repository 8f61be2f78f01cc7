"""docs/priors.md: its commands are valid, and its table of priors says what their classes state and do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import genprior
from genprior import Borrowed, Codes, DensityPrior, EnergyPrior, FittedPrior, PartConfig, PlanError, Sizes
from genprior.registry import installed
from genprior.testing.lent import LentEncoder

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "priors.md").read_text(encoding="utf-8")

# ---------------------------------------------------------------------------------------------------------------------
# Commands
# ---------------------------------------------------------------------------------------------------------------------

COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
    if line.startswith("genprior ")
]
COMMANDS += re.findall(r"`(genprior show [^`]+)`", PAGE)


class MyPrior(DensityPrior):
    """The prior of a reader of the page; the row 'Gaussian' needs a density."""

    name = "my_prior"

    class Config(PartConfig):
        """Its setting."""

        width: int = 32

    def sample(self, asked: torch.Tensor) -> torch.Tensor:
        """Draw codes [n, d]."""
        return torch.randn(len(asked), self.sizes.code, dtype=asked.dtype, device=asked.device)

    def log_prob(self, z: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """The log-density [n]."""
        normal: Any = torch.distributions.Normal(0.0, 1.0)
        return normal.log_prob(z).sum(1)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_valid(line, monkeypatch, tmp_path, call, clean_session):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    genprior.load_recipe("recipes/priors.toml", rows=["Gaussian"]).save("my_recipe.toml")
    genprior.register(MyPrior)
    launched: list[Any] = []

    def ranked(recipe: Any, folder: Path, *, by: str | None, **options: Any) -> int:
        from genprior.tables.rank import column_to_rank_by

        launched.append((recipe, column_to_rank_by(recipe, by)))
        return 0

    monkeypatch.setattr("genprior.cli.priors.priors", ranked)
    program, *arguments = shlex.split(line)
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert program == "genprior" and len(launched) == (arguments[0] == "priors")


def test_there_are_commands_on_the_page():
    assert len(COMMANDS) >= 6


# ---------------------------------------------------------------------------------------------------------------------
# The table of priors
# ---------------------------------------------------------------------------------------------------------------------

HEADING = "## Which priors there are"
TABLE = {
    cells[0].strip("`"): tuple(cells[1:])
    for line in PAGE.partition(HEADING)[2].partition("\n## ")[0].splitlines()
    if line.startswith("| `") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
}
WIDTHS = {"mixture": (2, 10), "swiss_roll": (2, 10), "gaussian_mixture": (3, 10), "categorical_gaussian": (5, 3)}
"""The code's and the condition's width for priors that refuse 3 and 3."""
NAMES = [
    name for name in installed().names("prior") if installed().find("prior", name).__module__.startswith("genprior_std")
]


def part_of(name: str) -> Any:
    return installed().find("prior", name)


def codes(name: str, one_hot: bool) -> Codes:
    """Codes of clusters, one for each condition: a one-hot, or a vector."""
    d, k = WIDTHS.get(name, (3, 3))
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(100) % k
    asked = torch.eye(k)[group] if one_hot else torch.randn(k, k, generator=generator)[group]
    return Codes(10.0 * group[:, None] + torch.randn(100, d, generator=generator), asked)


def built(part: Any, code: int, asked: int, one_hot: bool = True) -> Any:
    """The prior as a model makes it, with a small encoder to borrow."""
    sizes = Sizes((1, 8, 8), code, 0, asked, one_hot and asked > 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = part(part.Config(), sizes, **{role: Borrowed(LentEncoder(sizes)) for role in part.borrows})
        prior.begin(images)
    return prior


def images(n: int | None) -> genprior.Batch:
    """Training images at random."""
    count = 50 if n is None else n
    x = torch.rand(count, 1, 8, 8) * 2 - 1
    return genprior.Batch(x, torch.zeros(count, dtype=torch.int64), index=torch.arange(count))


def use_of_condition(name: str, one_hot: bool) -> str:
    """Whether the prior refuses this kind of condition, ignores it, or draws other codes for another one."""
    part, given = part_of(name), codes(name, one_hot)
    try:
        if issubclass(part, FittedPrior):
            prior = genprior.fit_prior(part.Config(), given, steps=1, batch=50)
        else:
            prior = built(part, given.z.shape[1], given.asked.shape[1], one_hot)
    except PlanError:
        return "refused"
    drawn = []
    for row in given.asked[:2]:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(1)
            drawn.append(prior.sample(row.expand(200, -1)))
    return "ignored" if torch.equal(*drawn) else "used"


def needs_a_condition(name: str) -> bool:
    """Whether it refuses codes of every width without a condition."""
    for code in (2, 3, 12):
        try:
            built(part_of(name), code, 0)
        except PlanError:
            continue
        return False
    return True


UPDATED = {"nested_crp"}
"""Priors whose model sets their buffers in closed form as its training goes on."""
CONDITIONS = {("used", "used"): "any", ("used", "refused"): "label", ("ignored", "ignored"): "ignored"}
"""The cell of the table by what the prior does with a one-hot and with another vector."""


def test_the_priors_that_a_model_updates_say_so():
    assert {name for name in NAMES if part_of(name).updated_by_model} == UPDATED


def test_every_prior_that_comes_with_genprior_is_in_the_table():
    assert list(TABLE) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_line_of_the_table(name):
    part = part_of(name)
    fitted = issubclass(part, FittedPrior)
    afterwards = "-" if not fitted else "closed form" if part.closed_form else "steps"
    density = "yes" if issubclass(part, DensityPrior) else "up to a constant" if issubclass(part, EnergyPrior) else "-"
    with_the_model = "-"
    if not fitted or part.joint:
        prior = built(part, *WIDTHS.get(name, (3, 3)))
        with_the_model = "learned" if name in UPDATED or any(True for _ in prior.parameters()) else "fixed"
    condition = CONDITIONS[use_of_condition(name, True), use_of_condition(name, False)]
    condition += ", required" if needs_a_condition(name) else ""
    assert TABLE.get(name) == (with_the_model, afterwards, density, condition)
