"""Drawings: a picture with the data behind it, and their files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.format import write_array
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

__all__ = ["Drawing", "DrawingFiles"]

DPI = 200
"""Pixels per inch of the PNG."""


class DrawingFiles(NamedTuple):
    """The content of the files of a drawing."""

    png: bytes
    """The picture with 200 pixels per inch."""
    pdf: bytes
    """The picture as vectors."""
    npz: bytes
    """The arrays."""


class Drawing(NamedTuple):
    """A picture, and the data that it shows."""

    picture: Picture
    """A figure of matplotlib, made without pyplot; written as PNG and PDF."""
    arrays: Mapping[str, NDArray[np.generic]]
    """The data behind the picture by name, written as .npz: numbers and texts, no objects."""

    @property
    def objects(self) -> list[str]:
        """The names of the arrays that hold objects, which an .npz would pickle."""
        return [name for name, array in self.arrays.items() if np.asarray(array).dtype.hasobject]

    def files(self) -> DrawingFiles:
        """The picture with 200 pixels per inch and as PDF, and the arrays: the same each time, without dates.

        Raises:
            ValueError: an array holds objects.
        """
        from matplotlib import rc_context

        png, pdf = io.BytesIO(), io.BytesIO()
        self.picture.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        with rc_context({"pdf.fonttype": 42}):  # TrueType, so that the texts can be searched and edited
            self.picture.savefig(pdf, format="pdf", dpi=DPI, metadata={"CreationDate": None})
        return DrawingFiles(png.getvalue(), pdf.getvalue(), self._archive())

    def _archive(self) -> bytes:
        """The arrays as an .npz that needs no pickle to be read."""
        buffer = io.BytesIO()
        # numpy.savez_compressed takes names as its own arguments, such as `file`, and since 2.0 `allow_pickle`.
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in self.arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    write_array(file, np.asanyarray(array), allow_pickle=False)
        return buffer.getvalue()
