"""Examines the files of an installation for `genprior doctor`: caches, data sets, recipes and free disk space."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from genprior.recipe.shipped import shipped_folder, shipped_recipes
from genprior.runs.findings import Check, Finding, State, readable_size
from genprior.storage.cache_folder import cache_folder

__all__ = ["CHECKS"]

LITTLE = 2 * 10**9
"""Bytes of free space below which a training with a few checkpoints may fill the disk."""
REMADE = "delete it, and it is made or downloaded again"
"""The advice about a damaged file of the cache."""
_MOST = 100_000
"""Files of a folder that are looked at."""


def _caches() -> Iterator[Finding]:
    """The folders of caches: where they are, how large, whether they can be written, and files that are damaged."""
    section, folder = "caches", cache_folder()
    source = "GENPRIOR_DATA" if os.environ.get("GENPRIOR_DATA") else "default; GENPRIOR_DATA chooses another"
    yield _folder(section, "data and scores", folder, f"{folder} ({source})", "GENPRIOR_DATA")
    for path in _files(folder, ".safetensors"):
        wrong = _damage(path)
        if wrong:
            text = f"{path} is damaged: {wrong}"
            yield Finding(section, path.name, text, State.WRONG, REMADE)
    import torch

    weights = Path(torch.hub.get_dir(), "checkpoints")
    yield _folder(section, "torch's weights", weights, f"{weights} (TORCH_HOME)", "TORCH_HOME")


def _folder(section: str, name: str, folder: Path, text: str, variable: str) -> Finding:
    """A folder that may be made later: its size, and whether it can be written; an environment variable names it."""
    advice, there = f"set {variable} to a folder that can be written", _existing(folder)
    if not there.is_dir():
        return Finding(section, name, f"{text}: {there} is no folder", State.WRONG, advice)
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(section, name, f"{text}: {there} cannot be written", State.WRONG, advice)
    if there != folder:
        return Finding(section, name, f"{text}: not made yet")
    sizes = [_size(path) for path in _files(folder)]
    more = " or more" if len(sizes) == _MOST else ""
    return Finding(section, name, f"{text}: {readable_size(sum(sizes))}{more} in {len(sizes):,} files")


def _existing(path: Path) -> Path:
    """The nearest of a path and those above it that there is."""
    return next(each for each in (path, *path.absolute().parents) if os.path.lexists(each))


def _files(folder: Path, ending: str = "") -> Iterator[Path]:
    """The files in and below a folder; folders that cannot be read are left out."""
    count = 0
    for home, _, names in os.walk(folder):
        for name in names:
            if name.endswith(ending) and Path(home, name).is_file():  # reading a pipe would wait for its writer
                yield Path(home, name)
                count += 1
                if count == _MOST:
                    return


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed meanwhile, or a link to nothing
        return 0


def _damage(path: Path) -> str | None:
    """What is wrong with a safetensors file, by its header and its length; None if nothing is."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            return None
    except (OSError, SafetensorError) as error:
        return str(error)


def _data() -> Iterator[Finding]:
    """The decoded data sets in the cache."""
    from safetensors import SafetensorError, safe_open

    section, folder = "data sets", cache_folder()
    sets: dict[str, list[str]] = {}
    for path in sorted(each for each in folder.glob("*-*.safetensors") if each.is_file()):
        name, _, split = path.stem.rpartition("-")
        try:
            with safe_open(path, framework="np") as file:
                if "images" in file.keys():  # noqa: SIM118
                    held = file.get_slice("images")
                    shape = held.get_shape()
                    if len(shape) == 4 and held.get_dtype() == "U8":
                        sets.setdefault(name, []).append(f"{split} {shape[0]:,} images")
                        continue
                    text = f"{path} holds images as {held.get_dtype()} {shape}, and U8 [n, c, h, w] is needed"
                    yield Finding(section, path.name, text, State.WRONG, REMADE)
        except (OSError, SafetensorError):
            continue  # among the caches
    for name, splits in sets.items():
        yield Finding(section, name, ", ".join(splits))
    yield Finding(section, "others", "are downloaded or made when a recipe needs them: `genprior parts dataset`")


def _recipes() -> Iterator[Finding]:
    """The recipes that come with genprior."""
    folder, count = shipped_folder(), len(shipped_recipes())
    if count:
        yield Finding("recipes", "recipes", f"{count} in {folder}: `genprior recipes`")
    else:
        advice = "pip install --force-reinstall genprior"
        yield Finding("recipes", "recipes", "none is installed", State.WRONG, advice)


def _disk() -> Iterator[Finding]:
    """The free space for caches and for runs, and whether runs can be written in the current folder."""
    section, here = "disk", Path.cwd()
    for name, folder in (("for caches", _existing(cache_folder())), ("for runs", here)):
        free = shutil.disk_usage(folder).free
        text = f"{readable_size(free)} free at {folder}"
        if free < LITTLE:
            yield Finding(section, name, text, State.WRONG, "free some space, or use another folder")
        else:
            yield Finding(section, name, text)
    if not os.access(here, os.W_OK | os.X_OK):
        text = f"{here}, the current folder, cannot be written"
        yield Finding(section, "for runs", text, State.WRONG, "change to another folder, or give --out")


CHECKS: dict[str, Check] = {"caches": _caches, "data sets": _data, "recipes": _recipes, "disk": _disk}
"""The checks by section."""
