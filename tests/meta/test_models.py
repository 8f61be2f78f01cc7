"""Models follow their papers: one paper per file, base classes without losses, no usable model derived from another."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import genprior_std
from genprior import Model
from genprior_std.parts import PARTS

FOLDER = Path(genprior_std.__file__).parent
FILES = sorted(file for room in ("models", "model_pieces") for file in (FOLDER / room).glob("*.py"))
LONGEST = 160
FINAL = [part for part in PARTS if issubclass(part, Model)]


def classes_of(file):
    """The models, usable or not, that a file defines."""
    module = importlib.import_module(f"genprior_std.{file.parent.name}.{file.stem}")
    return [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Model) and each.__module__ == module.__name__
    ]


HELD = [file for file in FILES if classes_of(file)]
CLASSES = [each for file in HELD for each in classes_of(file)]
BASES = [each for each in CLASSES if each not in FINAL]


def tree_of(model):
    (tree,) = ast.parse(inspect.getsource(model)).body
    return tree


def named_phases(model):
    """The pairs of a phase's name and the method that it calls, as `phases` of the class writes them."""
    return {
        (call.args[0].value, call.args[1].attr)
        for call in ast.walk(tree_of(model))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", None) == "Phase"
        # Phases that are made in a loop have names of their own.
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[1], ast.Attribute)
    }


def computes_losses(function):
    return "Objectives" in str(getattr(function, "__annotations__", {}).get("return"))


def test_a_folder_holds_the_models_and_nothing_else():
    files = {file.stem for file in (FOLDER / "models").glob("*.py")} - {"__init__"}
    assert files == {part.__module__.removeprefix("genprior_std.models.") for part in FINAL}


def test_this_looks_at_all_models():
    assert set(FINAL) <= set(CLASSES)
    assert {each.__name__ for each in BASES} == {
        "AutoregressiveAutoencoder",
        "CategoryAndStyle",
        "CategoryBesideStyle",
        "LatentModel",
        "PointsAboutHeads",
        "ReconstructionLikelihood",
        "SingleCodeModel",
    }


@pytest.mark.parametrize("file", HELD, ids=lambda file: file.stem)
def test_a_model_fits_on_two_pages(file):
    assert len(file.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("file", HELD, ids=lambda file: file.stem)
def test_a_file_of_a_model_needs_no_other_model(file):
    imported = {
        node.module
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert not imported & {part.__module__ for part in FINAL}


@pytest.mark.parametrize("model", CLASSES, ids=lambda model: model.__name__)
def test_no_model_derives_from_one_that_can_be_used(model):
    assert not [base for base in model.__mro__[1:] if base in FINAL]


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_base_classes_only_answer_questions(base):
    assert not {"Config", "__init__", "phases"} & base.__dict__.keys()
    assert not [name for name, each in vars(base).items() if computes_losses(each)]


@pytest.mark.parametrize("model", [each for each in CLASSES if each in FINAL], ids=lambda model: model.name)
def test_a_model_has_its_settings_and_phases_in_its_own_file(model):
    # A named part's Config derives from the one that its class body holds.
    (written, *_) = model.Config.__bases__
    assert written.__module__ == model.__module__ and written.__qualname__ == f"{model.__name__}.Config"
    assert {"__init__", "phases"} <= model.__dict__.keys()
    assert written.__bases__[0].__name__ == "PartConfig"
    for _, method in named_phases(model):
        assert method in model.__dict__


@pytest.mark.parametrize("model", CLASSES, ids=lambda model: model.__name__)
def test_no_phase_stands_in_a_class_above(model):
    phases = {method for _, method in named_phases(model)}
    assert not [base for base in model.__mro__[1:] if phases & base.__dict__.keys()]


def test_a_phase_has_one_name_in_all_models():
    pairs = {pair for model in FINAL if model in CLASSES for pair in named_phases(model)}
    assert len({name for name, _ in pairs}) == len({method for _, method in pairs}) == len(pairs)
    assert {("regularise", "regularise"), ("classify", "learn_labels"), ("improve_prior", "improve_prior")} <= pairs
