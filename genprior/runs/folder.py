"""The folder of a run: who uses it, whose it is, how far the run is, and each of its files.

`recipe.toml` is the resolved recipe, `run.json` the facts (versions, hardware, times, whether it is finished),
`metrics.jsonl` the records, `scores.json` the scores, `labelled.json` which images kept their label, `checkpoints/` the
weights. Every one of them is read and written here alone.
"""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError
from torch import Tensor

from genprior.errors import RunError
from genprior.recipe.mistakes import explained
from genprior.recipe.plan import Plan
from genprior.registry import Registry, installed
from genprior.runs.jobs import Job
from genprior.storage import checkpoint
from genprior.storage.files import append_line, write_json, write_text

__all__ = ["RunFolder", "refuse_changed"]


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path, registry: Registry | None = None) -> None:
        """Look at a folder, which need not be there yet.

        Args:
            path: `<out>/<row>/seed-<k>`.
            registry: where the parts of its recipe are found; the installed ones by default.
        """
        self.path = path
        self._registry = registry or installed()

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self._facts.exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder inside the block; makes the folder.

        Raises:
            RunError: another process is in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"the run folder {self.path} is in use by another process. Wait for it, or give another --out."
            ) from None
        try:
            yield
        finally:
            lock.release()

    # ----------------------------------------------------------------------------------------------------------------
    # Whose run it is
    # ----------------------------------------------------------------------------------------------------------------

    def recipe(self) -> dict[str, Any] | None:
        """The tables of `recipe.toml`, as the version of the run wrote them; None where there is none.

        A hook that is gone, or has other settings now, is left out: it says nothing of what was trained.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / "recipe.toml"
        try:
            kept = tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise RunError(f"{path} is damaged ({error}); remove the folder, or give another --out") from error
        return _with_usable_hooks(kept, self._registry)

    def plan(self) -> Plan:
        """The resolved recipe of the run, validated with the parts that are installed now.

        What was added since has its default, a retired setting is left out, and parts upgrade what they have replaced.

        Raises:
            RunError: there is no recipe, or it is damaged, or does not fit the parts that are installed.
        """
        kept = self.recipe()
        if kept is None:
            raise RunError(f"{self.path} is no run's folder: it holds no recipe.toml")
        try:
            return Plan.model_validate(kept, context={"registry": self._registry})
        except ValidationError as error:
            mistakes = explained(error, kept, self._registry)
            wrong = "; ".join(f"{'.'.join(map(str, path))}: {text}" for path, text in mistakes)
            raise RunError(
                f"{self.path / 'recipe.toml'} does not fit the parts that are installed: {wrong}. "
                "run.json says with which versions it was trained"
            ) from error

    def differences(self, plan: Plan) -> list[str]:
        """What would make training by `plan` differ from the run that is here, a line each; none where there is none.

        Raises:
            RunError: `recipe.toml` is damaged.
        """
        kept = self.recipe()
        return [] if kept is None else plan.differences(kept, self._registry)

    def claim(self, plan: Plan) -> None:
        """Refuse the folder if it holds a run of another recipe.

        Raises:
            RunError: lists what changed, or says that `recipe.toml` is damaged.
        """
        if changed := self.differences(plan):
            listed = "\n".join(f"  {line}" for line in changed)
            raise RunError(
                f"{self.path} holds a run of another recipe:\n{listed}\n"
                "Nothing was touched. Give another --out, or remove that folder to train anew."
            )

    def finished(self, plan: Plan) -> bool:
        """Whether this is the run of `plan`, trained, and with all its scores."""
        facts = self.facts()
        if facts is None or not facts.get("finished"):
            return False
        try:
            return not self.differences(plan) and self.plan().scores == plan.scores
        except RunError:
            return False

    def write_recipe(self, plan: Plan) -> None:
        """Write `recipe.toml`."""
        write_text(self.path / "recipe.toml", plan.as_toml())

    # ----------------------------------------------------------------------------------------------------------------
    # What is said of it
    # ----------------------------------------------------------------------------------------------------------------

    @property
    def _facts(self) -> Path:
        return self.path / "run.json"

    def facts(self) -> dict[str, Any] | None:
        """The content of `run.json`; None where there is none, or it is damaged."""
        try:
            facts: dict[str, Any] = json.loads(self._facts.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return facts

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Write `run.json`."""
        write_json(self._facts, facts)

    def scores(self) -> dict[str, float]:
        """The scores by name; empty where there are none yet."""
        path = self.path / "scores.json"
        scores: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return scores

    def write_scores(self, scores: Mapping[str, float]) -> None:
        """Write `scores.json`."""
        write_json(self.path / "scores.json", scores)

    def write_labelled(self, images: Sequence[int]) -> None:
        """Write `labelled.json`: the numbers of the training images that keep their label."""
        write_json(self.path / "labelled.json", {"images": images})

    def metrics(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`, without a last line that was not written whole."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append a record to `metrics.jsonl`."""
        append_line(self.path / "metrics.jsonl", record)

    def cut_metrics(self, step: int) -> list[dict[str, Any]]:
        """Drop the records after a step, which training will make again; returns the others."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        kept = [record for record in self.metrics() if record["step"] <= step]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        return kept

    # ----------------------------------------------------------------------------------------------------------------
    # Checkpoints
    # ----------------------------------------------------------------------------------------------------------------

    @property
    def newest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint."""
        return checkpoint.latest(self.path / "checkpoints")

    @property
    def checkpoint_step(self) -> int:
        """The step of the newest complete checkpoint, from which a run resumes; 0 where there is none."""
        path = self.newest_checkpoint
        return int(path.stem.removeprefix("step-")) if path is not None else 0

    def read_checkpoint(self) -> checkpoint.Checkpoint | None:
        """The newest complete checkpoint, on the host; None where there is none yet.

        Raises:
            CheckpointError: it is damaged.
        """
        path = self.newest_checkpoint
        return checkpoint.read(path) if path is not None else None

    def write_checkpoint(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write a checkpoint, and remove all but the newest two.

        Raises:
            CheckpointError: the disk refuses; older checkpoints are untouched.
        """
        checkpoint.write(self.path / "checkpoints", step, tensors, facts)


def refuse_changed(jobs: Sequence[Job], out: Path) -> None:
    """Refuse, before anything is trained, folders that hold runs of another recipe.

    Raises:
        RunError: lists what changed, and in which rows.
    """
    changed: dict[str, list[str]] = {}
    for job in jobs:
        try:
            lines = RunFolder(job.folder).differences(job.plan)
        except RunError:
            continue  # damaged: the run itself says so, with what to do
        for line in lines:
            changed.setdefault(line, []).append(job.name)
    if changed:
        listed = "\n".join(f"  {line} [row {', '.join(names)}]" for line, names in changed.items())
        raise RunError(
            f"{out} holds runs of another recipe:\n{listed}\n"
            "Nothing was touched. Give another --out, or remove the folders of those runs to train anew."
        )


def _with_usable_hooks(table: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """A kept recipe without the settings of hooks that are not installed, or no longer have these settings."""
    run = table.get("run")
    hooks = run.get("hooks") if isinstance(run, dict) else None
    if not isinstance(run, dict) or not isinstance(hooks, dict):
        return table

    def usable(name: str, settings: Any) -> bool:
        try:
            registry.configure("hook", {**settings, "name": name})
        except (TypeError, ValueError):
            return False
        return True

    kept = {name: settings for name, settings in hooks.items() if usable(name, settings)}
    return {**table, "run": {**run, "hooks": kept}}
