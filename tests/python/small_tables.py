"""The tables of a small recipe, as Python passes them."""

from __future__ import annotations

import tomllib

from ..small import aae


def tables(**more):
    """An adversarial autoencoder of handwritten digits that trains in a second."""
    return {
        "title": "small",
        "run": {"steps": 2, "batch": 8, "hooks": {"pictures": {"enabled": False}}},
        "data": {"name": "digits", "size": 8},
        "optimiser": {"default": {"lr": 1e-3}},
        **tomllib.loads(aae()),
        **more,
    }
