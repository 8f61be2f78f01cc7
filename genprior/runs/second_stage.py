"""The second stage of a row with a fitted prior: the prior is fitted to the codes of the training images.

The first stage is a run like any other, in a folder of its own, which several rows can share. The second one starts
from its weights for evaluation, which it freezes, and keeps them in its own checkpoints, so that its run folder is
complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.data.batches import DeviceData
from genprior.data.codes import CodeBatches
from genprior.engine.fit import begin_fit, fitted_modules
from genprior.engine.ranks import rank, world
from genprior.engine.sampling import CHUNK, evaluating
from genprior.errors import CheckpointError, PlanError, RunError
from genprior.parts import Batch, Codes, FittedPrior, ImageSet
from genprior.randomness import seeded
from genprior.recipe.fit import FitConfig
from genprior.recipe.length import with_steps
from genprior.recipe.plan import Plan
from genprior.registry import Registry
from genprior.runs.early_stopping import ran_out_of_patience
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import Job
from genprior.runs.records import Facts, FirstStage
from genprior.runs.row_training import Stage
from genprior.runs.run import Run
from genprior.runs.torchrun import check_batches
from genprior.runs.trainer import Trainer
from genprior.storage.cache import content_hash

__all__ = ["SecondStage", "trainer_of"]

REHEARSED = 2_000
"""The most codes of a rehearsal."""


class SecondStage(Trainer):
    """Fits a prior to the codes of a trained model, in a run folder of its own; see `Trainer`."""

    def __init__(self, plan: Plan, seed: int, folder: Path, *, first: Path | None, **options: Any) -> None:
        """Set what to fit, to the codes of which model, and where.

        Args:
            plan: the resolved row, with a `fitted_prior`.
            seed: the run's seed.
            folder: the run's folder.
            first: the run folder of the first stage; None rehearses the fit on an untrained model.
            options: see `Trainer`.
        """
        super().__init__(plan.second_stage(), seed, folder, **options)
        self.row = with_steps(plan)
        self._first = first
        self._of_first: FirstStage | None = None

    @property
    def fitted(self) -> FittedPrior:
        """The prior that is fitted, a module of the model.

        Raises:
            PlanError: the model has none.
        """
        fitted = self.model.part_for("fitted_prior")
        if not isinstance(fitted, FittedPrior):
            raise PlanError(f"model '{self.model.name}' did not make its fitted_prior; build.parts makes it")
        return fitted

    @property
    def _settings(self) -> str:
        return "run.fit."

    @property
    def _image_batch(self) -> int:
        return 1  # images are encoded, and no batches of them drawn

    @property
    def _slices(self) -> tuple[int, int]:
        return 0, 1  # each process encodes all images, and gets its slice of the codes

    def check_batch(self, fit: FitConfig) -> None:
        """Refuse batches of a fit that are larger than the number of codes; a step on a few codes does not find this.

        Raises:
            PlanError: says how many codes there are.
        """
        n = fit.draws * len(self.images("train").labels)
        if self.fitted.phases():
            check_batches("run.fit.batch", fit.batch)
        if fit.batch > n and self.fitted.phases():
            raise PlanError(
                f"run.fit.batch = {fit.batch} is more than the {n} codes of the training images; choose a smaller "
                "batch, or more run.fit.draws"
            )

    def _stage(self, images: DeviceData) -> Stage:
        """Take the weights of the first stage, and encode the training images."""
        if self._first is not None:
            self._take_first(self._first)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        fitted = self.fitted.requires_grad_(True)
        codes = self._codes(images)
        begin_fit(fitted, codes, self.seed)
        batch = self.plan.run.batch if fitted.phases() else len(codes.z)
        if self._first is None:  # a rehearsal, in which `check_batch` is called for the batch of the row
            batch = min(batch, len(codes.z))
        data = CodeBatches(codes, batch=batch, seed=self.seed, rank=rank(), world=world())
        return Stage(data, fitted_modules(fitted), fitted.phases(), {"fitted_prior": fitted})

    def _take_first(self, folder: Path) -> None:
        """Load the weights for evaluation of the first stage.

        Raises:
            RunError: it is not trained to its end, of another recipe, or not the one with which the fit began; or it
                cannot be loaded.
        """
        files, plan = RunFolder(folder, self._registry), with_steps(self.row.first_stage())
        facts = files.facts()
        if facts is None or not _trained(files, plan, facts):
            done = "has not begun"
            if facts is not None:
                done = f"is trained to step {files.checkpoint_step:,} of {plan.run.steps:,}"
            raise RunError(
                f"the first stage of row '{self.row.label}', {folder}, {done}, and a prior is fitted to the codes of a "
                "trained model. Train the recipe, which trains the first stage too"
            )
        if changed := files.differences(plan):
            listed = "; ".join(changed)
            raise RunError(f"the first stage of row '{self.row.label}', {folder}, is of another recipe: {listed}")
        weights = self._weights_of(Run(folder, files.plan(), facts))
        found = content_hash(weights)
        before: FirstStage | None = self._files.fact("first_stage")
        was = found if before is None else before["weights"]
        if found != was:
            raise RunError(
                f"the first stage of {self._files.path} has changed since the fit began: its weights had the hash "
                f"{was}, and those in {folder} have {found}. Nothing was changed. Restore them, or give another --out."
            )
        lacking = self.model.load_state_dict(weights, strict=False)
        wrong = [name for name in lacking.missing_keys if not name.startswith("fitted_prior.")]
        if wrong or lacking.unexpected_keys:
            raise RunError(
                f"the first stage {folder} does not fit the model: {', '.join([*wrong, *lacking.unexpected_keys])}"
            )
        self._of_first = {
            "folder": os.path.relpath(folder, self._files.path),
            "weights": found,
            "seconds": facts["seconds"],
            "parameters": facts.get("parameters", {}),
        }

    def _weights_of(self, run: Run) -> Mapping[str, Tensor]:
        try:
            return run.model.state_dict()
        except (CheckpointError, RunError) as error:
            cause = str(error).rstrip(".")
            raise RunError(
                f"the first stage of row '{self.row.label}' cannot be loaded: {cause}. Nothing was changed. If the "
                f"checkpoints of {run.folder} are lost, remove that folder: the same command trains it anew"
            ) from error

    def _codes(self, images: DeviceData) -> Codes:
        """Draw the codes of all training images, or of some in a rehearsal, under the seed.

        Raises:
            PlanError: the model has no codes, or the prior needs more of them than there are.
        """
        fit = self.row.run.fit
        draws = 1 if fit is None else fit.draws
        needed = draws * len(images)
        self.fitted.check_codes(needed)
        if self._first is None:
            needed = self._rehearsed(needed)
        # In a rehearsal some images have all their draws, or as many as are needed, as a label may have a single image.
        batches = _seeded_batches(images, self.seed, draws, -(-needed // draws), in_turn=self._first is None)
        z: list[Tensor] = []
        asked: list[Tensor] = []
        with evaluating(self.model):
            for batch in batches:
                codes = self.model.draw_posterior(batch)
                if codes is None:
                    raise PlanError(
                        f"model '{self.model.name}' has no codes of images, so no prior can be fitted to them; "
                        "leave fitted_prior out, or use a model with an encoder"
                    )
                z.append(codes.z.float())
                asked.append(codes.asked.float())
                needed -= len(codes.z)
                if needed <= 0:
                    break
        found = Codes(torch.cat(z), torch.cat(asked))
        if not bool(found.z.isfinite().all()):
            raise RunError(f"the first stage of row '{self.row.label}' gives codes that are not finite")
        return found

    def _rehearsed(self, codes: int) -> int:
        """How many of the codes a rehearsal needs: some, and more if the prior takes no fewer."""
        some = min(codes, REHEARSED)
        while some < codes:
            try:
                self.fitted.check_codes(some)
            except PlanError:
                some = min(codes, 2 * some)
            else:
                break
        return some

    def _check_optimisers(self, trained: Iterable[str]) -> None:
        """Refuse settings of a module that the fitted prior does not have."""
        known = list(trained)
        for name in self.row.run.fit.optimiser if self.row.run.fit is not None else ():
            if name not in ("default", *known):
                raise PlanError(
                    f"run.fit.optimiser.{name} is not a module of fitted_prior '{self.fitted.name}'. "
                    f"Possible: {', '.join(['default', *known])}"
                )

    def _training_mode(self) -> None:
        self.model.eval()
        self.fitted.train()

    def _facts_of_stage(self) -> dict[str, Any]:
        """The first stage, and the parameters of the fitted prior: of each module, and those of the prior itself."""
        counts = {name: sum(p.numel() for p in each.parameters()) for name, each in self.modules.items()}
        if own := sum(p.numel() for p in self.fitted.parameters(recurse=False)):
            counts["fitted_prior"] = own
        first = {} if self._of_first is None else {"first_stage": self._of_first}
        return {"parameters": counts, **first}


def _trained(files: RunFolder, plan: Plan, facts: Facts) -> bool:
    """Whether the first stage in a folder is trained to its end, scored or not."""
    if facts["finished"]:
        return True
    saved = files.read_checkpoint()
    return saved is not None and (saved.step == plan.run.steps or ran_out_of_patience(plan.run.stop, saved.facts))


def _seeded_batches(images: DeviceData, seed: int, draws: int, each: int, *, in_turn: bool) -> Iterator[Batch]:
    """At least `each` training images, as often as there are draws; what is drawn depends on the draw and the batch."""
    for draw in range(draws):
        for number, batch in enumerate(images.in_order(CHUNK, in_turn=in_turn)):
            if number * CHUNK >= each:
                break
            with seeded(seed, "codes", draw, number):
                yield batch


def trainer_of(
    job: Job,
    *,
    device: str = "auto",
    registry: Registry | None = None,
    splits: dict[str, ImageSet] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, float], None] = lambda step, rate: None,
    last_good: bool = False,
    together: Callable[[Trainer], None] = lambda trainer: None,
) -> Trainer:
    """The trainer of a job: of its second stage, if it builds on a first one; see `Trainer` for the arguments."""
    options: dict[str, Any] = {
        "device": device,
        "registry": registry,
        "splits": splits,
        "stop": stop,
        "progress": progress,
        "last_good": last_good,
        "together": together,
    }
    if job.plan.fitted_prior is None:
        return Trainer(job.plan, job.seed, job.folder, **options)
    return SecondStage(job.plan, job.seed, job.folder, first=job.first, **options)
