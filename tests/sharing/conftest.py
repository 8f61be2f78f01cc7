"""A trained run with labels, a learned prior, averaged weights and scores."""

from __future__ import annotations

import pytest

import genprior


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    mlp = {"name": "mlp", "hidden": [12]}
    tables = {
        "title": "shared <b>",
        "data": {"name": "digits", "size": 8},
        "run": {"steps": 4, "batch": 8, "ema": 0.5},
        "optimiser": {"default": {"lr": 1e-2}},
        "scores": [{"name": "code_mmd"}],
        "model": {
            "name": "wae",
            "code_size": 4,
            "prior": {"name": "gaussian"},
            "encoder": mlp,
            "decoder": {**mlp, "batch_norm": True},
            "reconstruction": {"name": "pixel"},
            "conditioner": {"name": "label"},
        },
        "row": [{"label": "mine | yours", "changes": []}],
    }
    genprior.train(genprior.make_recipe(tables), out=folder)
    (found,) = folder.glob("*/seed-0")
    return genprior.load_run(found)
