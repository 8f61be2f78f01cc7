"""The contract of a model's draws and tensors: losses at the edges of what is drawn, and on another device."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

from genprior.engine.build import build_model
from genprior.parts import Batch, DataInfo, Model, PartConfig
from genprior.randomness import seeded
from genprior.testing.devices import ELSEWHERE, SecondDevice, place_module
from genprior.testing.edges import check_finite_at_edges
from genprior.testing.report import Contract
from genprior.testing.tensors import batch_of, moved

__all__ = ["check_draws"]


def check_draws(contract: Contract, config: PartConfig, data: DataInfo, batch: Batch) -> None:
    """Losses are finite where `torch.rand` draws its extremes, and all tensors are on the device of the batch.

    Args:
        contract: collects the failures.
        config: the model's settings.
        data: the data's form.
        batch: images to train on.
    """
    for phase in _begun(config, data).train().phases():
        called = f"the losses of phase '{phase.name}'"
        check_finite_at_edges(contract, called, lambda phase=phase: list(phase.objectives(batch).values()), "losses")  # type: ignore[misc]
        if contract.failures:
            return
    model = _begun(config, data)
    place_module(model)
    for phase in model.train().phases():
        with SecondDevice() as second, seeded("testing", "device", phase.name):
            placed = moved(batch, ELSEWHERE)
            came = _wrong(second, lambda phase=phase, placed=placed: list(phase.objectives(placed).values()))  # type: ignore[misc]
        _require(contract, f"the losses of phase '{phase.name}'", came)
    if model.makes_images:
        model.eval()
        with SecondDevice() as second, torch.no_grad(), seeded("testing", "device"):
            like = torch.zeros(5, device=ELSEWHERE)
            came = _wrong(second, lambda: model.generate(model.condition(like)))
        _require(contract, "generate(condition(like [5]))", came)


def _begun(config: PartConfig, data: DataInfo) -> Model:
    """A model that has begun from random images."""
    model = build_model(config, data, 0)
    if model.embedder is not None:
        starts = itertools.count(1)
        model.begin(lambda n: batch_of(data, n, torch.float32, model.embedder, next(starts)))
    return model


def _wrong(second: SecondDevice, use: Callable[[], object]) -> str:
    """What would fail on a GPU; what fails on the CPU in this way too is not judged."""
    try:
        return second.wrong(use())
    except Exception:
        return second.wrong(())


def _require(contract: Contract, called: str, came: str) -> None:
    contract.require(
        not came,
        f"{called} with the model and the batch on another device",
        came,
        "new tensors are made on the device of the batch, and what a model holds moves with it, by model.to(device)",
        "make new tensors with device=... of the batch, and hold constants as buffers of a part: "
        "self.register_buffer('name', tensor)",
    )
