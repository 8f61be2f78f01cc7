"""Input tensors of the contract tests, and the promises about tensors that several kinds of parts share."""

from __future__ import annotations

import torch
from torch import Tensor

from genprior.parts import Batch, DataInfo, Embedder
from genprior.randomness import seeded
from genprior.testing.report import Contract

__all__ = ["batch_of", "check_pixels", "check_reaches_input", "check_unchanged", "moved", "one_hot"]


def one_hot(n: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """One-hot rows [n, width] that go through all columns in turn; [n, 0] for width 0."""
    return torch.eye(width, dtype=dtype)[torch.arange(n) % width] if width else torch.zeros(n, 0, dtype=dtype)


def batch_of(
    data: DataInfo, n: int | None, dtype: torch.dtype = torch.float64, embedder: Embedder | None = None, *seed: int
) -> Batch:
    """A batch of n random images of the data's form, whose labels go through all classes in turn.

    Args:
        data: the data's form.
        n: how many images; None, all training images, is 12 of them.
        dtype: of the images, and of the vectors of their captions.
        embedder: the model's; each image then has a random vector of its width as `text`.
        seed: further numbers to seed the images and vectors with.
    """
    n = 12 if n is None else n
    with seeded("testing", "batch", *seed):
        x = 2 * torch.rand(n, *data.image, dtype=dtype) - 1
        text = None if embedder is None else torch.randn(n, embedder.config.size, dtype=dtype)
    step, share = torch.tensor(5), torch.tensor(0.5)  # in the middle of a run of ten steps
    index = torch.arange(n)
    return Batch(x, index % max(len(data.classes), 1), text=text, step=step, share=share, index=index)


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch of `batch_of` on another device."""
    text = None if batch.text is None else batch.text.to(device)
    index = None if batch.index is None else batch.index.to(device)
    return batch._replace(x=batch.x.to(device), y=batch.y.to(device), text=text, index=index)


def check_pixels(contract: Contract, called: str, x: Tensor, tolerance: float) -> None:
    """Require images in [-1, 1], but for rounding."""
    x = x.detach()
    contract.require(
        bool((x.abs() <= 1 + tolerance).all()),
        called,
        f"pixels from {float(x.min()):.3g} to {float(x.max()):.3g}",
        "pixels lie in [-1, 1], as those of the data do",
        "let the decoder end with a tanh, or clamp",
    )


def check_unchanged(contract: Contract, called: str, name: str, inputs: Tensor, before: Tensor) -> None:
    """Require that a call left its input as it was."""
    contract.require(
        torch.equal(inputs, before),
        called,
        f"it changed `{name}`",
        "inputs are left unchanged",
        f"work on a copy: no operation that ends in _ on {name}",
    )


def check_reaches_input(contract: Contract, called: str, out: Tensor, x: Tensor, receiver: str, reason: str) -> None:
    """Require a gradient of `out` in its input `x` that is not zero everywhere."""
    gradient = torch.autograd.grad(out.sum(), x, retain_graph=True, allow_unused=True)[0] if out.requires_grad else None
    contract.require(
        gradient is not None and bool((gradient != 0).any()),
        f"the gradient of {called} in x",
        f"nothing reaches the {receiver}",
        reason,
        "take out detach() and no_grad() on the way from x to the result",
    )
