"""A grid of InfoGAN's codes: one category per row, a continuous code from left to right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    Condition,
    DataError,
    Exporter,
    Model,
    PartConfig,
    PlanError,
    draw_grid,
    evaluating,
    seeded,
    to_uint8,
)
from genprior_std.conditioners.infogan import InfoGAN

__all__ = ["CodeGrid"]

CHUNK = 500
"""Images generated at a time."""
REACH = 2.0
"""The largest value of a continuous code, as in figure 2 of InfoGAN."""


class CodeGrid(Exporter):
    """A PNG with a panel for each continuous code, one below the other: row = category, column = value of that code.

    The category is the first categorical code. From left to right a continuous code goes from -2 to 2, beyond the
    [-1, 1] that it is drawn from; the noise and the other codes of a row are drawn once, and are the same in all
    columns and panels.

    Source: Chen et al., "InfoGAN", 2016, figure 2 (continuous codes from -2 to 2 on MNIST).
    """

    name = "code_grid"

    class Config(PartConfig):
        """The number of columns."""

        retired: ClassVar[Mapping[str, Any]] = {"reach": 2.0}

        columns: int = Field(default=10, ge=2)
        """How many values of the continuous code."""

    def write(self, model: Model, path: Any, *, n: int, seed: int, label: int | None) -> None:
        """Write all categories, repeated with new noise until at least n images are shown.

        Raises:
            DataError: n is less than 1.
            PlanError: a label is given, or the model does not have both kinds of codes.
        """
        if label is not None:
            raise PlanError(
                f"'code_grid' shows every category, and label {label} was requested; use 'grid' for one label"
            )
        if n < 1:
            raise DataError(f"{n} images were asked for; ask for at least 1")
        codes = _codes_of(model)
        categories: int = codes.categorical[0]
        first, columns = sum(codes.categorical), self.config.columns
        turns = math.ceil(n / (categories * columns * codes.continuous))
        values = torch.linspace(-REACH, REACH, columns).tolist()
        panels = []
        with evaluating(model):
            for code in range(codes.continuous):
                shown = [_column(model, turns * categories, categories, seed, first + code, value) for value in values]
                panels.append(torch.stack(shown, dim=1).flatten(0, 1))
        draw_grid(torch.cat(panels), path, columns=columns)


def _codes_of(model: Model) -> Any:
    """The settings of the codes of `model`.

    Raises:
        PlanError: it does not have both kinds.
    """
    conditioner: Any = model.part_for("conditioner")
    if isinstance(conditioner, InfoGAN) and conditioner.config.categorical and conditioner.config.continuous:
        return conditioner.config
    has = "no conditioner"
    if isinstance(conditioner, InfoGAN):
        settings = conditioner.config
        has = f"categorical = {list(settings.categorical)} and continuous = {settings.continuous}"
    elif conditioner is not None:
        has = f"conditioner '{conditioner.name}'"
    raise PlanError(
        "'code_grid' shows a category a row and a continuous code from left to right, and so needs both kinds of "
        f"codes; model '{model.name}' has {has}. "
        'Train with conditioner = { name = "infogan", categorical = [10], continuous = 2 }, '
        "or use exporter 'grid', or 'label_grid' for a model that takes labels"
    )


def _column(model: Model, rows: int, categories: int, seed: int, place: int, value: float) -> Tensor:
    """Images with the continuous code at index `place` of `asked` set to `value`, uint8 [rows, c, h, w].

    The seeds leave place and value out, so that each row keeps its noise from column to column.
    """
    device = next(model.parameters()).device
    y = torch.arange(rows, device=device) % categories
    chunks = []
    for number, labels in enumerate(torch.split(y, CHUNK)):
        with seeded(seed, "code_grid condition", number):
            known, asked = model.condition(torch.zeros(len(labels), device=device), labels)
        asked[:, place] = value
        with seeded(seed, "code_grid noise", number):
            chunks.append(to_uint8(model.generate(Condition(known, asked))).cpu())
    return torch.cat(chunks)
