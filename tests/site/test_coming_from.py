"""Coming from pythae and from torch-fidelity: every name is mapped, and every line of a recipe trains a step."""

from __future__ import annotations

import dataclasses
import re
import tomllib

import pytest
import torch_fidelity
from torch_fidelity.defaults import DEFAULTS

import genprior
from genprior.launch.preflight import preflight
from genprior.registry import installed

from .pages import ROOT

TEXT = {
    page: (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for page in ("coming-from-pythae", "coming-from-torch-fidelity")
}


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the table below a heading."""
    body = TEXT[page].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


SECTIONS = ["Models", "Samplers", "Options of models", "Options of samplers", "Options of trainers"]
LINES = [
    code
    for heading in SECTIONS
    for row in table("coming-from-pythae", heading)
    for code in re.findall(r"`([^`]+)`", row[1])
    if " = " in code
]
LIKELIHOOD = {"vae", "iwae", "vae_gan", "hvae", "wae"}


def model_of(tables: dict) -> dict:
    """A model of the name in these tables, `vae` by default, with all that it needs, changed by them."""
    changed = tables.get("model", {})
    name = changed.get("name", "vae")
    posterior = "gaussian" if name in LIKELIHOOD else "point"
    whole = {
        "name": name,
        "prior": {"name": "gaussian"},
        "encoder": {"name": "mlp", "posterior": posterior},
        "decoder": {"name": "mlp"},
        "reconstruction": {"name": "pixel", "metric": "gaussian", "reduction": "sum"},
        "code_critic": {"name": "code_mlp"},
        "image_critic": {"name": "image_convolutional", "width": 4, "hidden": 8},
        "code_game": {"name": "nonsaturating"},
        "image_game": {"name": "nonsaturating"},
    }
    fields = installed().find("model", name).Config.model_fields
    needed = {
        key: value for key, value in whole.items() if key in fields and fields[key].is_required() or key == "name"
    }
    for key, value in changed.items():
        before = needed.get(key)
        nested = isinstance(value, dict) and isinstance(before, dict) and "name" not in value
        needed[key] = {**before, **value} if nested else value
    return needed


def recipe_of(line: str) -> genprior.Recipe:
    """A recipe of one row with this line."""
    tables = tomllib.loads(line)
    run = {"batch": 8, **tables.get("run", {})}
    return genprior.make_recipe(
        {
            "title": "one",
            "data": {"name": "digits", "size": 16, "validation": 200, "binarise": "static"},
            "run": run if "epochs" in run else {"steps": 1_000, **run},
            "optimiser": tables.get("optimiser", {"default": {"lr": 1e-3}}),
            "model": model_of(tables),
        }
    )


@pytest.mark.parametrize("line", sorted(set(LINES)))
def test_every_line_that_replaces_pythaes_is_accepted(line: str) -> None:
    (plan,) = recipe_of(line).plans
    assert plan.model.name == tomllib.loads(line).get("model", {}).get("name", "vae")


@pytest.mark.slow
@pytest.mark.parametrize("line", sorted(set(LINES)))
def test_every_line_that_replaces_pythaes_trains_a_step(line: str) -> None:
    if '"flow"' in line:
        pytest.importorskip("zuko", reason="zuko is not installed; the extra `flow` has it")
    (*_, pace) = preflight(recipe_of(line), timed=True)
    assert pace.seconds is not None and pace.seconds > 0, "no whole batch could be trained"


def test_lines_of_both_forms_are_found() -> None:
    assert len(LINES) >= 45 and set(SECTIONS) <= set(re.findall(r"^## (.*)$", TEXT["coming-from-pythae"], re.M))


def pythae_names(heading: str) -> set[str]:
    return {name for row in table("coming-from-pythae", heading) for name in re.findall(r"`(\w+)", row[0])}


def test_every_model_sampler_and_option_of_pythae_is_there() -> None:
    pytest.importorskip("pythae", reason="pythae is not installed; the extra `benchmarks` has it")
    from pythae import models, samplers, trainers

    def options(module, known: set[str]) -> set[str]:
        found = [each for name, each in vars(module).items() if name.endswith("Config")]
        return {field.name for each in found for field in dataclasses.fields(each)} - {"name"} - known

    abstract = {"AutoModel", "BaseAE", "BaseSampler"}
    of_models = {name for name in models.__all__ if not name.endswith("Config")} - abstract
    of_samplers = {name for name in samplers.__all__ if not name.endswith("Config")} - abstract
    assert pythae_names("Models") == of_models
    assert pythae_names("Samplers") == of_samplers
    assert options(models, set()) <= pythae_names("Options of models")
    assert options(samplers, {"reconstruction_loss"}) <= pythae_names("Options of samplers")
    assert options(trainers, set()) <= pythae_names("Options of trainers")


def test_every_option_of_torch_fidelity_is_there_and_nothing_else() -> None:
    assert torch_fidelity.__version__.startswith("0.4")
    named = {name for row in table("coming-from-torch-fidelity", "Options") for name in re.findall(r"`(\w+)`", row[0])}
    assert named == set(DEFAULTS)


def test_the_settings_that_replace_torch_fidelitys_exist() -> None:
    registry = installed()
    for score, settings in {
        "fid": {"extractor", "weights", "reference", "samples"},
        "kid": {"subsets", "subset_size"},
        "inception_score": {"splits"},
        "precision_recall": {"neighborhood"},
    }.items():
        assert settings <= set(registry.find("score", score).Config.model_fields)
