"""Measures how long the prior of a run takes to draw codes."""

from __future__ import annotations

import statistics
import time

import torch

from genprior.engine.sampling import CHUNK, evaluating
from genprior.randomness import seeded
from genprior.runs.part_errors import naming_parts
from genprior.runs.run import Run

__all__ = ["CODES", "seconds_to_draw"]

CODES = 10_000
"""How many codes are drawn."""


def seconds_to_draw(run: Run, *, codes: int = CODES, repeats: int = 3) -> float | None:
    """The time in which a run's model draws new codes on its device, in batches like those of images.

    Args:
        run: a run with a checkpoint.
        codes: the number of codes.
        repeats: the number of measurements, after a batch that is not measured.

    Returns:
        The median of the measurements in seconds; None if the model has no codes.

    Raises:
        GenpriorError: there is no checkpoint, it is damaged, or the prior raises an exception.
    """
    model, measured = run.model, []
    with naming_parts(run.label), evaluating(model), seeded(run.seed, "draw time"):
        condition = model.condition(torch.zeros(CHUNK, device=run.device))
        if model.draw_codes(condition) is None:
            return None
        for _ in range(repeats):
            _synchronise(run.device)
            begin = time.perf_counter()
            for _ in range(0, codes, CHUNK):
                model.draw_codes(condition)
            _synchronise(run.device)
            measured.append(time.perf_counter() - begin)
    return statistics.median(measured)


def _synchronise(device: torch.device) -> None:
    """Wait for a GPU, which computes asynchronously."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
