"""The published numbers: value, source, reliability, and the row of ours that each is compared with."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import genprior
from genprior.recipe.plan import Plan
from genprior.registry import installed
from genprior.tables.published import matching, of_plugins

RECIPES = Path(__file__).parents[2] / "recipes"
FILE = Path(__file__).parents[2] / "plugins" / "genprior_std" / "expected.toml"
READ = {"read in the paper", "read in the authors' repository", "read in a second-hand table"}
NEEDED = {"id": str, "paper": str, "where": str, "method": str, "data": str | dict, "metric": str, "value": float}
FIELDS = {"spread", "source", "verified", "note", "rows", "protocol"}


@pytest.fixture(scope="module")
def numbers() -> list[dict[str, Any]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))["number"]


def test_the_file_holds_numbers_and_nothing_else() -> None:
    assert set(tomllib.loads(FILE.read_text(encoding="utf-8"))) == {"number"}


def test_every_number_says_what_it_is(numbers: list[dict[str, Any]]) -> None:
    for number in numbers:
        for key, kind in NEEDED.items():
            assert isinstance(number.get(key), kind), (number.get("id"), key)
            assert number[key] != "", (number["id"], key)
        assert set(number) <= NEEDED.keys() | FIELDS, number["id"]
        data = number["data"] if isinstance(number["data"], str) else number["data"]["name"]
        metrics = {
            "cifar10": {"inception_score", "fid"},
            "mnist": {"nll", "parzen", "error_rate", "cluster_error"},
        }
        assert number["metric"] in metrics[data], number["id"]


def test_verified_is_what_was_read(numbers: list[dict[str, Any]]) -> None:
    for number in numbers:
        assert number["source"] in READ | {"recalled, unverified"}, number["id"]
        assert number["verified"] is (number["source"] in READ), number["id"]


def test_no_id_is_there_twice(numbers: list[dict[str, Any]]) -> None:
    ids = [number["id"] for number in numbers]
    assert len(ids) == len(set(ids))


def test_inception_scores_of_ten_classes_are_possible_ones(numbers: list[dict[str, Any]]) -> None:
    for number in numbers:
        if number["metric"] == "inception_score":
            assert 1 <= number["value"] <= 10, number["id"]
            assert 0 < number.get("spread", 0.1) < 1, number["id"]


def test_likelihoods_are_better_with_a_vampprior_and_with_more_samples(numbers: list[dict[str, Any]]) -> None:
    values = {number["id"]: number["value"] for number in numbers if number["metric"] == "nll"}
    for way in ("static", "dynamic"):
        assert values[f"vampprior_{way}_vae"] - values[f"vampprior_{way}_vampprior"] > 2
        assert values[f"vampprior_{way}_hvae"] > values[f"vampprior_{way}_hvae_vampprior"] > 80
    assert values["iwae_dynamic_1"] > values["iwae_dynamic_5"] > values["iwae_dynamic_50"]


def test_numbers_of_the_paper_are_those_of_its_table(numbers: list[dict[str, Any]]) -> None:
    table = {"DCGAN": 6.16, "WGAN-GP": 7.86, "BEGAN": 5.62, "DFM": 7.72}
    found = {n["method"]: n["value"] for n in numbers if n["where"] == "Table 1" and n["method"] in table}
    assert found == table


# ---------------------------------------------------------------------------------------------------------------------
# Beside our rows
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plans() -> dict[str, list[Plan]]:
    """The rows of all recipes that ship, as they are written, by the recipe's path."""
    return {
        path.relative_to(RECIPES).as_posix(): list(genprior.load_recipe(path).plans)
        for path in sorted(RECIPES.rglob("*.toml"))
    }


def test_every_row_that_a_number_names_is_in_a_recipe_and_measures_it(
    numbers: list[dict[str, Any]], plans: dict[str, list[Plan]]
) -> None:
    measured = {
        (plan.label, plan.data.name, score.name) for each in plans.values() for plan in each for score in plan.scores
    }
    for number in numbers:
        data = number["data"] if isinstance(number["data"], str) else number["data"]["name"]
        for label in number.get("rows", ()):
            assert (label, data, number["metric"]) in measured, (number["id"], label)


@pytest.mark.parametrize(
    ("recipe", "label", "metric", "values"),
    [
        ("infogan_mnist", "InfoGAN", "cluster_error", {5.0}),
        ("gans/dcgan", "DCGAN", "inception_score", {6.16}),
        ("gans/lsgan", "LSGAN", "inception_score", set()),
        ("gans/wgan_gp", "WGAN-GP", "inception_score", {7.86}),
        ("gans/wgan_gp", "WGAN-GP", "fid", set()),
        ("gans/wgan_gp_plain", "WGAN-GP plain", "inception_score", {6.68}),
        ("gans/wgan_gp_plain", "WGAN-GP plain", "fid", {40.2}),
        ("gans/began", "BEGAN", "inception_score", {5.62}),
        ("gans/dfm", "DFM", "inception_score", {7.72}),
        ("gans/catgan", "CatGAN", "inception_score", set()),
        ("table2_gans", "WGAN-GP plain", "inception_score", {6.68}),
        ("table2_gans", "DFM", "inception_score", {7.72}),
        ("table2_gans", "proposed", "inception_score", {7.31}),
    ],
)
def test_a_gan_has_its_own_published_number_beside_it(
    plans: dict[str, list[Plan]], recipe: str, label: str, metric: str, values: set[float]
) -> None:
    """LSGAN's score on CIFAR-10 is not known, and CatGAN has published none."""
    (plan,) = [plan for plan in plans[f"{recipe}.toml"] if plan.label == label]
    assert metric in {score.name for score in plan.scores}
    found = matching(of_plugins(installed()), label, plan.data.model_dump(), metric)
    assert {number.value for number in found} == values


def test_a_label_of_wgan_gp_means_one_kind_of_network(plans: dict[str, list[Plan]]) -> None:
    networks = {"WGAN-GP": "wgan_resnet", "WGAN-GP plain": "dcgan"}
    rows = [plan for each in plans.values() for plan in each if plan.label.startswith("WGAN-GP")]
    assert {plan.label for plan in rows} == set(networks)
    for plan in rows:
        model = plan.model.model_dump()
        assert {model["decoder"]["name"], model["image_critic"]["name"]} == {networks[plan.label]}


def test_rows_of_different_gans_are_not_called_alike(plans: dict[str, list[Plan]]) -> None:
    labels = [plan.label for recipe, each in plans.items() if recipe.startswith("gans/") for plan in each]
    assert len(labels) == len(set(labels)) == 7
    assert "base" not in {plan.label for each in plans.values() for plan in each}
