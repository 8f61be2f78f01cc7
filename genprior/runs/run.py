"""A run on disk: resolved recipe, records, scores, and new samples from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from genprior.engine.build import build_model
from genprior.engine.device import choose_device
from genprior.engine.sampling import generate
from genprior.errors import (
    CheckpointError,
    PlanError,
    RunError,
    did_you_mean,
    in_a_sentence,
    whole_number,
    wrong_settings,
)
from genprior.parts import DataInfo, Dataset, Embedder, ImageSet, Model, PartConfig
from genprior.recipe.plan import Plan
from genprior.registry import Registry
from genprior.runs.folder import RunFolder
from genprior.runs.hub import local_folder
from genprior.runs.part_errors import naming_parts
from genprior.runs.pictures_given import plain_label
from genprior.runs.records import Facts, FirstStage
from genprior.runs.trained_model import TrainedModel
from genprior.scoring.measure import absent_numbers
from genprior.storage.checkpoint import Checkpoint
from genprior.storage.restore import SizesOfCheckpoint, load_weights

__all__ = ["Run", "described_data", "load_run"]

_INFO: TypeAdapter[DataInfo] = TypeAdapter(DataInfo)


def described_data(config: PartConfig, files_hash: str | None) -> dict[str, Any]:
    """A data set's name and settings for tables, and the hash of the user's own files if no setting is that hash."""
    dataset = config.part
    # Settings that change no image are no part of a protocol.
    reading = set(dataset.reading) if issubclass(dataset, Dataset) else set()
    described: dict[str, Any] = config.model_dump(mode="json", exclude=reading)
    return described if files_hash is None or files_hash in described.values() else {**described, "hash": files_hash}


class Run(TrainedModel):
    """A finished or unfinished run; see `TrainedModel` for what its model does with images."""

    def __init__(self, folder: Path, plan: Plan, facts: Facts, device: str = "cpu") -> None:
        """Set the folder, the resolved recipe, the content of run.json and the device; see `load_run`."""
        self.folder = folder
        self.plan = plan
        self.facts = facts
        self.device = choose_device(device)
        self._files = RunFolder(folder)
        self._splits: dict[str, ImageSet] = {}

    def unread(self) -> Run:
        """The same run, of which nothing has been read: its model is freed with it, where there are many runs."""
        return Run(self.folder, self.plan, self.facts)

    @property
    def label(self) -> str:
        """The row's name."""
        return self.plan.label

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.facts["seed"]

    @property
    def finished(self) -> bool:
        """Whether training is complete and the scores are measured.

        Raises:
            RunError: `scores.json` is damaged.
        """
        return self.facts["finished"] and self._files.scored(self.plan)

    @property
    def described_data(self) -> dict[str, Any]:
        """The data set that it was trained on, for tables; an older run of a user's own images has no hash of them."""
        return described_data(self.plan.data, self.facts.get("data_hash"))

    @cached_property
    def scores(self) -> dict[str, float]:
        """The scores by name; empty for an unfinished run, whose folder may hold those of a shorter one."""
        return self._files.scores() if self.facts["finished"] else {}

    @cached_property
    def networks(self) -> dict[str, str]:
        """The keys of the networks whose features scores are of, by the score's name; older runs have none."""
        return self._files.networks() if self.facts["finished"] else {}

    @property
    def absent(self) -> dict[str, str]:
        """Why columns of tables have no number of this finished run, by their keys; empty for an unfinished run."""
        scores = [config.make() for config in self.plan.scores] if self.finished else []
        return absent_numbers(scores, self.scores)

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl."""
        return self._files.metrics()

    @property
    def step(self) -> int:
        """The last step that run.json, metrics.jsonl or the newest checkpoint is of."""
        return self._files.last_step(self.facts["step"], self.metrics)

    @property
    def first_stage(self) -> FirstStage | None:
        """The first stage of a run with a fitted prior: its `folder` from here, `weights` (a hash) and `seconds`."""
        return self.facts.get("first_stage")

    @property
    def seconds_of_training(self) -> float | None:
        """Seconds of training, for a run with a fitted prior of its first stage and the fit; None if not recorded."""
        first, own = self.first_stage, self.facts.get("seconds")
        return None if own is None else own + (first["seconds"] if first is not None else 0.0)

    @property
    def stopped_early(self) -> str:
        """Where early stopping ended the run, such as `step 120 of 400, best at step 60`; empty if it did not."""
        stopped = self.facts.get("stopped_step")
        if stopped is None:
            return ""
        best = self.facts.get("best_step")
        return f"step {stopped:,} of {self.plan.own_run.steps:,}" + (f", best at step {best:,}" if best else "")

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint of the run's model: the best so far with early stopping, else the newest complete one."""
        return self._files.best_checkpoint

    @cached_property
    def model(self) -> Model:
        """The model with the weights for evaluation (averaged if the run has them) of the run's checkpoint.

        That is the best so far with early stopping, else the newest. The model is on the run's device.

        Raises:
            RunError: there is no checkpoint yet, or its JSON file is damaged.
            CheckpointError: the checkpoint is damaged, or of another model than the recipe.
        """
        saved = self._files.read_checkpoint(best=True)
        if saved is None:
            raise self._without_checkpoint()
        info = self._info(saved)
        with naming_parts(self.label), SizesOfCheckpoint(saved.tensors, self.checkpoint):
            model = build_model(self.plan.model, info, self.seed)
        try:
            # The optimisers of a fit have the fitted prior's modules.
            place = "" if self.plan.fitted_prior is None else "fitted_prior."
            evaluated = {f"{place}{name}": tensor for name, tensor in saved.under("evaluation").items()}
            load_weights(model, {**saved.under("model"), **saved.under("average"), **evaluated})
        except (RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"the checkpoint {self.checkpoint} does not fit recipe.toml: {in_a_sentence(str(error)[:500])}. "
                "One of the two was altered, or another version of a plugin wrote them; restore them, or train "
                "anew with another --out"
            ) from error
        if model.embedder is not None:
            self._restore(model.embedder)
        return model.eval().to(self.device)

    def _restore(self, embedder: Embedder) -> None:
        state = self._files.embedder()
        if state is None:
            raise RunError(
                f"the run {self.folder} has no embedder.safetensors, without which its model cannot read text; give "
                "its training command again, which writes it anew"
            )
        with naming_parts(self.label):
            embedder.restore(state)

    def label_index(self, label: str | int) -> int:
        """The index of a class that is given by its name or index.

        Raises:
            PlanError: the class does not exist.
        """
        classes, label = self.classes, plain_label(label)
        if str(label) in classes:
            return classes.index(str(label))
        if str(label).isdecimal() and int(label) < len(classes):
            return int(label)
        if self.model.embedder is not None:
            raise PlanError(
                f"the model of the run {self.folder} is asked by a sentence, and by no label such as '{label}'; give a "
                "text, in Python as text=..., on the command line as --text"
            )
        indices = f"; indices are 0 to {len(classes) - 1}" if classes else ""
        raise PlanError(f"there is no class '{label}' in this run's data{did_you_mean(str(label), classes)}{indices}")

    @cached_property
    def classes(self) -> list[str]:
        """The class names of the run's data, in label order."""
        saved = self._files.read_checkpoint(best=True)
        return list(self._info(saved).classes) if saved is not None else []

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of the training images.

        Raises:
            RunError: there is no checkpoint yet.
        """
        saved = self._files.read_checkpoint(best=True)
        if saved is None:
            raise self._without_checkpoint()
        return self._info(saved).image

    def _without_checkpoint(self) -> RunError:
        return RunError(
            f"the run {self.folder} has no checkpoint yet; train it further (the first one is written after "
            f"{self.plan.run.checkpoint_every} steps, or when training is interrupted)"
        )

    def _info(self, saved: Checkpoint) -> DataInfo:
        """The form of the training data, as a checkpoint records it.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        try:
            return _INFO.validate_python(saved.facts.get("data"))
        except ValidationError as error:
            raise CheckpointError(
                f"the checkpoint {self.checkpoint} is damaged: in its .json, data: "
                f"{in_a_sentence(wrong_settings(error))}. Restore the file, or train anew with another --out"
            ) from error

    def images(self, split: str) -> ImageSet:
        """A split of the run's data set, read once.

        Raises:
            DataError: the data set has no such split, or is missing.
            RunError: the user's own images have changed since the run was trained.
        """
        if split not in self._splits:
            with naming_parts(self.label):
                dataset = self.plan.data.make()
                self._files.check_data(dataset.files_hash())
                self._splits[split] = dataset.load(split)
        return self._splits[split]

    def sample(
        self, n: int, *, seed: int = 0, label: str | int | None = None, text: str | Sequence[str] | None = None
    ) -> Tensor:
        """Draw n new images.

        Args:
            n: the number of images.
            seed: draws codes and conditions; a longer sequence begins with the shorter one.
            label: a class's name or index, for a model that is conditioned on labels.
            text: a sentence that describes the images, for a model that is conditioned on text; several sentences are
                repeated in turn.

        Returns:
            uint8 [n, c, h, w].

        Raises:
            RunError: n is no whole number of at least 1, the seed none of at least 0, or there is no checkpoint yet.
            PlanError: the class does not exist, the model is not conditioned on labels or not on text, both are given,
                or a sentence is empty or no text.
        """
        n, seed = whole_number(n, "n", RunError, least=1), whole_number(seed, "seed", RunError)
        index = None if label is None else self.label_index(label)
        with naming_parts(self.label):
            return generate(self.model, n, seed=seed, label=index, text=text)


def load_run(path: str | Path, *, device: str = "cpu", registry: Registry | None = None) -> Run:
    """Read a run's folder, `<out>/<row>/seed-<k>`.

    Args:
        path: the folder, an exported one, or the address of one, `hf://user/name`.
        device: where the model computes: `cpu`, on which the images of a seed are the same on every machine, `cuda`,
            or `auto`, which is CUDA if it is available.
        registry: the registry of parts; the installed and registered parts by default.

    Raises:
        PlanError: there is no such device here.
        RunError: it is not a run folder (the message lists the runs below it), or its recipe is damaged or does not
            fit the installed parts, or run.json is damaged.
    """
    files = RunFolder(local_folder(path), registry)
    facts = files.facts()
    if facts is None or files.recipe() is None:
        below = sorted(str(found.parent) for found in files.path.glob("*/**/run.json"))
        listed = f" Runs below it: {', '.join(below)}" if below else " There are no runs below it."
        raise RunError(f"{files.path} is not a run folder (it lacks recipe.toml or run.json).{listed}")
    return Run(files.path, files.plan(), facts, device)
