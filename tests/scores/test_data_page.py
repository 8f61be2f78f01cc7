"""The scores that the commands of docs/data.md name have these settings, and what the prior costs needs no download."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from genprior.registry import installed

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def scores_of(text: str) -> list[dict[str, Any]]:
    """The scores of all `genprior bench` commands of a text, as tables."""
    found = []
    for line in re.findall(r"^genprior bench .*$", text, re.M):
        words = shlex.split(line)
        for option, value in zip(words, words[1:], strict=False):
            if option == "--score":
                found.append(tomllib.loads(f"score = {value}")["score"] if "{" in value else {"name": value})
    return found


def test_commands_of_the_page_have_scores() -> None:
    assert len(scores_of(PAGE)) >= 7


@pytest.mark.parametrize("table", scores_of(PAGE), ids=str)
def test_the_settings_of_a_score_are_valid(table: dict[str, Any]) -> None:
    settings = {key: value for key, value in table.items() if key != "name"}
    read = installed().find("score", table["name"]).Config.model_validate(settings).model_dump(mode="json")
    assert {key: read[key] for key in settings} == settings  # as the page says, none of them changed or left out


def test_what_the_prior_costs_and_copies_are_measured_without_inception() -> None:
    sections = re.findall(r"^### (?:What the prior costs|Copies of training images)\n(.*?)(?=^##)", PAGE, re.M | re.S)
    tables = [table for section in sections for table in scores_of(section)]
    assert {table["name"] for table in tables} >= {"reconstruction_fid", "code_mmd", "density_coverage", "memorisation"}
    for table in tables:
        settings = {key: value for key, value in table.items() if key != "name"}
        config = installed().find("score", table["name"]).Config.model_validate(settings)
        assert config.model_dump().get("extractor") != "inception"
