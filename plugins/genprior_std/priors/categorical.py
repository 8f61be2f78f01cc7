"""The categorical prior: one of K one-hot codes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from genprior import PartConfig, PlanError, Prior, Sizes
from genprior_std.priors.one_hot import check_one_hot

__all__ = ["Categorical"]


class Categorical(Prior):
    """One of K categories, drawn uniformly, as a one-hot [n, K]; K is the width of the code.

    With a condition of that width the code is `asked` itself. It is discrete, has no density and is only sampled.

    Raises:
        PlanError: the code has fewer than two numbers, or the condition is not a one-hot of that width.

    Source: Makhzani and Frey, "PixelGAN Autoencoders", 2017, section 3 (categorical prior).
    """

    name = "categorical"

    class Config(PartConfig):
        """No settings."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Check that a code is a category."""
        super().__init__(config, sizes)
        if sizes.code < 2:
            raise PlanError(
                f"prior '{self.name}' draws one of code_size categories, and code_size = {sizes.code}; set 2 or more"
            )
        check_one_hot(self.name, sizes)
        if sizes.asked not in (0, sizes.code):
            raise PlanError(
                f"prior '{self.name}' has code_size = {sizes.code} categories, so a condition must be a one-hot of "
                f"as many; the one asked here has width {sizes.asked}. Set code_size = {sizes.asked}, or ask for "
                "nothing (conditioner 'none', where the model has one)"
            )

    def sample(self, asked: Tensor) -> Tensor:
        """Draw one-hot codes [n, K]; with a condition they are `asked` itself, [n, K]."""
        if self.sizes.asked:
            return asked
        category = torch.randint(self.sizes.code, (len(asked),), device=asked.device)
        return functional.one_hot(category, self.sizes.code).to(asked.dtype)

    def walk(self, columns: int, like: Tensor) -> Tensor:
        """Each category as a row of `columns` equal codes, [K, columns, K]."""
        heads = torch.eye(self.sizes.code, device=like.device, dtype=like.dtype)
        return heads[:, None].expand(-1, columns, -1)
