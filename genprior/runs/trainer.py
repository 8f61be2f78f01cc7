"""Trains one row under one seed: batches, phases, averages, records, checkpoints, and at the end the scores."""

from __future__ import annotations

import contextlib
import json
import math
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from filelock import FileLock, Timeout
from torch import Tensor

from genprior.data.batches import DeviceData
from genprior.data.images import as_trained
from genprior.engine.build import build_model
from genprior.engine.device import choose_device, choose_precision
from genprior.engine.ema import AveragedWeights
from genprior.engine.memory import keep_freed_memory
from genprior.engine.optimise import learning_rate, make_optimiser
from genprior.engine.ranks import average_over_ranks, rank, world
from genprior.engine.recorder import Recorder
from genprior.engine.sampling import evaluating, generate
from genprior.engine.step import run_phase
from genprior.errors import CheckpointError, Interrupted, PlanError, RunError
from genprior.parts import ImageSet, Model
from genprior.randomness import reseed, seeded
from genprior.recipe.plan import Plan
from genprior.registry import Registry, installed
from genprior.runs.clock import Clock
from genprior.runs.environment import surroundings
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import measure_all
from genprior.storage import checkpoint
from genprior.storage.cache import cache_folder
from genprior.storage.files import append_line, write_json, write_text

__all__ = ["Trainer"]


class Trainer:
    """One row under one seed, in a folder of its own; a folder that was left half trained is gone on with."""

    def __init__(
        self,
        plan: Plan,
        seed: int,
        folder: Path,
        *,
        device: str = "auto",
        registry: Registry | None = None,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int, float], None] = lambda step, rate: None,
    ) -> None:
        """Say what is to be trained and where; nothing is read or written before `run`.

        Args:
            plan: the resolved row.
            seed: the run's seed.
            folder: the run's folder.
            device: `auto`, `cpu` or `cuda`.
            registry: whose hooks hear of the run; the installed plugins' by default.
            stop: asked after each step; True leaves a resumable run and raises `Interrupted`.
            progress: told the steps done and images/s, at most ten times a second.
        """
        self.plan = plan
        self.seed = seed
        self.folder = folder
        self.step = 0
        self.seconds = 0.0
        self.metrics: list[dict[str, Any]] = []
        self._device = choose_device(device)
        self._registry = registry or installed()
        self._stop = stop
        self._progress = progress
        self._sets: dict[str, ImageSet] = {}

    # ----------------------------------------------------------------------------------------------------------------
    # What a run is made of
    # ----------------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Read the data and make the model and its optimisers; writes nothing.

        Raises:
            GenpriorError: the data is missing, or parts do not fit.
        """
        plan = self.plan
        if self._device.type == "cpu":
            keep_freed_memory()
        train, dataset = self.images("train"), plan.data.make()
        self._info = as_trained(dataset, plan.run.labels, train)
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
            rank=rank(),
            world=world(),
        )
        self.model: Model = build_model(plan.model, self._info, self.seed)
        self.model.to(self._device)
        self.model.to(memory_format=torch.channels_last)
        with seeded(self.seed, "begin"):
            self.model.begin(self.data.draw)
        self.modules = dict(self.model.named_children())
        trained = {name: module for name, module in self.modules.items() if any(True for _ in module.parameters())}
        unknown = sorted(plan.optimiser.keys() - self.modules.keys() - {"default"})
        absent = [name for name in unknown if name not in type(plan.model).model_fields]
        if absent:
            raise PlanError(
                f"optimiser.{absent[0]} names no module of model '{plan.model.name}'. "
                f"Possible: default, {', '.join(trained)}"
            )
        self.optimisers = {
            name: make_optimiser(plan.optimiser_of(name), module.parameters()) for name, module in trained.items()
        }
        # A prior that borrows a module makes its codes with it.
        makers = dict.fromkeys((*self.model.generating, *getattr(self.modules.get("prior"), "borrows", ())))
        generating = {name: self.modules[name] for name in makers if name in self.modules}
        self.average = AveragedWeights(generating, plan.run.ema) if plan.run.ema is not None else None
        self.recorder = Recorder()
        self.phases = self.model.phases()
        dtype = choose_precision(plan.run.precision, self._device)
        self.precision = str(dtype).removeprefix("torch.")
        self._autocast = torch.autocast(self._device.type, dtype=dtype, enabled=dtype != torch.float32)

    def images(self, split: str) -> ImageSet:
        """A split of the data set, read once."""
        if split not in self._sets:
            self._sets[split] = self.plan.data.make().load(split)
        return self._sets[split]

    def one_step(self) -> None:
        """Run every phase that is due, at the present step, and count it."""
        plan, step = self.plan, self.step
        reseed(self.seed, "step", step, rank())
        batch = self.data.batch(step)
        for name, optimiser in self.optimisers.items():
            optimiser.param_groups[0]["lr"] = learning_rate(plan.optimiser_of(name), step, plan.run.steps)
        averaged = average_over_ranks if torch.distributed.is_initialized() else None
        for phase in self.phases:
            if step % phase.every == 0:
                result = run_phase(phase, batch, self.modules, self.optimisers, averaged, self._autocast)
                self.recorder.add(phase, result, step)
        if self.average is not None:
            self.average.update(step)
        self.step += 1

    # ----------------------------------------------------------------------------------------------------------------
    # The run
    # ----------------------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the folder holds this very run, trained and with all its scores."""
        try:
            facts = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            kept = tomllib.loads((self.folder / "recipe.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        asked = self.plan.as_table().get("scores", [])
        return (
            bool(facts.get("finished"))
            and not self.plan.differences(kept, self._registry)
            and kept.get("scores", []) == asked
        )

    def run(self, until: int | None = None) -> dict[str, float]:
        """Train to the end, or go on to it, and score.

        Args:
            until: stop with a checkpoint after this many steps, without scores.

        Returns:
            The scores, by name.

        Raises:
            RunError: the folder is in use, or holds another run.
            NotFinite: a loss or gradient was not finite.
            Interrupted: `stop` asked for it.
        """
        with self._locked():
            self._claim()
            if self.finished:
                scores: dict[str, float] = json.loads((self.folder / "scores.json").read_text(encoding="utf-8"))
                return scores
            self.prepare()
            self._resume()
            write_text(self.folder / "recipe.toml", self.plan.as_toml())
            self._write_facts(finished=False)
            if self.data.labelled is not None:
                write_json(self.folder / "labelled.json", {"images": self.data.labelled.tolist()})
            self._registry.manager.hook.genprior_run_started(trainer=self)
            self._train(min(until or self.plan.run.steps, self.plan.run.steps))
            if self.step < self.plan.run.steps:
                return {}
            scores = self.score()
            write_json(self.folder / "scores.json", scores)
            self._registry.manager.hook.genprior_run_finished(trainer=self, scores=scores)
            self._write_facts(finished=True)
            return scores

    def sample(self, n: int, *, seed: int | None = None, label: int | None = None) -> Tensor:
        """N new images, uint8 [n, c, h, w] on the host, of the averaged weights where there are any."""
        with self.average.in_place() if self.average is not None else contextlib.nullcontext():
            return generate(self.model, n, seed=self.seed if seed is None else seed, label=label)

    @contextlib.contextmanager
    def trained(self) -> Iterator[Model]:
        """The model as scores see it: averaged weights where there are any, evaluation mode, no gradients."""
        averaged = self.average.in_place() if self.average is not None else contextlib.nullcontext()
        with averaged, evaluating(self.model):
            yield self.model

    def score(self) -> dict[str, float]:
        """All scores of the plan, on samples drawn under the run's seed."""
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
                self.recorder.check(self.plan.label)
                self.seconds = clock.total
                record = self._record()
            with clock.paused():
                self._registry.manager.hook.genprior_step_done(trainer=self, step=self.step, metrics=record)
            stopping = self._stop()
            if self.step % run.checkpoint_every == 0 or self.step == until or stopping:
                self.recorder.check(self.plan.label)
                self.seconds = clock.total
                self._write_checkpoint()
            if stopping and self.step < run.steps:
                raise Interrupted(f"row '{self.plan.label}' stopped after {self.step} of {run.steps} steps")

    def _record(self) -> dict[str, Any]:
        means = {key: value if math.isfinite(value) else None for key, value in self.recorder.means().items()}
        line: dict[str, Any] = {"step": self.step, "seconds": round(self.seconds, 3), **means}
        self.metrics.append(line)
        append_line(self.folder / "metrics.jsonl", line)
        return line

    # ----------------------------------------------------------------------------------------------------------------
    # The folder
    # ----------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"the run folder {self.folder} is in use by another process. Wait for it, or give another --out."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _claim(self) -> None:
        """Refuse a folder that holds a run of another recipe."""
        path = self.folder / "recipe.toml"
        if not path.exists():
            return
        try:
            kept = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} is damaged ({error}); remove the folder, or give another --out") from error
        changed = self.plan.differences(kept, self._registry)
        if changed:
            listed = "\n".join(f"  {line}" for line in changed)
            raise RunError(
                f"{self.folder} holds a run of another recipe:\n{listed}\n"
                "Nothing was touched. Give another --out, or remove that folder to train anew."
            )

    def _resume(self) -> None:
        path = checkpoint.latest(self.folder / "checkpoints")
        kept = self.step
        if path is not None:
            self._read_checkpoint(path)
            kept = self.step
        lines = self.folder / "metrics.jsonl"
        if lines.exists():
            whole = [line for line in lines.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
            self.metrics = [line for line in map(json.loads, whole) if line["step"] <= kept]
            write_text(lines, "".join(json.dumps(line) + "\n" for line in self.metrics))

    def _read_checkpoint(self, path: Path) -> None:
        saved = checkpoint.read(path, self._device)
        try:
            self.model.load_state_dict(saved.under("model"))
            for name, optimiser in self.optimisers.items():
                checkpoint.restore_optimiser(optimiser, self.modules[name], saved.under(f"optimiser/{name}"))
            if self.average is not None:
                self.average.load(saved.under("average"))
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint {path} does not fit the model of this recipe: {error}. "
                "It was written by other code or another plugin version; give another --out to train anew."
            ) from error
        self.step = saved.step
        self.seconds = float(saved.facts["seconds"])

    def _write_checkpoint(self) -> None:
        if rank() != 0:
            return
        tensors: dict[str, Tensor] = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            state = checkpoint.optimiser_tensors(optimiser, self.modules[name])
            tensors |= {f"optimiser/{name}/{key}": tensor for key, tensor in state.items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        info = self._info
        facts = {
            "seconds": self.seconds,
            "data": info._asdict(),
        }
        checkpoint.write(self.folder / "checkpoints", self.step, tensors, facts)

    def _write_facts(self, *, finished: bool) -> None:
        rate = self.step * self.plan.run.batch / self.seconds if self.seconds else None
        write_json(
            self.folder / "run.json",
            {
                "label": self.plan.label,
                "seed": self.seed,
                "finished": finished,
                "step": self.step,
                "seconds": round(self.seconds, 3),
                "images_per_second": round(rate, 1) if rate is not None else None,
                "parameters": {n: sum(p.numel() for p in module.parameters()) for n, module in self.modules.items()},
                "plugins": {origin.plugin: origin.distribution for origin in self._registry.plugins},
                **surroundings(self._device, self.precision),
            },
        )
