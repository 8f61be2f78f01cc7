"""`check_exporter` accepts a right exporter, and says of each wrong one what is wrong and what to do."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genprior import Exporter, PlanError, TextExporter, generate, whole_file
from genprior.testing import ContractError, check_exporter


class Plain(Exporter):
    """A file that `torch.load` reads."""

    name = "test_plain"
    suffixes = (".pt",)
    writes = "a tensor"

    def write(self, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
        images = generate(model, n, seed=seed, label=label)
        with whole_file(Path(path)) as partial:
            partial.write_bytes(images.numpy().tobytes())


class Captioned(TextExporter):
    """One that takes sentences too."""

    name = "test_captioned"

    def write(self, model: Any, path: Any, *, n: int, seed: int, label: int | None, text: Any = None) -> None:
        images = generate(model, n, seed=seed, label=label, text=text)
        with whole_file(Path(path)) as partial:
            partial.write_bytes(images.numpy().tobytes())


def opened_first(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    with Path(path).open("wb") as file:
        file.write(generate(model, n, seed=seed, label=label).numpy().tobytes())


def without_labels(self: Any, model: Any, path: Any, *, n: int, seed: int) -> None:
    Plain.write(self, model, path, n=n, seed=seed, label=None)


def by_index(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=seed, label={None: None, 0: 0}[label])


def other_ending(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    np.savez(path, images=generate(model, n, seed=seed, label=label).numpy())


def one_seed(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=0, label=label)


def no_seed(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=int(torch.randint(1000, ())), label=label)


def own_seed(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=random.randrange(2**30), label=label)


def dated(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=seed, label=label)
    path.write_bytes(path.read_bytes() + random.randbytes(8))


class Dated(Plain):
    """A format with a date."""

    name = "test_dated"
    write = dated


def left_training(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=seed, label=label)
    model.train()


def beside(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=seed, label=label)
    path.with_name("notes.txt").write_text("written")


def refuses_late(self: Any, model: Any, path: Any, *, n: int, seed: int, label: int | None) -> None:
    Plain.write(self, model, path, n=n, seed=seed, label=label)
    if label is not None:
        raise PlanError("no labels here")


BROKEN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("opened first", {"write": opened_first}, ["which fails", "whole or not at all", "genprior.whole_file"]),
    ("no argument for labels", {"write": without_labels}, ["TypeError", "'label'"]),
    ("labels that raise", {"write": by_index}, ["label=1", "KeyError: 1", "genprior.GenpriorError"]),
    ("another ending", {"write": other_ending}, ["first.pt.npz beside the file", "append an ending"]),
    ("always one seed", {"write": one_seed}, ["with seed=1", "the same images", "use the seed that is given"]),
    ("no seed", {"write": no_seed}, ["torch's random state has changed", "genprior.seeded"]),
    ("its own seed", {"write": own_seed}, ["twice", "other images the second time", "seed=seed"]),
    ("the model's mode", {"write": left_training}, ["the model has changed", "genprior.evaluating(model)"]),
    ("a second file", {"write": beside}, ["notes.txt beside the file", "one file at the path"]),
    ("nothing", {"write": lambda s, *args, **settings: None}, ["no file, or an empty one"]),
    ("refuses late", {"write": refuses_late}, ["label=1", "label.pt is left"]),
    ("raises", {"write": lambda s, model, *args, **settings: model.no_such_thing}, ["AttributeError", "look at"]),
    (
        "settings of another",
        {"for_classes": classmethod(lambda cls, n: Plain.Config())},
        ["for_classes(3)", "cls.Config"],
    ),
    ("no words", {"writes": ""}, ["writes", "in words"]),
]


@pytest.mark.parametrize("part", [Plain, Captioned, Dated])
def test_a_right_exporter(part: Any) -> None:
    assert check_exporter(part) is None


@pytest.mark.parametrize(("what", "changes", "words"), BROKEN, ids=[each[0].replace(" ", "-") for each in BROKEN])
def test_what_is_broken_is_found(what: str, changes: dict[str, Any], words: list[str]) -> None:
    broken = type("Broken", (Plain,), {**changes, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        check_exporter(broken)
    for word in ["exporter 'broken'", *words, "came back:", "contract:", "what to do:"]:
        assert word in str(caught.value)


def test_an_exporter_may_refuse_the_model() -> None:
    def refuse(self: Any, *args: Any, **settings: Any) -> None:
        raise PlanError("this model has no codes")

    assert check_exporter(type("Refusing", (Plain,), {"write": refuse, "name": "refusing"})) is None
