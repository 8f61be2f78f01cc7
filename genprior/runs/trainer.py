"""Trains one row under one seed: batches, phases, averaged weights, records, checkpoints and final scores."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from genprior.data.batches import DeviceData
from genprior.data.images import as_trained
from genprior.engine.build import build_model
from genprior.engine.device import choose_device, choose_precision
from genprior.engine.divergence import Guard
from genprior.engine.ema import AveragedWeights
from genprior.engine.look_again import first_not_finite
from genprior.engine.memory import keep_freed_memory
from genprior.engine.optimise import learning_rate, make_optimiser
from genprior.engine.ranks import average_over_ranks, rank, world
from genprior.engine.recorder import Recorder
from genprior.engine.sampling import evaluating, generate
from genprior.engine.state import TrainingState
from genprior.engine.step import run_phase
from genprior.errors import Interrupted, PartFailed
from genprior.parts import Batch, ImageSet, Model
from genprior.randomness import reseed, seeded
from genprior.recipe.plan import Plan
from genprior.registry import Registry, installed
from genprior.runs import records
from genprior.runs.clock import Clock
from genprior.runs.divergence import explanation, warn_of_damaged, warn_of_skipped
from genprior.runs.embedded import embedded_captions
from genprior.runs.embedder_file import embedder_hash
from genprior.runs.environment import surroundings
from genprior.runs.folder import RunFolder
from genprior.runs.listeners import Listeners
from genprior.runs.part_errors import naming_parts
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import measure_all
from genprior.storage.cache import cache_folder

__all__ = ["Trainer"]


class Trainer:
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
    ) -> None:
        """Set what to train and where. Nothing is read or written before `prepare` or `run`.

        Args:
            plan: the resolved row.
            seed: the run's seed.
            folder: the run's folder.
            device: `auto`, `cpu` or `cuda`.
            registry: the registry of parts and hooks; the installed plugins by default.
            splits: splits of the data set that have been read, by name; splits that this trainer reads are added, so
                that trainers of one data set can share them.
            stop: called after each step; if True, a checkpoint is written and `Interrupted` is raised.
            progress: called with the number of steps done and images/s, at most ten times a second.
            last_good: resume from the newest undamaged checkpoint; newer ones are moved to `checkpoints/damaged`.
        """
        self.plan = plan
        self.seed = seed
        self.folder = folder
        self.step = 0
        self.seconds = 0.0
        self.metrics: list[dict[str, Any]] = []
        self._device = choose_device(device)
        self._registry = registry or installed()
        self._files = RunFolder(folder, self._registry)
        self._stop = stop
        self._progress = progress
        self._last_good = last_good
        self._splits = {} if splits is None else splits
        self._data_hash: str | None = None

    # ----------------------------------------------------------------------------------------------------------------
    # Preparation and one step
    # ----------------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Read the data and build the model and its optimisers; nothing is written.

        Raises:
            GenpriorError: the data is missing, or parts do not fit.
        """
        plan = self.plan
        if self._device.type == "cpu":
            keep_freed_memory()
        train, dataset = self.images("train"), plan.data.make()
        self._info = as_trained(dataset, plan.run.labels, train)
        self.model: Model = build_model(plan.model, self._info, self.seed)
        self.data = DeviceData(
            train,
            self._device,
            batch=plan.run.batch,
            seed=self.seed,
            **plan.run.augmentation,
            channels_last=True,
            stochastic=dataset.stochastic,
            labels=self._info.labelled,
            labelled_batch=plan.run.labelled_batch,
            text=embedded_captions(self.model.embedder, self._files, train),
            rank=rank(),
            world=world(),
        )
        self.model.to(self._device)
        self.model.to(memory_format=torch.channels_last)
        with seeded(self.seed, "begin"):
            self.model.begin(self.data.draw)
        self.modules = dict(self.model.named_children())
        trained = {name: module for name, module in self.modules.items() if any(True for _ in module.parameters())}
        plan.check_optimisers(self.modules, trained)
        self.optimisers = {
            name: make_optimiser(plan.optimiser_of(name), module.parameters()) for name, module in trained.items()
        }
        # A prior that borrows a module uses it to draw codes.
        roles = dict.fromkeys((*self.model.generating, *getattr(self.modules.get("prior"), "borrows", ())))
        generating = {name: self.modules[name] for name in roles if name in self.modules}
        self.average = AveragedWeights(generating, plan.run.ema) if plan.run.ema is not None else None
        self._listeners = Listeners(plan, self._registry)
        skip = plan.run.on_divergence == "skip"
        kept = [buffer for part in (self.model, *self.modules.values()) for buffer in part.buffers(recurse=False)]
        self.guard = Guard(self._device, skip=skip, kept=kept)
        self.recorder = Recorder(latest=skip)
        self._state = TrainingState(self.model, self.optimisers, self.average, self.recorder, self.guard)
        self.phases = self.model.phases()
        dtype = choose_precision(plan.run.precision, self._device)
        self.precision = str(dtype).removeprefix("torch.")
        self._autocast = torch.autocast(self._device.type, dtype=dtype, enabled=dtype != torch.float32)

    def images(self, split: str) -> ImageSet:
        """A split of the data set, read once."""
        if split not in self._splits:
            self._splits[split] = self.plan.data.make().load(split)
        return self._splits[split]

    def one_step(self) -> None:
        """Run every phase that is due at the current step, and increment the step.

        Raises:
            NotFinite: a loss or gradient was not finite; nothing was updated with it. On a GPU, `check` raises it.
        """
        plan, step = self.plan, self.step
        batch = self._begin(step)
        self.guard.step = step
        for name, optimiser in self.optimisers.items():
            optimiser.param_groups[0]["lr"] = learning_rate(plan.optimiser_of(name), step, plan.run.steps)
        average = average_over_ranks if torch.distributed.is_initialized() else None
        for phase in self.phases:
            if step % phase.every == 0:
                result = run_phase(phase, batch, self.modules, self.optimisers, average, self._autocast, self.guard)
                self.recorder.add(phase, result, step)
                if result.left_out is True:
                    self.check()
        if self.average is not None:
            self.average.update(step)
        self.step += 1

    def check(self) -> None:
        """Raise if training must stop because a loss or gradient was not finite; waits for the device.

        Raises:
            NotFinite: the message names the step, the phase, the module and what was not finite first.
        """
        if self.guard.stopped:
            self.recorder.check(self.plan.label, self._explained)

    def _begin(self, step: int) -> Batch:
        reseed(self.seed, "step", step, rank())
        return self.data.batch(step)

    def _explained(self, step: int, name: str) -> str:
        """What was not finite first in a phase, found by running it again with the same weights."""
        due = [phase for phase in self.phases if step % phase.every == 0]
        upto = due[: 1 + [phase.name for phase in due].index(name)]
        first = first_not_finite(upto, self._begin(step), self.model, self._autocast)
        newest = self._files.newest_checkpoint
        skipped = self.guard.skipped if self.guard.skip else None
        return explanation(first, skipped, None if newest is None else self._files.checkpoint_step)

    # ----------------------------------------------------------------------------------------------------------------
    # The run
    # ----------------------------------------------------------------------------------------------------------------

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
        """
        with naming_parts(self.plan.label, self._registry), self._files.locked():
            self._files.claim(self.plan)
            finished = self._files.finished(self.plan)
            if finished and not self._files.lacks_embedder:
                return self._files.scores()
            self.prepare()
            self._data_hash = self.plan.data.make().files_hash()
            self._files.check_data(self._data_hash)
            if self.model.embedder is not None:
                self._files.write_embedder(self.model.embedder.state())
            if finished:
                return self._files.scores()
            self._resume()
            self._files.write_recipe(self.plan)
            self._files.write_facts(self._facts(finished=False))
            if self.data.labelled is not None:
                self._files.write_labelled(self.data.labelled.tolist())
            self._listeners.started(self)
            self._train(min(until or self.plan.run.steps, self.plan.run.steps))
            if self.step < self.plan.run.steps:
                return {}
            warn_of_skipped(self.plan.label, self.guard.skipped, self.plan.run.steps)
            scores = self.score()
            self._files.write_scores(scores)
            self._listeners.finished(self, scores)
            self._files.write_facts(self._facts(finished=True))
            return scores

    def sample(self, n: int, *, seed: int | None = None, label: int | None = None) -> Tensor:
        """Draw n new images, uint8 [n, c, h, w] on the host, with the averaged weights if there are any."""
        with self.average.in_place() if self.average is not None else contextlib.nullcontext():
            return generate(self.model, n, seed=self.seed if seed is None else seed, label=label)

    @contextlib.contextmanager
    def trained(self) -> Iterator[Model]:
        """The model inside a `with` block: averaged weights if there are any, evaluation mode, no gradients."""
        averaged = self.average.in_place() if self.average is not None else contextlib.nullcontext()
        with averaged, evaluating(self.model):
            yield self.model

    def score(self) -> dict[str, float]:
        """Measure all scores of the plan on samples drawn under the run's seed."""
        if not self.plan.scores:
            return {}
        context = SampleContext(
            sampler=self.sample,
            load=self.images,
            device=self._device,
            seed=self.seed,
            cache=cache_folder(),
            trained=self.trained,
        )
        return measure_all([config.make() for config in self.plan.scores], context, self.plan.label)

    def _train(self, until: int) -> None:
        run = self.plan.run
        self.model.train()
        first, shown = self.step, 0.0
        clock = Clock(self.seconds)
        while self.step < until:
            self.one_step()
            if time.perf_counter() - shown > 0.1 or self.step == until:
                self._progress(self.step, (self.step - first) * run.batch / clock.running)
                shown = time.perf_counter()
            record = None
            if self.step % run.log_every == 0 or self.step == run.steps:
                self.check()
                self.seconds = clock.total
                record = self._record()
            failed = None
            with clock.paused():
                try:
                    self._listeners.step_done(self, self.step, record)
                except PartFailed as error:  # what is trained is kept
                    failed = error
            stopping = self._stop()
            if self.step % run.checkpoint_every == 0 or self.step == until or stopping or failed is not None:
                self.check()
                self.seconds = clock.total
                self._write_checkpoint()
            if failed is not None:
                raise failed
            if stopping and self.step < run.steps:
                raise Interrupted(f"row '{self.plan.label}' stopped after {self.step} of {run.steps} steps")

    def _record(self) -> dict[str, Any]:
        means = {key: value if math.isfinite(value) else None for key, value in self.recorder.means().items()}
        line: dict[str, Any] = {"step": self.step, "seconds": round(self.seconds, 3), **means}
        if skipped := self.guard.skipped.total if self.guard.skip else 0:
            line["skipped_steps"] = skipped
        self.metrics.append(line)
        self._files.append_metrics(line)
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
        self.metrics = self._files.cut_metrics(self.step)

    def _write_checkpoint(self) -> None:
        if rank() == 0:
            facts = {"seconds": self.seconds, "data": self._info._asdict(), **self._state.facts()}
            self._files.write_checkpoint(self.step, self._state.tensors(), facts, self.plan.run.keep)

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
            "images_per_second": round(rate, 1) if rate is not None else None,
            "parameters": {n: sum(p.numel() for p in module.parameters()) for n, module in self.modules.items()},
            "plugins": {origin.plugin: origin.distribution for origin in self._registry.plugins},
            **({} if self._data_hash is None else {"data_hash": self._data_hash}),
            **({} if self.model.embedder is None else {"embedder": embedder_hash(self.model.embedder.state())}),
            **surroundings(self._device, self.precision),
        }
