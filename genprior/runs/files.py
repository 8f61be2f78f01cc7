"""The files of a run's folder: its lock, and reading and writing of each file.

`recipe.toml` is the resolved recipe, `run.json` the facts (versions, hardware, times, whether the run is finished),
`metrics.jsonl` the records, `scores.json` the scores, `labelled.json` the images that kept their label,
`embedder.safetensors` the fitted embedder of a model that reads text, and `checkpoints/` the weights. Only this module
and `genprior.runs.folder` read or write these files.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from genprior.errors import FORMAT, NewerFormat, RunError
from genprior.parts import EmbedderState
from genprior.recipe.plan import KeepConfig, Plan
from genprior.recipe.resolved import with_usable_hooks
from genprior.registry import Registry, installed
from genprior.runs import records
from genprior.runs.embedder_file import read_embedder, refuse_other, write_embedder
from genprior.runs.exported_files import is_exported
from genprior.storage import checkpoint
from genprior.storage.files import append_line, remove_partial, to_file, write_json, write_text

__all__ = ["CONTENT", "RunFiles"]

CONTENT = (
    "run.json",
    "metrics.jsonl",
    "scores.json",
    "labelled.json",
    "embedder.safetensors",
    "checkpoints",
    "samples",
)
"""What else a run writes into its folder."""

_EXPORTED_REMEDY = "export the run again, or download the folder again"


class RunFiles:
    """The files of one run; see `genprior.runs.folder.RunFolder`."""

    def __init__(self, path: Path, registry: Registry | None = None) -> None:
        """Refer to a folder, which need not exist yet.

        Args:
            path: `<out>/<row>/seed-<k>`.
            registry: the registry of the parts that the recipe names; the installed parts by default.
        """
        self.path = path
        self._registry = registry or installed()

    @property
    def exists(self) -> bool:
        """Whether a run was started in the folder."""
        return self._facts.exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes inside the block; creates the folder.

        Temporary files that a killed process left are removed.

        Raises:
            RunError: another process has locked it, or a link in it leads what is written elsewhere.
        """
        self._refuse_links()
        if self.exported is not None:
            raise RunError(
                f"{self.path} is an exported model, without the state of training, and cannot be trained. Nothing was "
                "changed. It can be sampled and scored; give another --out to train"
            )
        lock = FileLock(self.path / ".lock")
        try:
            with to_file("write", self.path / ".lock"):
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0.2)  # `in_use` holds it for a moment
        except Timeout:
            raise RunError(
                f"the run folder {self.path} is in use by another process. Wait for it, or give another --out."
            ) from None
        try:
            for folder in (self.path, self.path / "checkpoints", self.path / "samples"):
                remove_partial(folder)
            yield
        finally:
            lock.release()

    def _refuse_links(self) -> None:
        """Check that what a run writes stays in its folder, which may itself be a link."""
        links = [name for name in (".lock", "recipe.toml", *CONTENT) if (self.path / name).is_symlink()]
        if links:
            raise RunError(
                f"{self.path / links[0]} is a link, and a run writes into its own folder only. Nothing was changed. "
                "Put what it leads to in its place, or give another --out (the folder of a run may be a link)."
            )

    # ----------------------------------------------------------------------------------------------------------------
    # Recipe
    # ----------------------------------------------------------------------------------------------------------------

    def recipe(self) -> dict[str, Any] | None:
        """The tables of `recipe.toml`, as written by the version that trained the run; None if the file does not exist.

        Hooks that are not installed or have other settings now are left out: they do not affect training.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / "recipe.toml"
        kept = records.read_recipe(path, self._remedy("remove the folder, or give another --out"))
        return None if kept is None else with_usable_hooks(kept, self._registry)

    def write_recipe(self, plan: Plan) -> None:
        """Write `recipe.toml`."""
        write_text(self.path / "recipe.toml", f"format = {FORMAT}\n{plan.as_toml()}")

    # ----------------------------------------------------------------------------------------------------------------
    # Facts, scores and records
    # ----------------------------------------------------------------------------------------------------------------

    @property
    def _facts(self) -> Path:
        return self.path / "run.json"

    def facts(self) -> records.Facts | None:
        """The content of `run.json`; None if it does not exist.

        Raises:
            RunError: it is damaged; the message names the field.
        """
        return records.read_json(
            self._facts, records.FACTS, self._remedy("the training command of the run writes it anew")
        )

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Write `run.json`."""
        write_json(self._facts, {"format": FORMAT, **facts})

    def scores(self) -> dict[str, float]:
        """The scores by name; empty if there are none yet.

        Raises:
            RunError: `scores.json` is damaged; the message names the field.
        """
        return {name: value for name, value in self._scores().items() if name not in ("format", "networks")}

    def networks(self) -> dict[str, str]:
        """The keys of the networks whose features scores are of, by the score's name; empty for older runs.

        Raises:
            RunError: `scores.json` is damaged; the message names the field.
        """
        path = self.path / "scores.json"
        found = records.checked(self._scores(), records.NETWORKS, path, self._remedy_of_scores)
        return found.get("networks", {})

    @property
    def has_scores(self) -> bool:
        """Whether the scores were measured, perhaps without a number where none can be known of the model.

        Raises:
            RunError: `scores.json` is damaged.
        """
        return bool(self._scores())

    def _scores(self) -> dict[str, Any]:
        return records.read_json(self.path / "scores.json", records.SCORES, self._remedy_of_scores) or {}

    @property
    def _remedy_of_scores(self) -> str:
        return self._remedy("the training command of the run measures the scores anew")

    def _remedy(self, of_training: str) -> str:
        """What to do about a damaged file: an exported folder is not trained."""
        return _EXPORTED_REMEDY if is_exported(self.path) else of_training

    def write_scores(self, scores: Mapping[str, float], networks: Mapping[str, str]) -> None:
        """Write `scores.json`, with the networks of scores that have one."""
        more = {"networks": dict(networks)} if networks else {}
        write_json(self.path / "scores.json", {"format": FORMAT, **scores, **more})

    def embedder(self) -> EmbedderState | None:
        """The fitted embedder; None if the file does not exist.

        Raises:
            RunError: it is damaged, or of another run.
        """
        state = read_embedder(self.path / "embedder.safetensors")
        if state is not None:
            self.check_embedder(state)
        return state

    def check_embedder(self, state: EmbedderState) -> None:
        """Check that the run was trained with this embedder, if it recorded one.

        Raises:
            RunError: it was another one.
        """
        refuse_other(state, self.fact("embedder"), self.path)

    @property
    def lacks_embedder(self) -> bool:
        """Whether the run was trained with an embedder whose file is gone."""
        return self.fact("embedder") is not None and not (self.path / "embedder.safetensors").exists()

    def write_embedder(self, state: EmbedderState) -> None:
        """Write `embedder.safetensors`."""
        write_embedder(self.path / "embedder.safetensors", state)

    def write_labelled(self, images: Sequence[int]) -> None:
        """Write `labelled.json`: the indices of the training images that keep their label."""
        write_json(self.path / "labelled.json", {"format": FORMAT, "images": images})

    def metrics(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`, without damaged lines, of which a warning tells."""
        return records.metrics_in(self.path / "metrics.jsonl")

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append a record to `metrics.jsonl`."""
        append_line(self.path / "metrics.jsonl", record)

    def cut_metrics(self, stays: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Remove the records that do not stay, which the resumed training writes again; returns the others."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        kept = [record for record in self.metrics() if stays(record)]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        return kept

    def fact(self, name: str) -> Any:
        """An entry of run.json that not every run has; None without it."""
        try:
            facts = self.facts()
        except NewerFormat:
            raise
        except RunError:  # training writes a damaged run.json anew
            return None
        return None if facts is None else facts.get(name)

    # ----------------------------------------------------------------------------------------------------------------
    # Checkpoints
    # ----------------------------------------------------------------------------------------------------------------

    @property
    def exported(self) -> Path | None:
        """The weights of an exported model, the folder's only checkpoint; None in the folder of a run that trained."""
        path = self.path / checkpoint.EXPORTED
        return path if path.exists() else None

    @property
    def newest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint."""
        return self.exported or checkpoint.latest(self.path / "checkpoints")

    @property
    def checkpoint_step(self) -> int:
        """The step of the newest complete checkpoint, from which a run resumes; 0 if there is none."""
        path = checkpoint.latest(self.path / "checkpoints")
        return checkpoint.step_of(path) if path is not None else 0

    def last_step(self, of_facts: int, records: Sequence[Mapping[str, Any]]) -> int:
        """The last step that run.json, metrics.jsonl or the newest checkpoint is of.

        Args:
            of_facts: the step in run.json.
            records: those of metrics.jsonl.
        """
        # run.json is written at the start and at the end, metrics.jsonl every `run.log_every` steps in between, and a
        # checkpoint at the step at which the user stops the run.
        recorded = int(records[-1]["step"]) if records else 0
        return max(of_facts, recorded, self.checkpoint_step)

    @property
    def best_checkpoint(self) -> Path | None:
        """The checkpoint that is sampled and scored: the best so far with early stopping, else the newest."""
        return self.exported or checkpoint.best(self.path / "checkpoints")

    def read_checkpoint(self, *, best: bool = False) -> checkpoint.Checkpoint | None:
        """The newest complete checkpoint, or the best, on the host; None if there is none yet.

        Raises:
            CheckpointError: it is damaged.
        """
        path = self.best_checkpoint if best else self.newest_checkpoint
        saved = checkpoint.read(path) if path is not None else None
        if saved is not None and path == self.exported:
            saved.tensors = {f"model/{name}": tensor for name, tensor in saved.tensors.items()}
        return saved

    def set_aside_damaged(self) -> list[Path]:
        """Move checkpoints newer than the newest undamaged one away; see `genprior.storage.checkpoint.set_aside`."""
        return checkpoint.set_aside(self.path / "checkpoints")

    def write_checkpoint(
        self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: KeepConfig
    ) -> Path:
        """Write a checkpoint, remove those that `keep` does not name, and return its path.

        Raises:
            CheckpointError: it cannot be written; older checkpoints are kept.
        """
        return checkpoint.write(self.path / "checkpoints", step, tensors, facts, last=keep.last, every=keep.every)
