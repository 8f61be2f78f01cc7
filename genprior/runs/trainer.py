"""Trains one row under one seed in its run folder: records, checkpoints, hooks and final scores."""

from __future__ import annotations

import contextlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from genprior.engine.ranks import alone, most_of_ranks, rank, world
from genprior.engine.state import same
from genprior.errors import GenpriorError, GenpriorWarning, Interrupted, NotFinite, PartFailed
from genprior.parts import ImageSet
from genprior.recipe.plan import KeepConfig, Plan
from genprior.registry import Registry
from genprior.runs import records
from genprior.runs.clock import Clock
from genprior.runs.divergence import warn_of_damaged, warn_of_skipped
from genprior.runs.early_stopping import is_measurement
from genprior.runs.embedder_file import embedder_hash
from genprior.runs.environment import surroundings
from genprior.runs.final_scores import final_scores
from genprior.runs.memory import naming_memory
from genprior.runs.part_errors import naming_parts, part_failed
from genprior.runs.resumed import same_threads
from genprior.runs.shared_training import SharedTraining
from genprior.storage import checkpoint

__all__ = ["Trainer"]


class Trainer(SharedTraining):
    """Trains one row under one seed in its run folder; an unfinished run is resumed."""

    def __init__(
        self,
        plan: Plan,
        seed: int,
        folder: Path,
        *,
        device: str = "auto",
        registry: Registry | None = None,
        splits: dict[str, ImageSet] | None = None,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int, float], None] = lambda step, rate: None,
        last_good: bool = False,
        together: Callable[[Trainer], None] = lambda trainer: None,
    ) -> None:
        """Set what to train and where. Nothing is read or written before `prepare` or `run`.

        Args:
            plan: the resolved row.
            seed: the run's seed.
            folder: the run's folder.
            device: `auto`, `cpu` or `cuda`.
            registry: the registry of parts and hooks; the installed plugins by default.
            splits: splits of the data set that have been read, by name; see `RowTraining`.
            stop: called after each step; if True, a checkpoint is written and `Interrupted` is raised.
            progress: called with the number of steps done and images/s, at most ten times a second.
            last_good: resume from the newest undamaged checkpoint; newer ones are moved to `checkpoints/damaged`.
            together: called before the first step, when other processes begin to share the steps.
        """
        super().__init__(plan, seed, folder, device=device, registry=registry, splits=splits)
        self.metrics: list[dict[str, Any]] = []
        self.row = self.plan
        """The row as run folders hold it; `plan` is what this run trains, which in a second stage is the fit."""
        self._stop = stop
        self._progress = progress
        self._last_good = last_good
        self._together = together
        self._data_hash: str | None = None
        self._networks: dict[str, str] = {}  # of the scores, once measured

    @property
    def ended(self) -> bool:
        """Whether training is over: after the last step, or after the one at which it stopped early."""
        return self.step == self.plan.run.steps or self._stopping.over

    def run(self, until: int | None = None) -> dict[str, float]:
        """Train to the end, resuming an unfinished run, and score.

        Args:
            until: stop with a checkpoint and without scores after this many steps.

        Returns:
            The scores, by name.

        Raises:
            RunError: the folder is in use, or holds a run of another recipe or on other images.
            NotFinite: a loss or gradient was not finite.
            Interrupted: `stop` returned True.
            PartFailed: a part or a hook raised an exception; the message names it and its plugin.
            OutOfMemory: there was too little memory; the message names the batch and what to lower.
        """
        with (
            naming_parts(self.plan.label, self._registry),
            self._files.locked(),
            same_threads(self._files, self._device),
        ):
            self._files.claim(self.row)
            finished = self._files.finished(self.row)
            if finished and not self._files.lacks_embedder:
                return self._files.scores()
            with naming_memory(self.plan, self._device):
                self.prepare()
            self._data_hash = self.plan.data.make().files_hash()
            self._files.check_data(self._data_hash)
            if finished:
                self._write_embedder()
                return self._files.scores()
            self._resume()
            self._files.write_recipe(self.row)  # before all other files, without which they are of no run
            self._write_embedder()
            self._files.write_facts(self._facts(finished=False))
            if self.data.labelled is not None:
                self._files.write_labelled(self.data.labelled.tolist())
            with self._telling_of_ends(), naming_memory(self.plan, self._device):
                with alone():
                    self._listeners.started(self)
                self._together(self)
                self._train(min(until or self.plan.run.steps, self.plan.run.steps))
                with alone():
                    return self._finish() if self.ended else {}

    def _write_embedder(self) -> None:
        if self.model.embedder is not None:
            self._files.write_embedder(self.model.embedder.state())

    @contextlib.contextmanager
    def _telling_of_ends(self) -> Iterator[None]:
        """Call the hooks if the `with` block is interrupted or fails."""
        try:
            yield
        except (Exception, SystemExit) as error:  # of a part too, which may call sys.exit()
            named = error if isinstance(error, GenpriorError) else part_failed(error, self.plan.label, self._registry)
            self._listeners.ended(self, named or error, interrupted=isinstance(error, Interrupted))
            raise

    def _finish(self) -> dict[str, float]:
        """Score the trained row, with early stopping at its best checkpoint, and complete its records."""
        warn_of_skipped(self.named, self.guard.skipped, self.step)
        self._take_best()
        with naming_memory(self.plan, self._device, doing="scoring"):
            scores = self.score()
        self._files.write_scores(scores, self._networks)
        if self.plan.scores:
            self._listeners.evaluated(self, scores)
        self._listeners.finished(self, scores)
        self._files.write_facts(self._facts(finished=True))
        return scores

    def _take_best(self) -> None:
        """Restore the best weights, if early stopping has measured some."""
        path = self._files.best_checkpoint
        if self._stopping.best_step is not None and path is not None:
            self._state.restore_weights(path, self._device)
        elif self.plan.run.stop is not None:
            text = "no measurement of run.stop.score was finite, so the last weights are scored"
            warnings.warn(GenpriorWarning(f"{self.plan.label}: {text}"), stacklevel=1)

    def score(self) -> dict[str, float]:
        """Measure all scores of the plan on samples drawn under the run's seed."""
        return final_scores(self, self._networks)

    def write_and_restore(self) -> tuple[Path, list[str]]:
        """Write a checkpoint into the folder of a run that is not trained there, and resume from it.

        Returns:
            Its path, and the names of the tensors and facts that are not as they were.

        Raises:
            CheckpointError: it cannot be written, or not be read.
        """
        before = {name: tensor.detach().clone() for name, tensor in self._state.tensors().items()}
        facts = json.loads(json.dumps(self._state.facts()))
        path = self._files.write_checkpoint(self.step, self._state.tensors(), self._checkpoint_facts(), KeepConfig())
        saved = self._state.restore(path, self._device)
        after = self._state.tensors()
        kept = {name for name, tensor in before.items() if name in after and same(tensor, after[name])}
        return path, [*(name for name in before if name not in kept), *(k for k in facts if saved.facts[k] != facts[k])]

    def follow(self) -> None:
        """Train to the end beside the first process, which resumes, records and scores the run."""
        self._train(self.plan.run.steps)

    def _train(self, until: int) -> None:
        self.apart = world() > 1
        try:
            self._train_steps(until)
        except (Interrupted, NotFinite):  # on which all agree
            self.apart = False
            raise
        self.apart = False

    def _train_steps(self, until: int) -> None:
        run = self.plan.run
        self._training_mode()
        if not self.ended:
            self.compile_networks()  # before the clock begins
        first, shown = self.step, 0.0
        clock = Clock(self.seconds)
        recorded = max((line["step"] for line in self.metrics if not is_measurement(line)), default=0)
        if self.ended and recorded < self.step and self.recorder.pending:  # its last step was not the last one then
            self._record(complete=False)
        while self.step < until and not self._stopping.over:
            self.one_step()
            measured, best = self._measure(clock)
            if time.perf_counter() - shown > 0.1 or self.step == until:
                self._progress(self.step, (self.step - first) * run.batch / clock.running)
                shown = time.perf_counter()
            record = measured
            if self.step % run.log_every == 0 or self.ended:
                self.check()
                self.seconds = clock.total
                line = self._record(complete=self.step % run.log_every == 0)
                record = line if measured is None else {**line, **measured}
            failed: Exception | None = None
            with clock.paused(), alone():
                try:
                    with self._listeners.all_told():
                        self._tell_of_step(record)
                except PartFailed as error:  # what is trained is kept
                    failed = error
            stopping, ending = map(bool, most_of_ranks(self._stop(), failed is not None))
            due = self.step % run.checkpoint_every == 0 or self.step == until or self.ended or best
            if due or stopping or ending:
                self.check()
                self.seconds = clock.total
                failed = self._keep(clock, failed)
                ending = bool(most_of_ranks(failed is not None)[0])
            if ending:
                self.apart = False
                raise failed or Interrupted(f"row '{self.plan.label}' failed in the first process")
            if stopping and not self.ended:
                raise Interrupted(f"row '{self.plan.label}' stopped after {self.step} of {run.steps} steps")

    def _keep(self, clock: Clock, failed: Exception | None) -> Exception | None:
        """Write a checkpoint and tell the hooks of it; returns the first error, if there is one."""
        try:
            path = self._write_checkpoint()
            if path is not None:
                with clock.paused(), alone():
                    self._listeners.checkpoint_written(self, path)
        except (GenpriorError, OSError) as error:
            if failed is None:
                return error
            warnings.warn(GenpriorWarning(str(error)), stacklevel=1)
        return failed

    def _measure(self, clock: Clock) -> tuple[dict[str, Any] | None, bool]:
        """Measure for early stopping if it is due, and write the measurement into metrics.jsonl.

        Returns:
            The line, or None; and whether it is the best so far.
        """
        if not self._stopping.due(self.step):
            return None, False
        self.check()  # waits for the device, so that the steps before are in the time of training
        seconds = round(clock.total, 3)
        with clock.paused():
            line = {"step": self.step, "seconds": seconds, **self._stopping.measure(self)}
        self.metrics.append(line)
        self._files.append_metrics(line)
        return line, self._stopping.best_step == self.step

    def _tell_of_step(self, record: dict[str, Any] | None) -> None:
        self._listeners.step_done(self, self.step, record)
        if self.step % self.data.batches_per_epoch == 0:
            self._listeners.epoch_done(self, self.step // self.data.batches_per_epoch)
        if self.step % self.plan.run.sample_every == 0 or self.ended:
            self._listeners.sampled(self, self.step)

    def _record(self, *, complete: bool) -> dict[str, Any]:
        """Write a line of metrics.jsonl; the last line of a run may be of fewer steps, and its sums are then kept."""
        means = {k: v if math.isfinite(v) else None for k, v in self.recorder.means(reset=complete).items()}
        rates = self._optimising.rates(self.step - 1)
        line: dict[str, Any] = {"step": self.step, "seconds": round(self.seconds, 3), **means, **rates}
        if skipped := self.guard.skipped.total if self.guard.skip else 0:
            line["skipped_steps"] = skipped
        self.metrics.append(line)
        self._files.append_metrics(line)
        if complete:  # a run that is trained further does not have the other line
            self.recorded(line)
        return line

    def _resume(self) -> None:
        """Restore the newest checkpoint, if there is one."""
        if self._last_good:
            warn_of_damaged(self._files.set_aside_damaged())
        path = self._files.newest_checkpoint
        if path is not None:
            saved = self._state.restore(path, self._device)
            remedy = "delete this checkpoint to resume from the previous one"
            facts = records.checked(saved.facts, records.CHECKPOINT, path.with_suffix(".json"), remedy)
            self.step, self.seconds = saved.step, float(facts["seconds"])
            self._stopping.restore(saved.facts)
            self._listeners.restore(saved.facts)
            # A process that ended between writing a checkpoint and removing older ones left them.
            checkpoint.prune(path.parent, last=self.plan.run.keep.last, every=self.plan.run.keep.every)
        # Sums at the end of a shorter run: its last line was of these steps alone, and the next one includes them.
        last = self.step - 1 if self.recorder.pending and not self.ended else self.step
        self.metrics = self._files.cut_metrics(
            lambda line: line["step"] <= (self.step if is_measurement(line) else last)
        )

    def _write_checkpoint(self) -> Path | None:
        """Write a checkpoint and return its path; None in a process of another rank than the first."""
        if rank() != 0:
            return None
        return self._files.write_checkpoint(
            self.step, self._state.tensors(), self._checkpoint_facts(), self.plan.run.keep
        )

    def _facts(self, *, finished: bool) -> dict[str, Any]:
        """The content of run.json."""
        rate = self.step * self.plan.run.batch / self.seconds if self.seconds else None
        return {
            "label": self.plan.label,
            "seed": self.seed,
            "finished": finished,
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "skipped_steps": self.guard.skipped.total,
            **self._stopping.outcome(self.step, self.plan.run.steps),
            **self._listeners.facts(),
            "images_per_second": round(rate, 1) if rate is not None else None,
            "parameters": {n: sum(p.numel() for p in module.parameters()) for n, module in self.modules.items()},
            "plugins": {origin.plugin: origin.distribution for origin in self._registry.plugins},
            # While a longer run replaces a finished one, its scores are those of that step.
            **({} if finished or (scored := self._files.fact("scored_step")) is None else {"scored_step": scored}),
            **({} if self._data_hash is None else {"data_hash": self._data_hash}),
            **({} if self.model.embedder is None else {"embedder": embedder_hash(self.model.embedder.state())}),
            **surroundings(self._device, self.precision),
            **({} if self.compiled is None else {"compiled": self.compiled.facts()}),
            **self._facts_of_ranks(),
            **self._facts_of_stage(),
        }

    def _training_mode(self) -> None:
        self.model.train()

    def _facts_of_stage(self) -> dict[str, Any]:
        return {}
