"""One row under one seed in memory: its data, model and optimisers, and its training steps."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn

from genprior.data.batches import DeviceData
from genprior.data.codes import CodeBatches
from genprior.data.images import as_trained
from genprior.engine.build import build_model
from genprior.engine.clip import Clipping
from genprior.engine.compiled import Compiled, Compiler, no_compilation
from genprior.engine.device import choose_device
from genprior.engine.divergence import Guard
from genprior.engine.ema import AveragedWeights
from genprior.engine.graphs import CudaCapture, Graphs, refusal
from genprior.engine.known_modules import KnownModules
from genprior.engine.look_again import first_not_finite
from genprior.engine.memory import keep_freed_memory
from genprior.engine.optimise import Optimisers
from genprior.engine.precision import Precision, choose_precision
from genprior.engine.ranks import rank, world
from genprior.engine.recorder import Recorder
from genprior.engine.sampling import evaluating, generate
from genprior.engine.state import TrainingState
from genprior.engine.step import run_phase
from genprior.errors import GenpriorWarning
from genprior.parts import Batch, Codes, DataInfo, ImageSet, Model, Phase, Prior
from genprior.randomness import reseed, seeded
from genprior.recipe.length import with_steps
from genprior.recipe.plan import Plan
from genprior.registry import Registry, installed
from genprior.runs.divergence import explanation
from genprior.runs.embedded import embedded_captions
from genprior.runs.folder import RunFolder
from genprior.runs.listeners import Listeners
from genprior.runs.resumed import recorded_hardware
from genprior.runs.silent_folder import SilentFolder

__all__ = ["RowTraining", "Stage"]


class Stage(NamedTuple):
    """What a run trains, and on what."""

    data: DeviceData | CodeBatches
    """The batches of its steps."""
    modules: dict[str, nn.Module]
    """The modules, by the names that phases have for them."""
    phases: tuple[Phase, ...]
    """The phases of a step."""
    averaged: dict[str, nn.Module]
    """The modules whose weights `run.ema` averages, by their names in the model."""


class RowTraining:
    """The data, model and optimisers of one row under one seed, and its training steps; nothing is written."""

    compiler: Compiler = "inductor"
    """The backend of torch.compile, for `run.compile`."""

    def __init__(
        self,
        plan: Plan,
        seed: int,
        folder: Path,
        *,
        device: str = "auto",
        registry: Registry | None = None,
        splits: dict[str, ImageSet] | None = None,
    ) -> None:
        """Set what to train. Nothing is read before `prepare`.

        Args:
            plan: the resolved row.
            seed: the run's seed.
            folder: the run's folder.
            device: `auto`, `cpu` or `cuda`.
            registry: the registry of parts and hooks; the installed plugins by default.
            splits: splits of the data set that have been read, by name; splits that this row reads are added, so that
                rows of one data set can share them.
        """
        self.plan = with_steps(plan)
        self.seed = seed
        self.folder = folder
        self.step = 0
        self._device = choose_device(device)
        self._registry = registry or installed()
        self._files = RunFolder(folder, self._registry) if rank() == 0 else SilentFolder(folder, self._registry)
        self._splits = {} if splits is None else splits

    @property
    def info(self) -> DataInfo:
        """The form of the training data, once it is prepared."""
        return self._info

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self._device

    @property
    def named(self) -> str:
        """The row, and the seed if there are several, for warnings."""
        return f"row '{self.plan.label}'" + (f", seed {self.seed}" if len(self.plan.run.seeds) > 1 else "")

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
        number, ranks = self._slices
        images = DeviceData(
            train,
            self._device,
            batch=self._image_batch,
            seed=self.seed,
            **plan.run.augmentation,
            channels_last=True,
            stochastic=dataset.stochastic,
            labels=self._info.labelled,
            labelled_batch=plan.run.labelled_batch,
            text=embedded_captions(self.model.embedder, self._files, train),
            rank=number,
            world=ranks,
        )
        self.model.to(self._device)
        self.model.to(memory_format=torch.channels_last)
        stage = self._stage(images)
        self.data, self.modules, self.phases = stage.data, KnownModules(stage.modules), stage.phases
        trained = {name: module for name, module in self.modules.items() if any(True for _ in module.parameters())}
        self._check_optimisers(trained)
        self._optimising = Optimisers(plan.optimisers_of(trained), trained, plan.run.steps)
        self.optimisers = self._optimising.of
        averaging = plan.run.averaging
        self.average = AveragedWeights(stage.averaged, *averaging) if averaging is not None else None
        plan.check_averages(stage.averaged, self._optimising.evaluation_weights())
        self._listeners = Listeners(plan, self._registry, silent=rank() != 0)
        skip = plan.run.on_divergence == "skip"
        kept = [buffer for part in (self.model, *self.modules.values()) for buffer in part.buffers(recurse=False)]
        self.guard = Guard(self._device, skip=skip, kept=kept)
        self.recorder = Recorder(latest=skip)
        self._state = TrainingState(self.model, self._optimising, self.average, self.recorder, self.guard)
        self._clipping = Clipping(plan.run.clip_norm, plan.run.clip_value)
        recorded = recorded_hardware(self._files)
        self._compute_in(choose_precision(plan.run.precision, self._device, recorded=recorded))
        self.graphs = self._graphs(plan.run.graph)
        self.compiled = Compiled(self.model, self.modules, self.named, self.compiler) if plan.run.compile else None

    def _compute_in(self, precision: Precision) -> None:
        self.precision = precision
        dtype = precision.dtype
        self._autocast = torch.autocast(self._device.type, dtype=dtype, enabled=dtype != torch.float32)

    def _graphs(self, requested: str) -> Graphs | None:
        """The graphs of this training, or None; a warning says why a request cannot be met."""
        if requested == "off" or (requested == "auto" and self._device.type != "cuda"):
            return None
        reason = refusal(self._device, self.optimisers)
        if reason is not None:
            text = f"{self.named}: steps are not captured as a CUDA graph, because {reason}"
            warnings.warn(GenpriorWarning(text), stacklevel=2)
            return None
        return Graphs(CudaCapture(), self.modules, self._optimising, self.recorder, self.named)

    @property
    def _image_batch(self) -> int:
        return self.plan.run.batch

    @property
    def _slices(self) -> tuple[int, int]:
        """Which slice of the batches of images this process gets, and of how many."""
        return rank(), world()

    def _stage(self, images: DeviceData) -> Stage:
        """Initialise the model from the training images; all of it is trained."""
        with seeded(self.seed, "begin"):
            self.model.begin(images.draw)
        modules = dict(self.model.named_children())
        # A prior that borrows a module uses it to draw codes.
        prior = modules.get("prior")
        borrowed = prior.borrows_of(prior.config) if isinstance(prior, Prior) else ()
        roles = dict.fromkeys((*self.model.generating, *borrowed))
        averaged = {name: modules[name] for name in roles if name in modules}
        return Stage(images, modules, self.model.phases(), averaged)

    def _check_optimisers(self, trained: Iterable[str]) -> None:
        self.plan.check_optimisers(self.modules, trained, (phase.name for phase in self.phases))

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
        self.compile_networks()
        step = self.step
        batch = self._begin(step)
        self._optimising.set_rates(step)
        due = [phase for phase in self.phases if step % phase.every == 0]
        if self.graphs is None:
            self._run_phases(due, batch, step)
        else:
            self.graphs.run(due, batch, lambda held: self._run_phases(due, held, held.step))
        if self.average is not None:
            self.average.update(step)
        self.step += 1

    def compile_networks(self) -> None:
        """Compile the networks before the first step of this process, if `run.compile` says so.

        A warning says why it cannot.
        """
        if self.compiled is None or self.compiled.seconds is not None:
            return
        reason = no_compilation()
        if reason is not None:
            warnings.warn(GenpriorWarning(f"{self.named}: nothing is compiled, because {reason}"), stacklevel=2)
            self.compiled = None
        else:
            self.compiled.rehearse(self.phases, self._begin(self.step), self._autocast)

    def _run_phases(self, due: Sequence[Phase], batch: Batch | Codes, step: int | Tensor | None) -> None:
        """Run the phases that are due; in a captured step its number is a tensor on the device."""
        step = self.step if step is None else step
        self.guard.step = step
        share = self.data.share if world() > 1 else None
        for phase in due:
            with self.compiled.phase(phase.name) if self.compiled is not None else contextlib.nullcontext():
                result = run_phase(
                    phase, batch, self.modules, self.optimisers, share, self._autocast, self.guard, self._clipping
                )
            self.recorder.add(phase, result, step)
            if result.left_out is True:
                self.check()

    def check(self) -> None:
        """Raise if training must stop because a loss or gradient was not finite; waits for the device.

        Raises:
            NotFinite: the message names the step, the phase, the module and what was not finite first.
        """
        if self.guard.stopped:
            self.recorder.check(self.plan.label, self._explained)

    def _begin(self, step: int) -> Batch | Codes:
        """Seed the step, and return its batch, which knows the step and its share of the run."""
        reseed(self.seed, "step", step, rank())
        batch = self.data.batch(step)
        # Filled on the device: a copy from the host would wait for it.
        done = torch.full((), step, dtype=torch.int64, device=self._device)
        share = torch.full((), step / self.plan.run.steps, dtype=torch.float32, device=self._device)
        if isinstance(batch, Codes):
            return batch._replace(step=done, share=share)
        labelled = None if batch.labelled is None else batch.labelled._replace(step=done, share=share)
        return batch._replace(labelled=labelled, step=done, share=share)

    def _explained(self, step: int, name: str, module: str) -> str:
        """What was not finite first in a phase, found by running it again with the same weights, and what to do."""
        due = [phase for phase in self.phases if step % phase.every == 0]
        upto = due[: 1 + [phase.name for phase in due].index(name)]
        first = first_not_finite(upto, self._begin(step), self.model, self._autocast)
        newest = self._files.newest_checkpoint
        skipped = self.guard.skipped if self.guard.skip else None
        module = first.role if first is not None and first.role in self.optimisers else module
        in_phase = f"{name}/{module}"
        return explanation(
            first,
            skipped,
            None if newest is None else self._files.checkpoint_step,
            step=step,
            trained=step > 0 or len(upto) > 1,
            module=module,
            optimiser=f'"{in_phase}"' if in_phase in self.optimisers else module,
            registry=self._registry,
            settings=self._settings,
        )

    @property
    def _settings(self) -> str:
        """The table of a recipe with the settings of this training, such as `run.fit.`; empty for those of the row."""
        return ""

    def recorded(self, metrics: Mapping[str, float | None]) -> None:
        """Tell the schedules of the learning rates a line of metrics.jsonl.

        Raises:
            PlanError: a schedule listens to what is not recorded.
        """
        self._optimising.recorded(metrics)

    def sample(self, n: int, *, seed: int | None = None, label: int | None = None) -> Tensor:
        """Draw n new images, uint8 [n, c, h, w] on the host, with the averaged weights if there are any."""
        with self._evaluated():
            return generate(self.model, n, seed=self.seed if seed is None else seed, label=label)

    @contextlib.contextmanager
    def trained(self) -> Iterator[Model]:
        """The model inside a `with` block: averaged weights if there are any, evaluation mode, no gradients."""
        with self._evaluated(), evaluating(self.model):
            yield self.model

    @contextlib.contextmanager
    def _evaluated(self) -> Iterator[None]:
        """The weights for evaluation inside the block: of optimisers that have such, and averages."""
        averaged = self.average.in_place() if self.average is not None else contextlib.nullcontext()
        with self._optimising.in_evaluation(), averaged:
            yield
