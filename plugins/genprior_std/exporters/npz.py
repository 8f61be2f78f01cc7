"""Images as arrays, for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genprior import DataError, Model, PartConfig, TextExporter, generate, whole_file

__all__ = ["Npz"]


class Npz(TextExporter):
    """An .npz of `images` uint8 [n, h, w, c], as FID tools take them, and of `labels` or `texts` [n] if given."""

    name = "npz"
    suffixes = (".npz",)
    writes = "an array"

    class Config(PartConfig):
        """Nothing to set."""

    def write(
        self, model: Model, path: Any, *, n: int, seed: int, label: int | None, text: Sequence[str] | None = None
    ) -> None:
        """Write n images of `model`, all of class `label` if one is given, or described by sentences.

        Raises:
            DataError: n is less than 1.
            PlanError: a label or a sentence is given, and the model takes none.
        """
        if n < 1:
            raise DataError(f"{n} images were asked for; ask for at least 1")
        images = generate(model, n, seed=seed, label=label, text=text).permute(0, 2, 3, 1).contiguous().numpy()
        arrays = {"images": images}
        if label is not None:
            arrays["labels"] = np.full(n, label, dtype=np.int64)
        if text is not None:
            arrays["texts"] = np.array([text[i % len(text)] for i in range(n)])
        # An open file, because NumPy appends `.npz` to the name of a path.
        with whole_file(Path(path)) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
