"""Checkpoints: tensors as safetensors, everything else as JSON with the tensors' checksum; never pickle.

A checkpoint is two files, `step-00000800.safetensors` and `step-00000800.json`. The JSON is written last and names the
SHA-256 of the tensors, whose file in turn names that of the other facts, so a checkpoint without JSON, or with another
checksum, is not valid; older versions did not write the checksum of the facts. Damaged checkpoints that `set_aside`
moved are in the folder `damaged` beside them. The fact `best_step` of a checkpoint names another one, or itself, that
was the best one then; it is kept as long as one of the newest checkpoints names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from genprior.errors import FORMAT, CheckpointError, GenpriorError, in_a_sentence, refuse_newer
from genprior.storage.files import EXPORTED, to_file, whole_file, write_json
from genprior.storage.tensors import opened_tensors, read_tensors

__all__ = [
    "EXPORTED",
    "Checkpoint",
    "best",
    "latest",
    "prune",
    "read",
    "recorded_checksum",
    "save",
    "set_aside",
    "step_of",
    "write",
]

_FACTS = "facts_sha256"
"""The entry of the tensors' file with the checksum of the facts."""


class Checkpoint:
    """A checkpoint that has been read and verified."""

    def __init__(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Hold the tensors by name and the facts of the JSON file."""
        self.step = step
        self.tensors = tensors
        self.facts = facts

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix/`, by the rest of their names."""
        return {n.removeprefix(f"{prefix}/"): t for n, t in self.tensors.items() if n.startswith(f"{prefix}/")}


def write(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    *,
    last: int = 2,
    every: int | None = None,
) -> Path:
    """Write a checkpoint atomically, then remove those that `prune` does not keep.

    Raises:
        CheckpointError: it cannot be written; older checkpoints are kept.
    """
    path = folder / f"step-{step:08d}.safetensors"
    try:
        save(path, step, tensors, facts)
    except (OSError, SafetensorError) as error:
        path.unlink(missing_ok=True) if not path.with_suffix(".json").exists() else None
        failure = CheckpointError(
            f"the checkpoint {path} cannot be written: {in_a_sentence(error)}. Earlier checkpoints are kept; "
            "free some space and give the same command again to resume from the last one."
        )
        failure.exit_code = 1
        raise failure from error
    prune(folder, last=last, every=every)
    return path


def save(path: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the two files of a checkpoint: the tensors at `path`, and the JSON beside it.

    Raises:
        OSError: they cannot be written.
        SafetensorError: the tensors cannot be.
    """
    facts = {"format": FORMAT, "step": step, **facts}
    with whole_file(path) as partial:
        hosted = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        save_file(hosted, partial, metadata={_FACTS: _facts_checksum(facts)})
        checksum = _checksum(partial)
    write_json(path.with_suffix(".json"), {**facts, "sha256": checksum})


def prune(folder: Path, *, last: int, every: int | None) -> None:
    """Remove all checkpoints but the newest `last`, the best ones that these name, and multiples of `every` steps."""
    complete = _complete(folder)
    for rest in set(folder.glob("step-*.safetensors")) - set(complete):
        if complete and rest.stem < complete[-1].stem:  # of a checkpoint that could be removed only in part
            rest.unlink(missing_ok=True)
    named = {_best_of(path) for path in complete[-last:]}
    for old in complete[:-last]:
        if old in named or (every is not None and step_of(old) % every == 0):
            continue
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    complete = _complete(folder)
    return complete[-1] if complete else None


def best(folder: Path) -> Path | None:
    """The checkpoint that the newest complete one names as the best so far; the newest if it names none."""
    newest = latest(folder)
    return None if newest is None else _best_of(newest) or newest


def _best_of(path: Path) -> Path | None:
    """The checkpoint that a checkpoint names as the best, whether or not it is there; None if it names none."""
    try:
        step = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")).get("best_step")
        return None if step is None else path.with_name(f"step-{step:08d}.safetensors")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None  # `read` says what is damaged


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(path.stem.removeprefix("step-"))


def set_aside(folder: Path) -> list[Path]:
    """Move the checkpoints that are newer than the newest undamaged one into the folder `damaged`.

    A checkpoint that names a best one which is damaged or missing counts as damaged.

    Returns:
        The moved tensor files at their new places, the newest first.

    Raises:
        CheckpointError: no checkpoint is undamaged; nothing is moved.
        NewerFormat: a newer genprior wrote one of them; nothing is moved.
        OSError: the system cannot read or move a file.
    """
    complete = _complete(folder)
    bad: list[Path] = []
    for path in reversed(complete):
        try:
            _usable(path)
        except (ValueError, KeyError, TypeError, SafetensorError, CheckpointError):
            bad.append(path)
        else:
            break
    if bad and len(bad) == len(complete):
        raise CheckpointError(
            f"no checkpoint in {folder} is undamaged ({len(bad)} were tried), so training cannot resume. Nothing was "
            "moved. Give another --out to train anew, or remove the run folder."
        )
    if bad:
        (folder / "damaged").mkdir(exist_ok=True)
    for path in bad:
        with to_file("move", path):
            path.replace(folder / "damaged" / path.name)  # first: tensors without their JSON are no checkpoint
            path.with_suffix(".json").replace(folder / "damaged" / path.with_suffix(".json").name)
    return [folder / "damaged" / path.name for path in bad]


def read(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint and verify its checksum.

    Raises:
        CheckpointError: it is truncated or altered; the message names the previous undamaged one, and what to do.
        NewerFormat: a newer genprior wrote it.
        OSError: the system cannot read it.
    """
    try:
        with to_file("read", path):
            facts = _verified(path)
            _refuse_without_best(path)
            return Checkpoint(int(facts["step"]), read_tensors(path, device), facts)
    except CheckpointError as error:
        raise CheckpointError(f"{in_a_sentence(error)}. {_remedy(path)}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error!r}. {_remedy(path)}") from error


def _verified(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint whose tensors have the checksum that they name."""
    with to_file("read", path.with_suffix(".json")):
        facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    refuse_newer(facts, path.with_suffix(".json"))
    with to_file("read", path):
        if _checksum(path) != facts["sha256"]:
            raise CheckpointError(f"the checkpoint {path} was truncated or altered: its checksum is wrong")
        with opened_tensors(path) as file:
            recorded = (file.metadata() or {}).get(_FACTS)
    if recorded is not None and recorded != _facts_checksum(facts):
        raise CheckpointError(f"the checkpoint {path} was altered: its .json is not the one that was written with it")
    step = facts["step"]
    if type(step) is not int or step < 0 or (path.name != EXPORTED and step != step_of(path)):
        raise CheckpointError(f"the checkpoint {path} was altered: its .json is of step {str(step)[:40]}")
    return facts


def _usable(path: Path) -> None:
    """Verify a checkpoint and the best one that it names."""
    _verified(path)
    _refuse_without_best(path)
    named = _best_of(path)
    if named is not None and named != path:
        _verified(named)


def _refuse_without_best(path: Path) -> None:
    named = _best_of(path)
    if named is not None and not (named.exists() and named.with_suffix(".json").exists()):
        raise CheckpointError(f"the checkpoint {path} names {named.name} as the best so far, which is not there")


def _facts_checksum(facts: Mapping[str, Any]) -> str:
    """The SHA-256 of the facts of training: not of the time, which differs between equal runs."""
    known = {key: value for key, value in facts.items() if key not in ("format", "sha256", "seconds")}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _remedy(damaged: Path) -> str:
    if damaged.name == EXPORTED:
        return "Export the run again, or download the folder again."
    for path in reversed([each for each in _complete(damaged.parent) if each.stem < damaged.stem]):
        try:
            _usable(path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError, GenpriorError):
            continue
        return (
            f"The previous checkpoint, {path.name}, is undamaged: genprior train ... --resume last-good moves the "
            f"damaged one aside and resumes from step {step_of(path)}."
        )
    return "There is no undamaged checkpoint before it: give another --out to train anew, or remove the run folder."


def recorded_checksum(path: Path) -> str:
    """The checksum of a checkpoint's tensors, from its JSON file; the tensors are not read.

    Raises:
        CheckpointError: the JSON file is damaged.
        OSError: the system cannot read it.
    """
    facts = path.with_suffix(".json")
    try:
        with to_file("read", facts):
            return str(json.loads(facts.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{facts} is damaged ({error!r}); train the run again") from error


def _complete(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*.safetensors") if p.with_suffix(".json").exists())


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
