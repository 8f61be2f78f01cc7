"""Lossless compression of a set of colour images for transfer: mosaics of 16 x 16 images, each a lossless WebP.

    python3 images.py squeeze SET.safetensors SQUEEZED      here
    python3 images.py expand SQUEEZED SET.safetensors       there; the file is equal byte for byte, or it is an error

CIFAR-10's 184.8 MB become 100 MB: 4.4 bits for each byte (zlib and PNG need 5.9). Needs numpy and Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import struct
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["are_coloured", "expand", "main", "squeeze"]

SIDE = 16
"""Images along each side of a mosaic; the last one is filled up with zeros."""
TENSOR = "images"


def are_coloured(source: Path) -> bool:
    """Whether a safetensors file has a tensor `images` uint8 [n, 3, h, w], which `squeeze` needs."""
    with source.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        known = json.loads(file.read(length)).get(TENSOR, {"dtype": "none", "shape": []})
    return known["dtype"] == "U8" and len(known["shape"]) == 4 and known["shape"][1] == 3


def squeeze(source: Path, target: Path) -> None:
    """Write a set of images, a safetensors file with a tensor `images` uint8 [n, 3, h, w], as mosaics.

    Raises:
        ValueError: it has no such tensor.
    """
    content = source.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    known = header.get(TENSOR, {"dtype": "none", "shape": []})
    if not are_coloured(source):
        raise ValueError(
            f"{source} has no tensor '{TENSOR}' of bytes [n, 3, h, w] (it is {known['dtype']} {known['shape']}); "
            "only sets of colour images are squeezed, others travel as they are"
        )
    begin, end = (8 + length + offset for offset in known["data_offsets"])
    images = np.frombuffer(content[begin:end], np.uint8).reshape(known["shape"])
    facts = {"format": 1, "shape": known["shape"], "begin": begin, "sha256": hashlib.sha256(content).hexdigest()}
    partial = target.with_name(target.name + ".partial")
    with zipfile.ZipFile(partial, "w") as archive, ThreadPoolExecutor(os.cpu_count()) as pool:
        archive.writestr("facts.json", json.dumps(facts))
        archive.writestr("before", content[:begin])
        archive.writestr("after", content[end:])
        for i, encoded in enumerate(pool.map(_encode, _mosaics(images))):
            archive.writestr(f"{i:05d}.webp", encoded)
    os.replace(partial, target)


def _mosaics(images: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    n, c, h, w = images.shape
    for start in range(0, n, SIDE * SIDE):
        tiles = np.zeros((SIDE * SIDE, c, h, w), np.uint8)
        here = images[start : start + SIDE * SIDE]
        tiles[: len(here)] = here
        yield tiles.reshape(SIDE, SIDE, c, h, w).transpose(0, 3, 1, 4, 2).reshape(SIDE * h, SIDE * w, c)


def _encode(mosaic: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(mosaic).save(out, "WEBP", lossless=True, quality=50, method=4, exact=True)
    return out.getvalue()


def expand(source: Path, target: Path) -> None:
    """Write the set of images that `squeeze` read, equal byte for byte.

    Raises:
        ValueError: the images would be others, for example because another library decoded them; nothing was written.
    """
    with zipfile.ZipFile(source) as archive:
        facts = json.loads(archive.read("facts.json"))
        n, c, h, w = facts["shape"]
        names = [f"{i:05d}.webp" for i in range(math.ceil(n / (SIDE * SIDE)))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            mosaics = list(pool.map(_decode, [archive.read(name) for name in names]))
        tiles = [m.reshape(SIDE, h, SIDE, w, c).transpose(0, 2, 4, 1, 3).reshape(-1, c, h, w) for m in mosaics]
        content = archive.read("before") + np.concatenate(tiles)[:n].tobytes() + archive.read("after")
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise ValueError(f"{source} does not expand to the file that was squeezed; its checksum is wrong")
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, target)


def _decode(encoded: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def main(arguments: list[str] | None = None) -> int:
    """Squeeze or expand, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("squeeze", "expand"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args(arguments)
    try:
        (squeeze if options.what == "squeeze" else expand)(options.source, options.target)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
