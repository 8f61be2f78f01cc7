"""The contract of a model's images: generated, of a class, and reconstructed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior.errors import PlanError
from genprior.parts import Batch, Codes, Condition, DataInfo, Model
from genprior.randomness import seeded
from genprior.testing.asks import check_asks
from genprior.testing.report import Contract, describe
from genprior.testing.tensors import check_pixels

__all__ = ["check_images"]


def check_images(contract: Contract, model: Model, data: DataInfo, batch: Batch) -> None:
    """Check the images that a model generates and reconstructs and its codes, or that it refuses to make images.

    Args:
        contract: collects the failures.
        model: left in evaluation mode.
        data: the data's form.
        batch: images to reconstruct.
    """
    model.eval()
    if model.makes_images:
        _check_generated(contract, model, data)
        _check_reconstructed(contract, model, batch)
        _check_codes(contract, model, batch)
    else:
        _check_refused(contract, model)


def _check_refused(contract: Contract, model: Model) -> None:
    """A model that makes no images raises a PlanError in `generate`."""
    try:
        result = describe(model.generate(model.condition(torch.zeros(5))))
    except PlanError:
        return
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    contract.require(
        False,
        "generate(condition(like [5])) of a model with makes_images = False",
        result,
        "a genprior.PlanError that says what to do instead",
        "raise it in generate, or leave makes_images out",
    )


def _check_generated(contract: Contract, model: Model, data: DataInfo) -> None:
    """Images have the right shape and range, are a function of the seed, and can be of a given class."""
    for n in (5, 1):
        like, called = torch.zeros(n), f"generate(condition(like [{n}]))"

        def draw(seed: int, like: Tensor = like) -> Any:
            with torch.no_grad(), seeded("testing", "images", seed):
                return model.generate(model.condition(like))

        x = contract.call(called, lambda draw=draw: draw(0), "new images can be made in evaluation mode")  # type: ignore[misc]
        if not contract.tensor(called, x, (n, *data.image), torch.float32, "one image for each row of the condition"):
            return
        check_pixels(contract, called, x, 1e-5)
        contract.require(
            torch.equal(x, draw(0)),
            f"{called}, twice under one seed",
            "other images",
            "the images are a function of torch's seed",
            "draw only with torch, and change no state in evaluation mode",
        )
        contract.require(
            # A few discrete codes give the same image under some seeds.
            any(not torch.equal(x, draw(seed)) for seed in range(1, 33)),
            f"{called}, under 33 seeds",
            "the same images",
            "different seeds give different images",
            "draw the codes inside generate",
        )
    y = torch.zeros(5, dtype=torch.int64)
    try:
        condition = model.condition(torch.zeros(5), y)
    except PlanError:
        condition = None
    except Exception as error:
        contract.require(
            False,
            "condition(like [5], y [5])",
            f"{type(error).__name__}: {error}",
            "a condition, or a genprior.PlanError where the model cannot generate a given class",
            "call self.conditioner.of_label(y)",
        )
        return
    called = "condition(like [5], y [5])"
    check_asks(contract, lambda: model.asks, called, taken=condition is not None, labels=1)
    if condition is not None and contract.require(
        isinstance(condition, Condition),
        "condition(like [5], y [5])",
        describe(condition),
        "a genprior.Condition",
        "return the conditioner's Condition",
    ):
        called = "generate(condition(like [5], y [5]))"
        with torch.no_grad(), seeded("testing", "asked"):
            x = contract.call("generate(condition(like [5], y [5]))", lambda: model.generate(condition))
        contract.tensor(
            "generate(condition(like [5], y [5]))", x, (5, *data.image), torch.float32, "an image for each row"
        )


def _check_reconstructed(contract: Contract, model: Model, batch: Batch) -> None:
    """Reconstructions have the shape and range of the batch."""
    called = f"reconstruct(Batch of {len(batch.x)})"
    with torch.no_grad(), seeded("testing", "reconstruct"):
        rec = contract.call(called, lambda: model.reconstruct(batch), optional=True)
    if rec is not None and contract.tensor(
        called, rec, tuple(batch.x.shape), torch.float32, "the batch again, or None"
    ):
        check_pixels(contract, called, rec, 1e-5)


def _check_codes(contract: Contract, model: Model, batch: Batch) -> None:
    """New codes and codes drawn from posteriors are of the space of `encode`, where a model has both."""
    n = len(batch.x)
    condition, posterior = "draw_codes(condition(like [5]))", f"draw_posterior(Batch of {n})"
    with torch.no_grad(), seeded("testing", "codes"):
        codes = contract.call(f"encode(Batch of {n})", lambda: model.encode(batch), optional=True)
        new = contract.call(condition, lambda: model.draw_codes(model.condition(torch.zeros(5))), optional=True)
        drawn = contract.call(posterior, lambda: model.draw_posterior(batch), optional=True)
    if not isinstance(codes, Tensor):
        return
    for called, z, rows in ((condition, new, 5), (posterior, drawn.z if isinstance(drawn, Codes) else None, n)):
        contract.require(
            not isinstance(z, Tensor) or z.shape == (rows, *codes.shape[1:]),
            called,
            f"shape {list(z.shape) if isinstance(z, Tensor) else None}, and codes {list(codes.shape)} from encode",
            "the codes are in the space of those of encode: pictures and scores compare them",
            "return codes as encode does, or None",
        )
