"""A class of models is abstract or final: a base answers questions, and a paper's file can be read by itself."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from genprior.parts import LikelihoodModel, Model
from genprior_std.parts import PARTS

FINAL = ("vae", "iwae", "hvae", "ncrp_vae", "vae_gan", "gan", "pixelcnn", "pixelgan", "pixelgan_semi_supervised")
MODELS = [part for part in PARTS if part.kind == "model" and part.name in FINAL]


def bases_of(model):
    """The bases between a model and those of the core."""
    return [base for base in model.__mro__[1:] if issubclass(base, Model) and base not in (Model, LikelihoodModel)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_base_class_is_no_model_and_has_no_settings_no_init_and_no_phases(model):
    for base in bases_of(model):
        assert inspect.isabstract(base) and not base.name
        assert not {"Config", "__init__", "phases", "generating", "begin"} & vars(base).keys()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_states_its_settings_and_overrides_no_phase(model):
    own = vars(model)
    assert {"Config", "__init__", "phases"} <= own.keys()
    # The named configuration derives from the one that the class body states, and that one from none of a model.
    stated = model.Config.__mro__[1]
    assert stated.__module__ == model.__module__ and len(stated.__mro__[1:]) == len(Model.Config.__mro__)
    inherited = {name for base in bases_of(model) for name in vars(base)}
    questions = {name for name in vars(Model) if not name.startswith("_")}
    assert {name for name in own.keys() & inherited if not name.startswith("_")} <= questions


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_file_of_a_model_is_short_and_imports_no_other_model(model):
    text = Path(inspect.getfile(model)).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 160
    others = {part.__module__ for part in PARTS if part.kind == "model"} - {model.__module__}
    assert not [other for other in others if f"from {other} import" in text]
