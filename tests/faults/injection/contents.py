"""What a folder of runs holds, without times: to compare the results of commands, and to find broken files."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load

_TIMES = ("seconds", "images_per_second", "written", "command", "hardware", "versions", "sha256", "checksum")
_WITH_TIMES = (".md", ".csv", ".tex")


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(each) for key, each in value.items() if key not in _TIMES}
    return [_without_times(each) for each in value] if isinstance(value, list) else value


def _content(path: Path) -> Any:
    """The content of a file as comparable values; raises for a file that is broken."""
    data = path.read_bytes()
    if path.suffix == ".json":
        return _without_times(json.loads(data))
    if path.suffix == ".jsonl":
        assert not data or data.endswith(b"\n"), "the last line has no end"
        return [_without_times(json.loads(line)) for line in data.splitlines()]
    if path.suffix == ".toml":
        return tomllib.loads(data.decode())
    if path.suffix == ".safetensors":
        # Not their bytes: the order of tensors in the file, and its padding, are free.
        return {
            name: (tensor.dtype, tensor.shape, tensor.flatten().view(torch.uint8).numpy().tobytes())
            for name, tensor in load(data).items()
        }
    if path.suffix == ".npz":
        with np.load(io.BytesIO(data)) as arrays:
            return {name: arrays[name].tolist() for name in arrays.files}
    if path.suffix == ".png":
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return (image.size, hashlib.sha256(image.tobytes()).hexdigest())
    if path.suffix == ".pdf":
        assert data.rstrip().endswith(b"%%EOF"), "cut off"
        return hashlib.sha256(data).hexdigest()
    if path.suffix == ".html":
        assert data.rstrip().endswith(b"</html>"), "cut off"
        return len(data.splitlines())
    if path.suffix in _WITH_TIMES:
        assert data.endswith(b"\n"), "cut off"
        return len(data.splitlines())
    return data


def contents(folder: Path) -> dict[str, Any]:
    """The content of every file below a folder by its path; locks are left out."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(".lock") and not path.name.startswith("."):
            found[path.relative_to(folder).as_posix()] = _content(path)
    return found


def broken(folder: Path) -> list[str]:
    """The files below a folder that are cut off or cannot be read."""
    wrong = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith(".") or path.name.endswith(".lock"):
            continue
        try:
            _content(path)
        except Exception as error:
            wrong.append(f"{path.relative_to(folder)}: {error!r}"[:200])
    return wrong


def temporary(folder: Path) -> list[str]:
    """The temporary files that are left below a folder."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob(".*"))
        if path.is_file() and not path.name.endswith(".lock")
    ]


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """The paths whose content differs."""
    missing = object()
    return [path for path in sorted({*one, *two}) if one.get(path, missing) != two.get(path, missing)]
