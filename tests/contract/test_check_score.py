"""`check_score` accepts a right score, and says of each wrong one what is wrong and what to do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field

from genprior import Column, PartConfig, SampleScore, Score, ScoreError, seeded
from genprior.testing import ContractError, check_score


class Brightness(SampleScore):
    """How far the mean of generated pixels is from that of test images, on half of the generated images."""

    name = "test_brightness"
    higher_is_better = False

    class Config(PartConfig):
        """Settings of the score."""

        samples: int = Field(24, gt=0)
        """How many images are generated."""

    def measure(self, context: Any) -> Any:
        generated, real = context.generated(self.samples), context.real("test").images
        with seeded(context.seed, self.name):
            half = generated[torch.randperm(len(generated))[: len(generated) // 2]]
        return {self.name: float((half.double().mean() - real.double().mean()).abs())}


class Plain(Score):
    """A score without images."""

    name = "test_plain"
    higher_is_better = True

    def measure(self, context: Any) -> Any:
        return {self.name: 1.0}


def returns(value: Any) -> dict[str, Any]:
    return {"measure": lambda self, context: value(Brightness.measure(self, context)[self.name], self.name)}


def trains(self: Any, context: Any) -> Any:
    with context.trained() as model:
        next(model.parameters()).add_(1)
    return {self.name: 1.0}


def draws(self: Any, context: Any) -> Any:
    return {self.name: float(torch.rand(()))}


def darkens(self: Any, context: Any) -> Any:
    return {self.name: float(context.generated(self.samples).zero_().sum())}


def samples_elsewhere(self: Any, context: Any) -> Any:
    return {self.name: self.no_such_setting}


BROKEN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a number alone", returns(lambda value, name: value), ["a dictionary of numbers", "return {self.name: number}"]),
    ("nothing", returns(lambda value, name: None), ["a NoneType", "a dictionary of numbers"]),
    ("a tensor", returns(lambda value, name: {name: torch.tensor(value)}), ["float32 on cpu", "float(...)"]),
    ("numpy's number", returns(lambda value, name: {name: np.float32(value)}), ["a float32", "float(...)"]),
    ("nan", returns(lambda value, name: {name: math.nan}), ["nan, a float", "genprior.ScoreError"]),
    ("another name", returns(lambda value, name: {"bright": value}), ["the names bright", "broken", "columns"]),
    ("another number each time", {"measure": draws}, ["twice", "genprior.seeded(context.seed"]),
    ("changes the model", {"measure": trains}, ["the model or the generated images have changed"]),
    ("changes the images", {"measure": darkens}, ["the generated images have changed", "work on a copy"]),
    ("raises", {"measure": samples_elsewhere}, ["AttributeError", "no_such_setting", "look at"]),
    ("a row check that raises", {"check_row": lambda s, model, load: 1 / 0}, ["check_row(", "ZeroDivisionError"]),
    ("columns without a tuple", {"columns": Column("a", "a", True)}, ["columns", "a sequence of genprior.Column"]),
    ("needs in a tuple", {"needs": ("validation",)}, ["needs", "a mapping from the name of a split"]),
    ("a bound in a text", {"at_most": "samples"}, ["at_most", "a tuple of the names of settings"]),
    (
        "a bound that is no setting",
        {"at_most": ("pictures",)},
        ["at_most", 'write at_most = ("images",) for a setting'],
    ),
    ("no caveat", {"caveat": None}, ["caveat", "a text"]),
    ("a protocol in one text", {"protocol": lambda s, settings, network: "words"}, ["protocol(", "a list of texts"]),
    ("facts in a list", {"facts": lambda s, key, data: ["samples"]}, ["facts(", "a mapping of facts by name"]),
    ("facts that raise", {"facts": lambda s, key, data: 1 / 0}, ["facts(", "ZeroDivisionError"]),
    ("a direction in words", {"higher_is_better": "no"}, ["higher_is_better", "'no', a str", "True or False"]),
]


@pytest.mark.parametrize("part", [Brightness, Brightness.Config(samples=8), Plain])
def test_a_right_score(part: Any) -> None:
    assert check_score(part) is None


@pytest.mark.parametrize(("what", "changes", "words"), BROKEN, ids=[each[0].replace(" ", "-") for each in BROKEN])
def test_what_is_broken_is_found(what: str, changes: dict[str, Any], words: list[str]) -> None:
    broken = type("Broken", (Brightness,), {**changes, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        check_score(broken)
    for word in ["score 'broken'", *words, "came back:", "contract:", "what to do:"]:
        assert word in str(caught.value)


def test_a_score_without_a_direction() -> None:
    broken = type("Broken", (Score,), {"measure": Plain.measure, "name": "broken"})
    with pytest.raises(ContractError, match=r"(?s)higher_is_better\n.*nothing.*write higher_is_better = False"):
        check_score(broken)


def test_a_sample_score_without_samples() -> None:
    attributes = {"measure": Plain.measure, "name": "broken", "higher_is_better": True}
    with pytest.raises(ContractError, match=r"a SampleScore has a setting `samples`"):
        check_score(type("Broken", (SampleScore,), attributes))


@pytest.mark.parametrize("method", ["check", "check_row", "measure"])
def test_a_score_may_refuse(method: str) -> None:
    def refuse(self: Any, *args: Any) -> Any:
        raise ScoreError("this model has no clusters")

    assert check_score(type("Refusing", (Brightness,), {method: refuse, "name": "refusing"})) is None
