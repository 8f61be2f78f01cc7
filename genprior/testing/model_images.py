"""The contract of a model's images: their shape, their range, and that they are a function of the seed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior.errors import PlanError
from genprior.parts import Batch, Condition, DataInfo, Model
from genprior.randomness import seeded
from genprior.testing.report import Contract, describe

__all__ = ["check_images"]


def check_images(contract: Contract, model: Model, data: DataInfo, batch: Batch) -> None:
    """Check what a model generates and reconstructs, or that it says so where it makes no images.

    Args:
        contract: where broken promises are listed.
        model: who is asked; it is left in evaluation mode.
        data: the data's form.
        batch: images to reconstruct.
    """
    if model.makes_images:
        _images(contract, model, data, batch)
    else:
        _no_images(contract, model)


def _no_images(contract: Contract, model: Model) -> None:
    """A model that makes no images says so to whoever asks for some."""
    try:
        found = describe(model.generate(model.condition(torch.zeros(5))))
    except PlanError:
        return
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    contract.require(
        False,
        "generate(condition(like [5])) of a model with makes_images = False",
        found,
        "a genprior.PlanError that says what to do instead",
        "raise it in generate, or leave makes_images out",
    )


def _images(contract: Contract, model: Model, data: DataInfo, batch: Batch) -> None:
    model.eval()
    for n in (5, 1):
        like, called = torch.zeros(n), f"generate(condition(like [{n}]))"

        def draw(seed: int, like: Tensor = like) -> Any:
            with torch.no_grad(), seeded("testing", "images", seed):
                return model.generate(model.condition(like))

        x = contract.call(called, lambda draw=draw: draw(0), "new images can be made in evaluation mode")  # type: ignore[misc]
        if not contract.tensor(called, x, (n, *data.image), torch.float32, "one image for each row of the condition"):
            return
        _range(contract, called, x)
        contract.require(
            torch.equal(x, draw(0)),
            f"{called}, twice under one seed",
            "other images",
            "the images are a function of torch's seed",
            "draw with torch alone, and change no state in evaluation mode",
        )
        contract.require(
            not torch.equal(x, draw(1)),
            f"{called}, under two seeds",
            "the same images",
            "each seed gives images of its own",
            "draw the codes inside generate",
        )
    y = torch.zeros(5, dtype=torch.int64)
    try:
        condition = model.condition(torch.zeros(5), y)
    except PlanError:
        condition = None
    except Exception as error:
        condition = None
        contract.require(
            False,
            "condition(like [5], y [5])",
            f"{type(error).__name__}: {error}",
            "a condition, or a genprior.PlanError where no class can be asked for",
            "call self.conditioner.of_label(y)",
        )
    if condition is not None and contract.require(
        isinstance(condition, Condition),
        "condition(like [5], y [5])",
        describe(condition),
        "a genprior.Condition",
        "return what the conditioner gives",
    ):
        with torch.no_grad(), seeded("testing", "asked"):
            x = contract.call("generate(condition(like [5], y [5]))", lambda: model.generate(condition))
        contract.tensor("generate(condition(like [5], y [5]))", x, (5, *data.image), torch.float32, "an image a row")
    called = f"reconstruct(Batch of {len(batch.x)})"
    with torch.no_grad(), seeded("testing", "reconstruct"):
        rec = contract.call(called, lambda: model.reconstruct(batch), optional=True)
    if rec is not None and contract.tensor(
        called, rec, tuple(batch.x.shape), torch.float32, "the batch again, or None"
    ):
        _range(contract, called, rec)


def _range(contract: Contract, called: str, x: Tensor) -> None:
    contract.require(
        bool((x.abs() <= 1 + 1e-5).all()),
        called,
        f"pixels from {float(x.min()):.3g} to {float(x.max()):.3g}",
        "pixels lie in [-1, 1], as those of the data do",
        "let the decoder end with a tanh, or clamp",
    )
