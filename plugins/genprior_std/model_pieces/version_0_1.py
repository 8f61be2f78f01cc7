"""Rows of version 0.1 whose models have settings that are models of their own now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["without_setting_labels_alone"]

STYLE = {"aae_semi_supervised": 5, "aae_dimension_reduction": 2, "pixelgan_semi_supervised": 0}
"""The models that had the setting `labels_alone`, with the default size of their style."""
SETTINGS = {
    *("name", "labels_alone", "code_size", "prior", "encoder", "decoder", "reconstruction", "conditioner"),
    *("category_critic", "style_critic", "code_critic", "image_critic"),
    *("category_game", "style_game", "code_game", "image_game", "improves", "reconstruction_as_fake"),
    *("rec_weight", "category_weight", "style_weight", "adversarial_weight", "label_weight"),
    *("categories", "labels", "eta", "repulsion_weight", "on_circle"),
}
"""The settings that these models had."""


def without_setting_labels_alone(recipe: Mapping[str, Any], baseline: str) -> Mapping[str, Any]:
    """The row with the model `baseline` where its model has `labels_alone = true`; other rows as they are.

    A row with a setting that the model never had, or with optimiser settings of another module, is returned unchanged,
    so that the validation of its own model reports the mistake.

    Args:
        recipe: the tables of a row.
        baseline: the name of the model that is trained on the labelled images only.
    """
    model, optimiser = recipe.get("model"), recipe.get("optimiser", {})
    if not isinstance(model, Mapping) or model.get("labels_alone") is not True or model.get("name") not in STYLE:
        return recipe
    known = isinstance(optimiser, Mapping) and optimiser.keys() <= {"default", "heads", *SETTINGS}
    if not known or not model.keys() <= SETTINGS:
        return recipe
    style = STYLE[model["name"]]
    kept = {key: model[key] for key in ("encoder", "label_weight") if key in model}
    return {
        **recipe,
        "model": {"name": baseline, "style_size": style and model.get("code_size", style), **kept},
        "optimiser": {key: optimiser[key] for key in optimiser if key in ("default", "encoder")},
    }
