"""The files of a drawing as bytes: PNG, PDF, and the data behind it as .npz."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.format import write_array

from genprior.pictures.texts import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DrawingFiles", "drawing_files", "with_objects"]


class DrawingFiles(NamedTuple):
    """The content of the files of a drawing."""

    png: bytes
    pdf: bytes
    npz: bytes


def drawing_files(picture: Figure, arrays: Mapping[str, Any]) -> DrawingFiles:
    """The files of a picture and its arrays: the same for the same drawing, without dates.

    Args:
        picture: shown with 200 pixels per inch; its texts stay texts in the PDF.
        arrays: numbers and texts by name.

    Raises:
        ValueError: an array holds objects.
    """
    from matplotlib import rc_context

    png, pdf = io.BytesIO(), io.BytesIO()
    picture.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    with rc_context({"pdf.fonttype": 42}):  # TrueType, so that the texts can be searched and edited
        picture.savefig(pdf, format="pdf", dpi=DPI, metadata={"CreationDate": None})
    return DrawingFiles(png.getvalue(), pdf.getvalue(), _archive(arrays))


def with_objects(arrays: Mapping[str, Any]) -> list[str]:
    """The names of the arrays that hold objects, which an .npz would pickle."""
    return [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]


def _archive(arrays: Mapping[str, Any]) -> bytes:
    """The arrays as an .npz that needs no pickle to be read."""
    buffer = io.BytesIO()
    # numpy.savez_compressed takes names as its own arguments, such as `file`, and since 2.0 `allow_pickle`.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                write_array(file, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()
