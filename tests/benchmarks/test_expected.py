"""The published numbers: each says what it is, where it stands, and how well it is known."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "plugins" / "genprior_std" / "expected.toml"
READ = {"read in the paper", "read in the authors' repository", "read in a second-hand table"}
NEEDED = {"id": str, "paper": str, "where": str, "method": str, "data": str | dict, "metric": str, "value": float}


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
        assert set(number) <= NEEDED.keys() | {"spread", "source", "verified", "note", "rows"}, number["id"]
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
